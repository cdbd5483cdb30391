"""Adapted models in other programs: segment-anything and ONNX Runtime compute what we do."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import tiny
from napari_salt.cli import main
from napari_salt.core.adapt.adapter import Adapter
from napari_salt.core.bases.load import load_base
from napari_salt.terms.errors import InputError
from napari_salt.terms.preprocess import Preprocess
from stacks import save

pytestmark = pytest.mark.usefixtures("tiny_base")


@pytest.fixture
def adapter(tmp_path, monkeypatch):
    """An adapter's file for the base ``tiny`` of the registry, in the working folder."""
    monkeypatch.chdir(tmp_path)
    base = load_base("tiny")
    made = replace(tiny.adapter(), base_sha256=base.sha256, weights_sha256=base.weights_sha256)
    return Adapter.load(made.save("a.safetensors"))


@torch.no_grad()
def test_segment_anything_loads_the_merged_checkpoint(adapter, capsys):
    command = ["export", "a.safetensors", "--to", "segment-anything", "-o", "merged.pth", "--json"]
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["to"] == "segment-anything"
    sam = tiny.module(seed=3)
    sam.load_state_dict(torch.load("merged.pth", weights_only=True), strict=True)
    ours = adapter.build()
    embedding = sam.image_encoder((tiny.images(1) - ours.mean) / ours.std)
    torch.testing.assert_close(embedding, ours.encode(tiny.images(1)), atol=1e-5, rtol=1e-4)
    plain = tiny.module().image_encoder((tiny.images(1) - ours.mean) / ours.std)
    assert (embedding - plain).abs().max() > 0.01
    assert load_base("merged.pth").spec.kind == "sam-vit", "it can be a base again"


@torch.no_grad()
def test_onnx_runtime_computes_the_same(adapter):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    assert main(["export", "a.safetensors", "--to", "onnx", "-o", "a.onnx"]) == 0
    session = onnxruntime.InferenceSession("a.onnx", providers=["CPUExecutionProvider"])
    ours = adapter.build().merged()
    for count in (1, 2, 3):
        images = tiny.images(count)
        (found,) = session.run(None, {"images": images.numpy()})
        np.testing.assert_allclose(found, ours(images).numpy(), atol=1e-4)
    about = session.get_modelmeta().custom_metadata_map
    assert [entry["value"] for entry in json.loads(about["classes"])] == [3, 200]
    assert (about["input_size"], about["author"]) == ("64", "somebody")


@pytest.mark.filterwarnings("ignore")  # of bioimageio's own dependencies
@pytest.mark.parametrize("rule", [{}, {"window": (-100.0, 900.0)}, {"channels": 3, "pixel_size": 0.5}])
def test_bioimageio_runs_the_package(adapter, tmp_path, rule):
    core = pytest.importorskip("bioimageio.core")
    pytest.importorskip("onnxruntime")
    changed = replace(adapter, preprocess=Preprocess(**rule), name="discs")
    changed.save("a.safetensors")
    assert main(["export", "a.safetensors", "--to", "bioimageio", "-o", "a.zip"]) == 0
    summary = core.test_description(Path("a.zip"))
    assert summary.status == "passed", summary.format()
    model = core.load_model(Path("a.zip"))
    assert [author.name for author in model.authors] == ["somebody"]
    assert str(model.license) == "CC0-1.0"
    labels = model.outputs[0].axes[1].channel_names
    assert [str(name) for name in labels] == ["background", "class_3", "class_200"]
    assert model.outputs[0].test_tensor.source
    assert not [error for detail in summary.details for error in detail.errors]


def test_what_bioimageio_needs_is_asked_for(adapter, capsys, tmp_path):
    pytest.importorskip("bioimageio.spec")
    for changes, words in (
        ({"author": ""}, "the adapter has no author"),
        ({"license": "mine"}, "bioimage.io does not take it"),
    ):
        replace(adapter, **changes).save("b.safetensors")
        assert main(["export", "b.safetensors", "--to", "bioimageio", "-o", "b.zip"]) == 2
        assert words in capsys.readouterr().err
    save(tmp_path, np.zeros((3, 8, 8, 3), np.uint8), "colour.tif", photometric="rgb")
    command = ["export", "a.safetensors", "--to", "bioimageio", "-o", "b.zip", "--image", "colour.tif"]
    assert main(command) == 2
    assert "the image has shape (8, 8, 3); give a slice of grey" in capsys.readouterr().err
    assert not Path("b.zip").exists()


@pytest.mark.parametrize(
    ("to", "out", "words"),
    [
        ("onnx", "a.pth", "must end in .onnx"),
        ("segment-anything", "a.onnx", "must end in .pth"),
        ("onnx", "no/a.onnx", "the folder no does not exist"),
    ],
)
def test_what_cannot_be_exported_is_told(adapter, capsys, to, out, words):
    assert main(["export", "a.safetensors", "--to", to, "-o", out]) == 2
    assert words in capsys.readouterr().err


def test_other_kinds_are_no_checkpoint_for_segment_anything(adapter):
    from napari_salt.core.adapt.export import export_sam

    base = load_base("tiny")
    other = replace(base, spec=replace(base.spec, kind="tiny-vit"))
    with pytest.raises(InputError, match="export it --to onnx"):
        export_sam(adapter, adapter.save("b.safetensors").with_suffix(".pth"), other)


def test_a_missing_package_is_named(adapter, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert main(["export", "a.safetensors", "--to", "onnx", "-o", "a.onnx"]) == 2
    assert 'pip install "napari-salt[onnx]"' in capsys.readouterr().err
