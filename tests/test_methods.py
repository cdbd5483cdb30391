"""Methods of fine-tuning: each computes, trains, is saved, checked and loaded by the same laws as SALT."""

import json
import struct
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import napari_salt as ns
import tiny
from napari_salt import cli
from napari_salt.core.adapt.adapter import OF_CLASSES, Adapter
from napari_salt.core.adapt.layers import LOW_RANK_SHARE, adapted_layers
from napari_salt.core.adapt.methods import ADAPTATIONS, adaptation
from napari_salt.core.adapt.segmenter import DEAD_PARTS
from napari_salt.core.bases.tinyvit import ConvNorm
from napari_salt.core.paint.preprocess import SliceReader
from napari_salt.core.train.optimizer import relative_adamw
from napari_salt.core.train.training import training_events
from napari_salt.terms.card import AdapterCard
from napari_salt.terms.config import SegmentConfig, TrainConfig
from napari_salt.terms.errors import AdapterError, InputError
from napari_salt.terms.methods import CHOICES, METHODS
from napari_salt.terms.options import options_of
from napari_salt.terms.preprocess import Preprocess
from napari_salt.terms.registry import KINDS

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))
import adapters

NAMES = list(METHODS)
TARGETS = KINDS["sam-vit"].targets
SIDE = SegmentConfig(device="cpu", views=1, runtime="torch")


def trained_names(model):
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def segmenter(name, **settings):
    return tiny.segmenter(2, replace(tiny.SALT, **settings), method=name)


def plain_like(model):
    """The base as it is, with the class tokens of `model`."""
    plain = tiny.segmenter(2, None)
    with torch.no_grad():
        for name in OF_CLASSES:
            plain.get_parameter(name).copy_(model.get_parameter(name))
    return plain


def test_each_method_has_both_halves_and_can_be_chosen():
    assert set(ADAPTATIONS) == set(METHODS) == set(CHOICES) == {"salt", "lora", "s-sam", "decoder"}
    assert all(ADAPTATIONS[name].method is METHODS[name] for name in NAMES)
    assert list(options_of(TrainConfig)["method"].choices) == NAMES
    with pytest.raises(InputError, match="method is 'dora'; give salt, lora, s-sam or decoder"):
        TrainConfig(method="dora")
    with pytest.raises(InputError, match="unknown method 'dora'"):
        adaptation("dora")


