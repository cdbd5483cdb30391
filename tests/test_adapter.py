"""The adapter's file: what comes back from it, where it fits, and what is refused."""

import json
import os
import pickle
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import lapack
import napari_salt as ns
import tiny
from napari_salt.core.adapt.adapter import Adapter
from napari_salt.core.devices import compute_dtype
from napari_salt.terms.errors import AdapterError
from napari_salt.terms.preprocess import Preprocess
from stacks import names

pytestmark = pytest.mark.usefixtures("tiny_base")
DATA = Path(__file__).parent / "data"


@pytest.fixture
def saved(tmp_path):
    return tiny.adapter().save(tmp_path / "a.salt.safetensors")


@torch.no_grad()
def logits_of(adapter, base=None):
    return adapter.build(base=base)(tiny.images(2))


def parts(path):
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


# What comes back


def test_a_saved_adapter_gives_the_same_logits(saved):
    expected = logits_of(tiny.adapter())
    assert (expected - logits_of_the_base()).abs().max() > 0.05
    assert torch.equal(logits_of(Adapter.load(saved)), expected)


@torch.no_grad()
def logits_of_the_base():
    return tiny.segmenter(2)(tiny.images(2))


def test_without_adaptation_only_what_belongs_to_classes_is_taken_over():
    adapter = tiny.adapter()
    bare = tiny.segmenter(2, salt=None)
    with torch.no_grad():
        bare.class_tokens.copy_(adapter.tensors["class_tokens"])
        bare.output_tokens.copy_(adapter.tensors["output_tokens"])
        bare.class_head.copy_(adapter.tensors["class_head"])
        found = adapter.build(adapted=False)(tiny.images(2))
        assert torch.equal(found, bare(tiny.images(2)))
    assert (found - logits_of(adapter)).abs().max() > 0.05


@torch.no_grad()
def test_an_adapter_of_before_class_heads_gives_what_it_gave(saved):
    """Its file has no such tensor; the model without it is that with one of zeros."""
    tensors, metadata = parts(saved)
    del tensors["class_head"]
    save_file(tensors, saved, metadata)
    old = Adapter.load(saved)
    assert not old.tensors["class_head"].any()
    model = tiny.adapter().build()
    assert model.class_head.any()
    model.class_head.zero_()
    assert torch.equal(logits_of(old), model(tiny.images(2)))
    assert torch.equal(logits_of(Adapter.load(old.save(saved))), logits_of(old))


def test_every_field_comes_back(tmp_path):
    rule = Preprocess(3, 0.75, 0.325, independent=True)
    adapter = tiny.adapter(preprocess=rule)
    back = Adapter.load(adapter.save(tmp_path / "a.safetensors"))
    assert replace(back, tensors={}) == replace(adapter, tensors={})
    assert back.values == (3, 200)
    assert back.parameter_count == adapter.parameter_count == sum(t.numel() for t in adapter.tensors.values())
    assert adapter.size_bytes == (tmp_path / "a.safetensors").stat().st_size


def test_the_metadata_are_complete(saved):
    tensors, metadata = parts(saved)
    adapter = tiny.adapter()
    texts = {"name": "a name", "description": "what it finds", "author": "somebody", "license": "CC0-1.0"}
    expected = {"format": "napari-salt", "format_version": "1", "peft_type": "SALT", "base_model": "tiny"}
    expected |= {"base_sha256": adapter.base_sha256, "weights_sha256": adapter.weights_sha256, **texts}
    assert {key: metadata[key] for key in expected} == expected
    assert json.loads(metadata["config"]) == {**asdict(tiny.SALT), "targets": list(tiny.SALT.targets)}
    assert json.loads(metadata["classes"]) == [
        {"value": value, "name": f"class {value}", "color": "#e6194b"} for value in (3, 200)
    ]
    assert set(json.loads(metadata["preprocess"])) >= {"channels", "pixel_scale", "pixel_size", "percentiles"}
    assert json.loads(metadata["training"])["steps"] == 7
    assert set(tensors) >= {"class_tokens", "output_tokens", "class_head"}
    assert {name.rsplit(".", 1)[-1] for name in tensors} >= {"scale", "shift", "lora_a", "lora_b", "bias"}


