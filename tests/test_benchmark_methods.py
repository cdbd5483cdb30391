"""What SALT is compared with in the accuracy benchmark, on the same laws as SALT itself."""

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import tiny
from napari_salt.core.config import Preprocess, SegmentConfig, TrainConfig
from napari_salt.core.inference import segmentation_events
from napari_salt.core.optimizer import LOW_RANK_SHARE, relative_adamw
from napari_salt.core.preprocess import SliceReader
from napari_salt.core.registry import KINDS
from napari_salt.core.salt import adapted_layers
from napari_salt.core.segmenter import DEAD_PARTS
from napari_salt.core.tinyvit import ConvNorm
from napari_salt.core.training import training_events

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))
import adapters

LORA = partial(adapters.lora, kind="sam-vit", rank=2)
TARGETS = KINDS["sam-vit"].targets
METHODS = {
    "lora": adapters.Method(LORA),
    "ssam": replace(adapters.METHODS["ssam"], salt=replace(adapters.METHODS["ssam"].salt, targets=TARGETS)),
    "decoder": adapters.METHODS["decoder"],
}
TOKENS = {"class_tokens", "output_tokens", "class_head"}


def adapted(name, n_classes=2):
    method = METHODS[name]
    model = tiny.segmenter(n_classes, None if method.adapt else method.salt)
    sizes = method.adapt(model) if method.adapt else {}
    return model, sizes


def trained_names(model):
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("name", METHODS)
def test_nothing_changes_before_training(name):
    model, _ = adapted(name)
    plain = tiny.segmenter(2, None)
    torch.testing.assert_close(model(tiny.images()), plain(tiny.images()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_merged_weights_give_the_same_logits(name):
    model, _ = adapted(name)
    tiny.shake(model, std=0.02)
    images = tiny.images(2)
    expected = model(images).detach()
    merged = adapters.merged(model)
    torch.testing.assert_close(merged(images), expected, rtol=1e-3, atol=1e-4)
    assert not trained_names(merged)
    assert {type(layer) for layer in merged.modules()} <= {
        type(layer) for layer in tiny.segmenter(2, None).modules()
    }


@pytest.mark.parametrize("name", METHODS)
def test_everything_trained_gets_a_gradient(name):
    model, _ = adapted(name)
    tiny.shake(model, std=0.02)
    model(tiny.images()).square().mean().backward()
    assert trained_names(model) >= TOKENS
    for part, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, part
        assert not part.startswith(DEAD_PARTS) or not parameter.requires_grad, part


def test_lora_trains_factors_and_the_vectors_that_salt_trains():
    model, sizes = adapted("lora")
    salted = tiny.segmenter(2, replace(tiny.SALT, targets=TARGETS))
    plain_names = {name.replace(".base_layer", "") for name in trained_names(model)}
    vectors = {
        name
        for name, parameter in salted.named_parameters()
        if parameter.requires_grad and ".parametrizations." not in name
    }
    assert {name for name in plain_names if ".lora_" not in name} == vectors
    layers = {name.partition(".lora_")[0] for name in plain_names if ".lora_" in name}
    transposed = {n for n, m in salted.named_modules() if isinstance(m, nn.ConvTranspose2d)}
    assert layers == set(adapted_layers(salted)) - transposed
    assert len(sizes) == 2 * len(layers)
    groups = relative_adamw(model, sizes).param_groups
    (share,) = {group["share"] for group in groups for p in group["params"] if p in set(sizes)}
    assert share == LOW_RANK_SHARE


def test_lora_reaches_convolutions_that_were_folded_with_their_norm():
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
    model, _ = adapted("ssam")
    for salt in adapted_layers(model).values():
        assert salt.rank == min(salt.u_top.shape[0], salt.vh_top.shape[1])
        assert salt.lora_a.numel() == salt.lora_b.numel() == 0


def test_decoder_only_leaves_the_encoder_alone():
    model, _ = adapted("decoder")
    assert all(name.startswith("mask_decoder.") for name in trained_names(model) - TOKENS)
    weights = {n for n, p in model.mask_decoder.named_parameters() if p.ndim > 1}
    assert any(f"mask_decoder.{name}" in trained_names(model) for name in weights)


@pytest.mark.parametrize("name", METHODS)
def test_training_and_segmenting_go_through_the_same_code_as_salt(name, monkeypatch):
    tiny.use(monkeypatch)
    image, truth = tiny.discs()
    method = METHODS[name]
    config = TrainConfig(base="tiny", steps=3, salt=method.salt)
    _, first, *_, last = training_events(image, tiny.painted(truth, 1, 4), config, adapt=method.adapt)
    changed = {n for n, t in last.adapter.tensors.items() if not torch.equal(t, first.adapter.tensors[n])}
    assert len(changed) > len(last.adapter.tensors) / 2
    segmenter = adapters.built(method, last.adapter, tiny.base())
    (result,) = segmentation_events(
        image, last.adapter, SegmentConfig(slices=(2,), views=1), segmenter=segmenter
    )
    assert result.labels.shape == truth[2].shape


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