@pytest.mark.parametrize("name", NAMES)
def test_nothing_changes_before_training(name):
    model, images = segmenter(name), tiny.images()
    torch.testing.assert_close(model(images), plain_like(model)(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_merged_weights_give_the_same_logits(name):
    model = segmenter(name)
    tiny.shake(model, std=0.02)
    images = tiny.images(2)
    expected = model(images).detach()
    merged = model.merged()
    torch.testing.assert_close(merged(images), expected, rtol=1e-3, atol=1e-4)
    assert not trained_names(merged)
    assert [type(layer) for layer in merged.modules()] == [
        type(layer) for layer in tiny.segmenter(2, None).modules()
    ]


@pytest.mark.parametrize("name", NAMES)
def test_everything_trained_gets_a_gradient(name):
    model = segmenter(name)
    tiny.shake(model, std=0.02)
    model(tiny.images()).square().mean().backward()
    assert trained_names(model) >= set(OF_CLASSES)
    for part, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, part
        assert not part.startswith(DEAD_PARTS) or not parameter.requires_grad, part


def test_lora_trains_factors_and_the_vectors_that_salt_trains():
    model, salted = segmenter("lora", lora_rank=3), segmenter("salt")
    vectors, layers = (
        {name for name in trained_names(model) if (".lora_" in name) == factor} for factor in (False, True)
    )
    assert vectors == {name for name in trained_names(salted) if ".parametrizations." not in name}
    assert set(adapted_layers(model)) == set(adapted_layers(salted))
    assert len(layers) == 2 * len(adapted_layers(model)) == len(model.sizes())
    for layer in adapted_layers(model).values():
        assert (layer.lora_b.shape[1], layer.lora_a.shape[0]) == (3, 3)
    groups = relative_adamw(model).param_groups
    (share,) = {group["share"] for group in groups for p in group["params"] if p in model.sizes()}
    assert share == LOW_RANK_SHARE


def test_lora_computes_what_peft_does():
    """On SALT's layers but the transposed convolutions, which peft does not know."""
    ours = segmenter("lora", lora_rank=2, targets=TARGETS)
    published = plain_like(ours)
    adapters.peft_lora(published, "sam-vit", rank=2)
    tiny.shake(ours, std=0.05)
    theirs = dict(published.named_parameters())
    with torch.no_grad():
        for name, layer in adapted_layers(ours).items():
            if isinstance(ours.get_submodule(name), nn.ConvTranspose2d):
                layer.lora_b.zero_()
                continue
            for ending, factor in (("A", layer.lora_a), ("B", layer.lora_b)):
                there = theirs[f"{name}.lora_{ending}.default.weight"]
                there.copy_(factor.view_as(there))
        for name, parameter in ours.named_parameters():
            if parameter.requires_grad and ".parametrizations." not in name:
                layer, _, last = name.rpartition(".")
                theirs[name if name in theirs else f"{layer}.base_layer.{last}"].copy_(parameter)
    images = tiny.images(2)
    torch.testing.assert_close(ours(images), published(images), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(ours(images), plain_like(ours)(images), atol=1e-2)


def test_pefts_lora_reaches_convolutions_that_were_folded_with_their_norm():
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(4)
    nn.init.normal_(norm.running_mean)
    model = nn.Sequential(ConvNorm(nn.Conv2d(3, 4, 3, padding=1, bias=False), norm)).eval()
    images = torch.rand(1, 3, 8, 8)
    folded, names = model(images), set(model.state_dict())
    adapters.unfold(model)
    assert set(model.state_dict()) == names
    torch.testing.assert_close(model(images), folded)


def test_s_sam_trains_all_singular_values_and_no_low_rank_part():
    for salt in adapted_layers(segmenter("s-sam", rank=0.25)).values():
        assert salt.rank == min(salt.u_top.shape[0], salt.vh_top.shape[1])
        assert salt.lora_a.numel() == salt.lora_b.numel() == 0


def test_decoder_leaves_the_encoder_alone_and_trains_all_that_is_used():
    model = segmenter("decoder", targets=("image_encoder",))
    trained = trained_names(model) - set(OF_CLASSES)
    assert trained == {
        name
        for name, _ in model.named_parameters()
        if name.startswith("mask_decoder.") and not name.startswith(DEAD_PARTS)
    }
    assert not adapted_layers(model)


@pytest.mark.parametrize("name", NAMES)
def test_training_saving_loading_and_segmenting(name, monkeypatch, tmp_path):
    tiny.use(monkeypatch)
    image, truth = tiny.discs()
    config = replace(tiny.QUICK, steps=4, method=name)
    events = list(training_events(image, tiny.painted(truth, 1, 4), config))
    first, last = events[1].adapter, events[-1].adapter
    changed = {n for n, t in last.tensors.items() if not torch.equal(t, first.tensors[n])}
    assert len(changed) > len(last.tensors) / 2
    path = last.save(tmp_path / "a.safetensors")
    back = Adapter.load(path)
    assert (back.method, back.salt) == (last.method, last.salt) == (name, METHODS[name].settled(back.salt))
    assert AdapterCard.read(path).method == name
    found = ns.segment(image, back, SIDE)
    np.testing.assert_array_equal(found, ns.segment(image, last, SIDE))
    assert not np.array_equal(found, ns.segment(image, first, SIDE)) or name == "s-sam"


@pytest.mark.parametrize("name", NAMES)
def test_going_on_keeps_the_method(name, monkeypatch):
    tiny.use(monkeypatch)
    image, truth = tiny.discs()
    before = tiny.adapter((1,), method=name)
    after = ns.train(image, tiny.painted(truth, 1, 4), replace(tiny.QUICK, steps=2), init=before)
    assert (after.method, set(after.tensors)) == (name, set(before.tensors))
    assert after.salt == before.build(base=tiny.base()).salt


@pytest.mark.parametrize("name", NAMES)
def test_the_command_line_trains_and_tells(name, monkeypatch, tmp_path, capsys, tiny_base):
    from stacks import save

    image, truth = tiny.discs(4)
    monkeypatch.chdir(tmp_path)
    save(tmp_path, image, "image.tif")
    save(tmp_path, tiny.painted(truth, 1, 2), "paint.tif")
    flags = ["--base", "tiny", "--steps", "2", "--device", "cpu", "--method", name]
    assert cli.main(["train", "image.tif", "paint.tif", "--out", "a.safetensors", *flags]) == 0
    assert cli.main(["info", "a.safetensors", "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["method"], told["peft_type"]) == (name, METHODS[name].peft_type)
    assert cli.main(["segment", "image.tif", "--adapter", "a.safetensors", "--out", "out.tif"]) == 0


def joined(header, body):
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + body


def rewritten(path, content, **metadata):
    """A file with other strings in its header."""
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] |= metadata
    path.write_bytes(joined(header, content[8 + length :]))
    return path


@pytest.mark.parametrize(
    ("made_by", "said", "settings", "words"),
    [
        ("salt", "LORA", {}, "rank is 0.5, but is always 0 for LoRA"),
        ("salt", "S-SAM", {"rank": 1.0}, "lora_rank is 2, but is always 0 for S-SAM"),
        (
            "lora",
            "DECODER",
            {"lora_rank": 0},
            "targets is .*, but is always .'mask_decoder'",
        ),
        ("lora", "LORA", {"lora_rank": 3}, "lora_rank is 3, but tensor .* has shape"),
        ("decoder", "DECODER", {"lora_rank": 1024}, "lora_rank is 1024, but is always 0"),
        ("decoder", "LORA", {"lora_rank": 8, "targets": []}, "lacks tensor"),
        ("lora", "SALT", {"rank": 0.5}, "lacks tensor .*scale"),
        ("s-sam", "SALT", {"lora_rank": 2}, "lora_rank is 2, but tensor"),
        ("salt", "salt", {}, "type 'salt', this napari-salt reads SALT, LORA, S-SAM, DECODER"),
    ],
)
def test_a_file_that_says_another_method_is_refused(tmp_path, made_by, said, settings, words, monkeypatch):
    tiny.use(monkeypatch)
    adapter = tiny.adapter(method=made_by)
    config = json.dumps({**asdict(adapter.salt), **settings})
    path = rewritten(tmp_path / "a.safetensors", adapter.to_bytes(), peft_type=said, config=config)
    with pytest.raises(AdapterError, match=words):
        Adapter.load(path).build()


def test_an_adapter_of_before_there_were_methods_is_salts():
    card = AdapterCard.read(Path(__file__).parent / "data" / "adapter_0_1_0.salt.safetensors")
    assert (card.method, card.salt.rank, card.salt.lora_rank) == ("salt", 0.5, 2)


@pytest.mark.parametrize("scale", [1.0, 0.5, 2.0])
def test_features_of_a_slice_lie_where_the_pixels_are(scale):
    model = tiny.segmenter(1, None)
    model.image_encoder = nn.AvgPool2d(4)
    rows = np.linspace(0, 1, 120, dtype=np.float32)[:, None] * np.ones((1, 90), np.float32)
    reader = SliceReader(rows[None], Preprocess(pixel_scale=scale))
    features = adapters.encoder_features(model)(reader, 0)
    assert features.shape == (120, 90, 3)
    model_scale = (reader.raw(0)[0] - model.mean[0, 0].item()) / model.std[0, 0].item()
    np.testing.assert_allclose(features[8:-8, 8:-8, 0], model_scale[8:-8, 8:-8], atol=0.1)