def test_another_process_computes_the_same(saved, tmp_path):
    code = (
        "import sys, numpy, pytest, tiny; from test_adapter import Adapter, logits_of\n"
        "tiny.use(pytest.MonkeyPatch())\n"
        "numpy.save(sys.argv[2], logits_of(Adapter.load(sys.argv[1])).numpy())"
    )
    folder = Path(__file__).parent
    command = [sys.executable, "-c", code, str(saved), str(tmp_path / "logits.npy")]
    subprocess.run(command, check=True, cwd=folder, timeout=300)
    expected = logits_of(Adapter.load(saved)).numpy()
    np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), expected, atol=1e-3)


def test_another_lapack_computes_the_same(saved, monkeypatch):
    expected = logits_of(Adapter.load(saved))
    lapack.use(monkeypatch)
    torch.testing.assert_close(logits_of(Adapter.load(saved)), expected, atol=1e-3, rtol=0)


def test_an_adapter_does_not_depend_on_what_built_it(saved):
    """Values that the segmenter draws at random are all in the file."""
    torch.manual_seed(1)
    first = logits_of(Adapter.load(saved))
    torch.manual_seed(2)
    assert torch.equal(logits_of(Adapter.load(saved)), first)


# Where it fits


def test_other_weights_of_the_same_name_are_refused(saved, monkeypatch):
    tiny.use(monkeypatch, seed=1)
    with pytest.raises(AdapterError, match=r"trained on base model 'tiny'.*not on this 'tiny'"):
        Adapter.load(saved).build()


def test_the_same_weights_in_another_container_are_welcome(saved):
    adapter = Adapter.load(saved)
    base = replace(tiny.base(), sha256="f" * 64)
    assert torch.equal(logits_of(adapter, base), logits_of(adapter))
    with pytest.raises(AdapterError, match="use the base it was trained on"):
        adapter.build(base=replace(base, weights_sha256="e" * 64))


# What is refused, and in which words


def rewritten(change):
    """A corruption that changes tensors and metadata in place."""

    def corrupt(path):
        tensors, metadata = parts(path)
        change(tensors, metadata)
        save_file(tensors, path, metadata)

    return corrupt


def with_metadata(**values):
    return rewritten(lambda tensors, metadata: metadata.update(values))


def cut(share):
    def corrupt(path):
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * share)])

    return corrupt


def not_finite(tensors, metadata):
    tensors["output_tokens"][0, 0] = float("nan")


def infinite(tensors, metadata):
    tensors["output_tokens"][0, 0] = float("inf")


def of_another_shape(tensors, metadata):
    tensors["class_tokens"] = tensors["class_tokens"][:1].clone()


def doubled(tensors, metadata):
    tensors["class_tokens"] = tensors["class_tokens"].double()


CORRUPTIONS = {
    "cut in half": (cut(0.5), "not a readable adapter file"),
    "cut in the header": (cut(0.001), "not a readable adapter file"),
    "empty": (cut(0), "not a readable adapter file"),
    "lacks a tensor": (rewritten(lambda t, m: t.pop("class_tokens")), "lacks tensor 'class_tokens'"),
    "has one too many": (rewritten(lambda t, m: t.update(extra=torch.ones(1))), "holds tensor 'extra'"),
    "another shape": (rewritten(of_another_shape), "there are 2, but tensor 'class_tokens' has 1 rows"),
    "another type": (rewritten(doubled), "'class_tokens' is of type F64, expected F32"),
    "not a number": (rewritten(not_finite), "'output_tokens' holds values that are not finite"),
    "infinite": (rewritten(infinite), "'output_tokens' holds values that are not finite"),
    "another format": (with_metadata(format="pt"), "format 'pt'"),
    "no format": (rewritten(lambda t, m: m.pop("format")), "format None"),
    "another version": (with_metadata(format_version="2"), "version '2'"),
    "another method": (
        with_metadata(peft_type="DORA"),
        "'DORA', this napari-salt reads SALT, LORA, S-SAM, DECODER",
    ),
    "unknown base": (with_metadata(base_model="sam-9"), "'sam-9', unknown to this version"),
    "other base": (with_metadata(base_sha256="0" * 64, weights_sha256="1" * 64), "sha256 000000000000"),
    "broken JSON": (with_metadata(config="{"), "damaged adapter description"),
    "config is a list": (with_metadata(config="[]"), "damaged adapter description"),
    "config is a number": (with_metadata(config="3"), "damaged adapter description"),
    "unknown setting": (with_metadata(config='{"nonsense": 1}'), "nonsense"),
    "bad rank": (with_metadata(config='{"rank": -3}'), "rank is -3"),
    "no classes": (with_metadata(classes="[]"), "classes: there are 0, expected a list of 1"),
    "classes without values": (with_metadata(classes='[{"name": "a"}]'), "damaged adapter description"),
    "classes of text": (with_metadata(classes='["a", "b"]'), "damaged adapter description"),
    "lacks the preprocessing": (rewritten(lambda t, m: m.pop("preprocess")), "preprocess"),
    "lacks the base's hash": (rewritten(lambda t, m: m.pop("base_sha256")), "base_sha256"),
    "training is a number": (with_metadata(training="3"), "damaged adapter description"),
}


