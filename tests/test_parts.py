"""A kind of base model, a file format and a method, added from outside, work from end to end."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import napari_salt as ns
import tiny
from napari_salt.cli import main
from napari_salt.core.adapt import methods as adaptations
from napari_salt.core.adapt.adapter import Adapter
from napari_salt.core.adapt.layers import WeightChange, adapted_layers, attach_changes
from napari_salt.core.bases.load import load_base
from napari_salt.core.segment.prompts import PromptPredictor
from napari_salt.io import _table as formats
from napari_salt.io import read_labels, read_stack
from napari_salt.io._format import Opened, reading
from napari_salt.io._keeping import not_kept
from napari_salt.terms import kinds, methods
from napari_salt.terms.errors import AdapterError, BaseModelError, InputError
from napari_salt.terms.prompt_set import PromptSet
from stacks import save

TABLES = (kinds.KINDS, methods.METHODS, methods.CHOICES, adaptations.ADAPTATIONS, formats.FORMATS)
IMAGE, TRUTH = tiny.discs(4)
PAINT = tiny.painted(TRUTH, 1, 2)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty working folder and cache; what a test adds to the tables is gone after it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAPARI_SALT_CACHE", str(tmp_path / "cache"))
    before = [dict(table) for table in TABLES]
    yield tmp_path
    for table, entries in zip(TABLES, before, strict=True):
        table.clear()
        table.update(entries)


def trained(*flags, base, image="image.tif", paint="paint.tif"):
    """An adapter of two steps, by the command line."""
    out = ["--out", "a.safetensors", "--base", str(base), "--steps", "2", "--device", "cpu"]
    assert main(["train", image, paint, *out, *flags]) == 0
    return Adapter.load("a.safetensors")


def segmented(image="image.tif", out="out.tif"):
    assert main(["segment", image, "--adapter", "a.safetensors", "--out", out, "--device", "cpu"]) == 0
    return np.asarray(read_labels(out).data)


def test_only_the_first_use_of_a_name_counts():
    with pytest.raises(InputError, match="'sam-vit' already"):
        kinds.register_kind(kinds.KINDS["sam-vit"])
    with pytest.raises(InputError, match="type 'LORA', already"):
        adaptations.register_method(
            replace(adaptations.ADAPTATIONS["lora"], method=methods.Method("mine", "LORA", "mine"))
        )
    with pytest.raises(InputError, match="its suffix is of OME-Zarr"):
        formats.register_format(replace(formats.FORMATS["OME-Zarr"], name="mine"))


# A method: each row of a weight is scaled.


class RowGain(WeightChange):
    """Adapted weight ``(1 + gain) W``, with one gain per row."""

    def __init__(self, weight):
        super().__init__()
        self.register_buffer("rows", weight.detach().flatten(1).clone(), persistent=False)
        self.gain = nn.Parameter(torch.zeros(len(weight), 1))

    def delta(self):
        return self.gain * self.rows

    def sizes(self):
        return {self.gain: 0.25}


def attach_gains(model, config, exclude):
    attach_changes(model, config, lambda weight, _: RowGain(weight), exclude=exclude)


GAIN = adaptations.Adaptation(
    methods.Method("gain", "ROW-GAIN", "gains of rows", {"rank": 0, "lora_rank": 0}), attach_gains
)


def test_a_method_from_outside(capsys):
    save(Path(), IMAGE, "image.tif")
    save(Path(), PAINT, "paint.tif")
    base = tiny.checkpoint("tiny.pth")
    assert main(["train", "image.tif", "paint.tif", "--out", "a.safetensors", "--method", "gain"]) == 2
    adaptations.register_method(GAIN)
    adapter = trained("--method", "gain", base=base)
    assert adapter.method == "gain"
    gains = [tensor for name, tensor in adapter.tensors.items() if name.endswith(".gain")]
    assert gains
    assert all(gain.any() for gain in gains)
    found = segmented()
    np.testing.assert_array_equal(found, ns.segment(IMAGE, adapter, ns.SegmentConfig(device="cpu")))
    model = adapter.build()
    images = tiny.images(2)
    before = model(images).detach()
    assert len(adapted_layers(model)) == len(gains)
    torch.testing.assert_close(model.merged()(images), before, rtol=1e-4, atol=1e-4)
    assert main(["info", "a.safetensors", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["peft_type"] == "ROW-GAIN"
    after = ns.train(IMAGE, PAINT, ns.TrainConfig(steps=1, device="cpu"), init=adapter)
    assert (after.method, set(after.tensors)) == ("gain", set(adapter.tensors))
    del methods.METHODS["gain"]
    with pytest.raises(AdapterError, match="type 'ROW-GAIN', this napari-salt reads SALT"):
        Adapter.load("a.safetensors")


# A kind of base: SAM with two convolutions for an encoder.


class Convolutions(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, tiny.CHANNELS, tiny.PATCH, tiny.PATCH)
        self.mix = nn.Conv2d(tiny.CHANNELS, tiny.CHANNELS, 3, padding=1)

    def forward(self, image):
        return self.mix(torch.relu(self.stem(image)))


def toy_sam(seed=0):
    sam = tiny.module(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sam.image_encoder = Convolutions()
    return sam.eval()


def build_toy(state, input_size):
    assert input_size == tiny.SIZE
    sam = toy_sam(seed=1)  # whose weights are replaced
    sam.load_state_dict(state)
    return sam


TOY = kinds.Kind(
    "toy",
    "ToySAM",
    recognise=lambda state: "image_encoder.stem.weight" in state,
    native_size=lambda _: tiny.SIZE,
    build=build_toy,
    size_step=tiny.SIZE,
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
    targets=("image_encoder.mix",),
    boxes_only=True,
    renamed=(("toy_encoder.", "image_encoder."),),
    unused=("image_encoder.classifier.",),
)


def toy_checkpoint(path):
    state = {n.replace("image_encoder.", "toy_encoder."): t for n, t in toy_sam().state_dict().items()}
    torch.save({**state, "toy_encoder.classifier.weight": torch.zeros(3)}, path)
    return path


def test_a_kind_of_base_from_outside(capsys):
    save(Path(), IMAGE, "image.tif")
    save(Path(), PAINT, "paint.tif")
    path = toy_checkpoint("mine.pth")
    with pytest.raises(BaseModelError):
        load_base(path)
    kinds.register_kind(TOY)
    base = load_base(path)
    assert (base.spec.name, base.spec.kind, base.spec.input_size) == ("toy:mine.pth", "toy", tiny.SIZE)
    images = tiny.images()
    assert torch.equal(base.module.image_encoder(images), toy_sam().image_encoder(images))
    adapter = trained(base=path)
    assert adapter.base_model == "toy:mine.pth"
    assert set(adapted_layers(adapter.build())) == {"image_encoder.mix"}
    np.testing.assert_array_equal(
        segmented(), ns.segment(IMAGE, adapter, ns.SegmentConfig(device="cpu", runtime="torch"))
    )


def test_a_kind_says_how_prompts_go_in():
    path = toy_checkpoint("mine.pth")
    plane = (IMAGE[:1] / IMAGE.max()).astype(np.float32)
    click = PromptSet(((30.0, 25.0),), (True,))
    found = []
    for boxes_only in (True, False):
        kinds.KINDS.pop("toy", None)
        kinds.register_kind(replace(TOY, boxes_only=boxes_only))
        predictor = PromptPredictor(load_base(path))
        found.append(predictor.logits(predictor.embed(plane), click))
    assert not np.allclose(*found)


# A format: an array with its voxel size, in numpy's own container.


def open_toy(path, axes, *, labels):
    with reading(path, "a toy"), np.load(path) as content:
        return Opened(content["values"], axes or "ZYX", tuple(content["spacing"].tolist()), "um")


class ToyPlanes:
    def __init__(self, path, layout):
        self._path, self._layout, self._planes = path, layout, []

    def write(self, plane):
        self._planes.append(plane)

    def close(self):
        if len(self._planes) == self._layout.n_planes:
            values = np.reshape(self._planes, self._layout.shape)
            with self._path.open("wb") as file:
                np.savez(file, values=values, spacing=self._layout.spacing)


FORMAT = formats.Format("Toy", (".toy",), open=open_toy, planes=ToyPlanes)


def save_toy(name, values):
    with Path(name).open("wb") as file:
        np.savez(file, values=values, spacing=(2.0, 0.5, 0.5))


def test_a_format_from_outside(capsys):
    for name, values in (("image.toy", IMAGE), ("paint.toy", PAINT), ("truth.toy", TRUTH)):
        save_toy(name, values)
    base = tiny.checkpoint("tiny.pth")
    with pytest.raises(InputError, match="a TOY file, which is not read: save it as TIFF, OME-Zarr, NIfTI"):
        read_stack("image.toy")
    formats.register_format(FORMAT)
    adapter = trained(base=base, image="image.toy", paint="paint.toy")
    assert adapter.preprocess.pixel_size == 0.5
    found = segmented("image.toy", "out.toy")
    np.testing.assert_array_equal(found, segmented("image.toy", "out.tif"))
    assert read_labels("out.toy").spacing == read_stack("out.tif").spacing == (2.0, 0.5, 0.5)
    capsys.readouterr()
    assert main(["evaluate", "out.toy", "truth.toy", "--json"]) == 0
    ours = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert main(["evaluate", "out.tif", "truth.toy", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == ours
    assert formats.is_stack(Path("x.TOY"))


def test_what_a_format_from_outside_cannot_do_is_told(capsys, tiny_base):
    formats.register_format(FORMAT)
    save_toy("image.toy", IMAGE)
    Path("bad.toy").write_bytes(b"no zip")
    tiny.adapter((1,)).save("a.safetensors")
    segment = ["segment", "image.toy", "--adapter", "a.safetensors", "--device", "cpu"]
    with pytest.raises(InputError, match=r"bad\.toy is not a toy, or is damaged"):
        read_stack("bad.toy")
    assert main([*segment, "--out", "out.toy", "--probabilities", "p.toy"]) == 2
    assert "p.toy: probabilities are written as .tif or .zarr" in capsys.readouterr().err
    assert main([*segment, "--out", "out.gif"]) == 2
    assert (
        "let it end with .tif, .zarr, .nii, .nii.gz, .seg.nrrd, .nrrd, .mha, .png, .npy, .dcm or .toy"
        in capsys.readouterr().err
    )
    with pytest.raises(SystemExit):
        main(["segment", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert "stack: TIFF (.tif), OME-Zarr (a folder, .zarr), NIfTI (.nii, .nii.gz), " in told
    assert "images of single slices (a folder) or Toy (.toy)" in told
    stack = read_stack("image.toy")
    placed = replace(stack, affine=np.eye(4))
    assert "not the position and orientation of" in not_kept(Path("out.toy"), placed)
    assert not not_kept(Path("out.toy"), stack)
