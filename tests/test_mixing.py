"""Strength and mixtures of adapters: what is exact, and what cannot be mixed."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

import napari_salt as ns
import tiny
from napari_salt.cli import main
from napari_salt.core.adapt.adapter import Adapter
from napari_salt.core.adapt.layers import adapted_layers
from napari_salt.core.bases.load import load_base
from napari_salt.terms.errors import AdapterError, InputError

pytestmark = pytest.mark.usefixtures("tiny_base")
METHODS = ["salt", "lora", "s-sam", "decoder"]


def other(values=(3, 200), method="salt"):
    """An adapter of the same form with other values."""
    adapter = tiny.adapter(values, method=method)
    generator = torch.Generator().manual_seed(5)
    tensors = {n: t + 0.05 * torch.randn(t.shape, generator=generator) for n, t in adapter.tensors.items()}
    return replace(adapter, tensors=tensors, name="other")


def mixed(adapters, weights=None, strength=1.0):
    return ns.mix(adapters, weights, strength=strength, base=tiny.base())


@torch.no_grad()
def logits(adapter, *, adapted=True):
    return adapter.build(base=tiny.base(), adapted=adapted)(tiny.images(2))


def no_negatives(adapter):
    """Without shifts, which would make the smallest singular values negative."""
    kept = {n: torch.zeros_like(t) if n.endswith(".shift") else t for n, t in adapter.tensors.items()}
    return replace(adapter, tensors=kept)


@torch.no_grad()
def deltas(adapter):
    return {n: change.delta() for n, change in adapted_layers(adapter.build(base=tiny.base())).items()}


@pytest.mark.parametrize("method", METHODS)
def test_strength_0_is_the_base_and_1_the_adapter(method, tmp_path):
    adapter = tiny.adapter(method=method)
    none = mixed([adapter], strength=0.0)
    torch.testing.assert_close(logits(none), logits(adapter, adapted=False), atol=1e-5, rtol=1e-5)
    assert (logits(none) - logits(adapter)).abs().max() > 0.01
    whole = mixed([adapter])
    assert all(torch.equal(whole.tensors[name], tensor) for name, tensor in adapter.tensors.items())
    half = Adapter.load(mixed([adapter], strength=0.5).save(tmp_path / "half.safetensors"))
    assert half.training["strength"] == 0.5
    assert "held_out_dice" not in half.training


def test_between_0_and_1_the_logits_leave_the_base_steadily():
    adapter = tiny.adapter()
    start = logits(adapter, adapted=False)
    way = [float((logits(mixed([adapter], strength=s)) - start).norm()) for s in (0, 0.3, 0.7, 1)]
    assert all(one < another for one, another in pairwise(way))


@pytest.mark.parametrize("method", ["salt", "lora", "s-sam"])
def test_changes_of_weights_add_up_exactly(method):
    """Where no singular value becomes negative."""
    one, two = (no_negatives(made(method=method)) for made in (tiny.adapter, other))
    found, first, second = deltas(mixed([one, two], [0.3, 0.9], strength=0.5)), deltas(one), deltas(two)
    assert found
    for layer, delta in found.items():
        expected = 0.5 * (0.3 * first[layer] + 0.9 * second[layer])
        torch.testing.assert_close(delta, expected, atol=2e-5, rtol=1e-4)


def test_norms_and_biases_are_interpolated_from_the_base():
    adapter = tiny.adapter()
    name = "image_encoder.blocks.0.norm1.bias"
    start = tiny.base().module.get_parameter(name)
    expected = start + 0.4 * (adapter.tensors[name] - start)
    torch.testing.assert_close(mixed([adapter], strength=0.4).tensors[name], expected)


def test_classes_are_put_together():
    one, two = tiny.adapter((3, 200)), other((200, 7))
    both = mixed([one, two], [1.0, 3.0 / 2])
    assert both.values == (3, 200, 7)
    for name in ("class_tokens", "class_head"):
        a, b, c = one.tensors[name], two.tensors[name], both.tensors[name]
        torch.testing.assert_close(c, torch.stack([a[0], 0.4 * a[1] + 0.6 * b[0], b[1]]))
    assert logits(both).shape[1] == 3


def test_a_weight_of_0_leaves_an_adapter_out():
    one = tiny.adapter()
    torch.testing.assert_close(logits(mixed([one, other()], [1.0, 0.0])), logits(one), atol=1e-5, rtol=1e-4)


UNLIKE = {
    "of different method": lambda a: replace(a, method="lora"),
    "of different base model": lambda a: replace(a, weights_sha256="0" * 64),
    "of different preprocessing": lambda a: replace(a, preprocess=replace(a.preprocess, channels=3)),
    "of different settings": lambda a: replace(a, salt=replace(a.salt, rank=0.25)),
    "value 3 is class 'class 3' in one": lambda a: replace(
        a, classes=(replace(a.classes[0], name="x"), a.classes[1])
    ),
}


@pytest.mark.parametrize(("words", "change"), UNLIKE.items(), ids=UNLIKE)
def test_unlike_adapters_are_not_mixed(words, change):
    with pytest.raises(AdapterError, match=words):
        mixed([tiny.adapter(), change(tiny.adapter())])


@pytest.mark.parametrize(
    ("weights", "strength", "words"),
    [
        ([1], 1, "2 adapters and 1 weights"),
        ([1, -0.5], 1, "weight is -0.5; give a number from 0 to 1.5"),
        ([1, float("nan")], 1, "weight is nan"),
        ([0, 0], 1, "all weights are 0"),
        ([1, 1], 1.6, "strength is 1.6"),
    ],
)
def test_weights_and_strength_are_checked(weights, strength, words):
    with pytest.raises(InputError, match=words):
        mixed([tiny.adapter(), other()], weights, strength)


def test_the_command_line_mixes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    spec = load_base("tiny")
    same = {"base_sha256": spec.sha256, "weights_sha256": spec.weights_sha256}
    replace(tiny.adapter(), **same).save("a.safetensors")
    replace(other(), **same).save("b.safetensors")
    command = [
        "adapters",
        "mix",
        "a.safetensors",
        "b.safetensors",
        "--weights",
        "0.5",
        "0.5",
        "-o",
        "c.safetensors",
    ]
    assert main([*command, "--strength", "0.8", "--name", "both", "--author", "me"]) == 0
    found = Adapter.load("c.safetensors")
    assert (found.name, found.author, found.salt.lora_rank) == ("both", "me", 4)
    assert [part["name"] for part in found.training["mixed"]] == ["a name", "other"]
    assert main([*command[:-1], "c.txt"]) == 2
    assert "ends in .safetensors" in capsys.readouterr().err