@pytest.mark.parametrize(("corrupt", "words"), CORRUPTIONS.values(), ids=CORRUPTIONS)
def test_damage_is_named(saved, corrupt, words):
    corrupt(saved)
    with pytest.raises(AdapterError, match=words) as caught:
        Adapter.load(saved).build()
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    for path in (tmp_path / "no.safetensors", tmp_path):
        with pytest.raises(AdapterError, match="no adapter at"):
            Adapter.load(path)


class Trap:
    """Unpickled, it makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("write", [pickle.dump, torch.save], ids=["pickle", "torch"])
def test_no_code_of_a_file_runs(tmp_path, write):
    path = tmp_path / "a.safetensors"
    with path.open("wb") as file:
        write(Trap(tmp_path / "sprung"), file)
    with pytest.raises(AdapterError, match="not a readable adapter file"):
        Adapter.load(path)
    assert names(tmp_path) == ["a.safetensors"]


# Saving


def test_a_failed_save_leaves_the_old_file(saved, monkeypatch):
    def full(_handle):
        raise OSError(28, "No space left on device")

    before = saved.read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(AdapterError, match="No space left on device"):
        tiny.adapter((1,)).save(saved)
    assert saved.read_bytes() == before
    assert names(saved.parent) == [saved.name]


def test_an_interrupted_save_leaves_the_old_file(saved, monkeypatch):
    def interrupted(_handle):
        raise KeyboardInterrupt

    before = saved.read_bytes()
    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tiny.adapter((1,)).save(saved)
    assert saved.read_bytes() == before
    assert names(saved.parent) == [saved.name]


def test_saving_replaces_and_leaves_nothing_else(saved):
    assert tiny.adapter((1,)).save(saved) == saved
    assert Adapter.load(saved).values == (1,)
    assert names(saved.parent) == [saved.name]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(AdapterError, match="nowhere"):
        tiny.adapter().save(tmp_path / "nowhere" / "a.safetensors")


# More classes


def test_a_widened_adapter_keeps_its_classes():
    adapter = tiny.adapter((3, 200))
    model = tiny.segmenter(3)
    adapter.widened(model, (3, 200, 7)).write_to(model)
    with torch.no_grad():
        wide = model(tiny.images(2))
    torch.testing.assert_close(wide[:, :2], logits_of(adapter), atol=1e-4, rtol=1e-4)


def test_an_adapter_of_version_0_1_0_gives_the_labels_that_it_gave_then(tiny_base):
    """It was trained, saved and applied by that version; see ``tests/data``."""
    loaded = Adapter.load(DATA / "adapter_0_1_0.salt.safetensors")
    then = np.load(DATA / "adapter_0_1_0_labels.npz")["labels"]
    image, _ = tiny.discs(4)
    now = ns.segment(image, loaded, ns.SegmentConfig(device="cpu", views=1))
    assert then.any()
    exact = compute_dtype(torch.device("cpu")) == torch.float32  # as that version computed
    assert (now == then).mean() >= (0.9999 if exact else 0.999)
