"""Base models compute what their own code computes, at any size, and are adapted like each other."""

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor, sam_model_registry
from torch.nn import functional as F

import checkpoints
import napari_salt as ns
import tiny
from napari_salt import samples
from napari_salt.core.adapt.adapter import Adapter
from napari_salt.core.adapt.layers import adapted_layers
from napari_salt.core.adapt.segmenter import Segmenter
from napari_salt.core.bases import vit
from napari_salt.core.bases.load import load_base
from napari_salt.io import read_labels, read_stack
from napari_salt.terms.kinds import KINDS, kind_of

SALT = ns.SaltConfig(rank=4, lora_rank=1)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A checkpoint of each kind with random weights."""
    folder = tmp_path_factory.mktemp("files")
    return {
        "tiny": tiny.checkpoint(folder / "tiny.pth"),
        "shallow": checkpoints.write(checkpoints.shallow_sam(), folder / "shallow.pth"),
        "mobile": checkpoints.write(checkpoints.mobile_sam(), folder / "mobile.pt"),
    }


@pytest.fixture(scope="module")
def nuclei():
    """The sample's painted slices (Z, Y, X), and their paint."""
    slices = list(samples.PAINTED_SLICES)
    image, labels = read_stack(samples.nuclei3d_image()), read_labels(samples.nuclei3d_labels())
    return np.asarray(image.data)[slices], labels.data.compute()[slices]


# As their own code computes


@pytest.mark.parametrize(("file", "own"), [("shallow", SamPredictor), ("mobile", None)])
@torch.no_grad()
def test_embeddings_and_masks_are_those_of_the_predictor(files, file, own):
    if own is None:
        from mobile_sam import SamPredictor as own  # noqa: N813
    sam = checkpoints.shallow_sam() if file == "shallow" else checkpoints.mobile_sam()
    predictor = own(sam)
    image = np.random.default_rng(0).integers(0, 256, (1024, 1024, 3), np.uint8)
    predictor.set_image(image)
    base = load_base(str(files[file]))
    model = Segmenter(base.module, base.spec, 1, None)
    embeddings = model.encode(torch.from_numpy(image).permute(2, 0, 1)[None] / 255)
    assert embeddings.std() > 0.5
    torch.testing.assert_close(embeddings, predictor.features, atol=1e-4, rtol=1e-4)
    low_res_masks, _ = sam.mask_decoder(
        image_embeddings=predictor.features,
        image_pe=sam.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=model.class_tokens[:, None],
        dense_prompt_embeddings=sam.prompt_encoder.no_mask_embed.weight.view(1, -1, 1, 1).expand(
            1, -1, 64, 64
        ),
        multimask_output=False,
    )
    expected = sam.postprocess_masks(low_res_masks, (1024, 1024), (1024, 1024))
    torch.testing.assert_close(model.decode(embeddings), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["vit_b", "vit_l", "vit_h"])
def test_metas_models_are_built_as_meta_builds_them(name):
    with torch.device("meta"):
        own = sam_model_registry[name]()
    ours = vit.build_vit(own.state_dict(), 1024)
    assert kind_of(own.state_dict()) == "sam-vit"
    assert KINDS["sam-vit"].native_size(own.state_dict()) == 1024
    shapes = [{n: t.shape for n, t in model.state_dict().items()} for model in (own, ours)]
    assert shapes[0] == shapes[1]
    for block, expected in zip(ours.image_encoder.blocks, own.image_encoder.blocks, strict=True):
        assert block.window_size == expected.window_size
        assert (block.attn.num_heads, block.attn.scale) == (expected.attn.num_heads, expected.attn.scale)
        assert block.norm1.eps == expected.norm1.eps
    assert ours.mask_decoder.transformer.num_heads == own.mask_decoder.transformer.num_heads


# Other input sizes


@torch.no_grad()
def test_smaller_inputs_see_the_same_image(files):
    """A smooth image at half the size has the embedding of the whole one, at half the size."""
    state = checkpoints.shallow_sam().state_dict()
    ramp = torch.linspace(-1, 1, 64)
    axes = torch.stack(torch.meshgrid(ramp, ramp, indexing="ij"), -1)
    waves = torch.randn(2, 64, generator=torch.Generator().manual_seed(1))
    state["image_encoder.pos_embed"] = torch.sin(2 * axes @ waves)[None]
    image = torch.sin(torch.linspace(0, 6, 1024))[None, None, :, None].expand(1, 3, 1024, 1024)
    whole = vit.build_vit(state, 1024).eval().image_encoder(image)
    for size, least in ((512, 0.95), (256, 0.85)):  # without interpolation: 0.67 and 0.55
        small = F.interpolate(image, (size, size), mode="area")
        found = vit.build_vit(state, size).eval().image_encoder(small)
        expected = F.interpolate(whole, found.shape[-2:], mode="area")
        patterns = [(e - e.mean((2, 3), keepdim=True)).flatten() for e in (found, expected)]
        assert F.cosine_similarity(*patterns, dim=0) > least


def test_interpolation_keeps_constants_and_ramps():
    state = tiny.module().state_dict()
    name, offsets = "image_encoder.pos_embed", "image_encoder.blocks.1.attn.rel_pos_h"
    state[name] = torch.full_like(state[name], 3.0)
    ramp = torch.arange(15.0)[:, None] - 7
    state[offsets] = ramp.expand_as(state[offsets]).clone()
    half = vit.build_vit(state, 128).state_dict()
    torch.testing.assert_close(half[name], torch.full((1, 16, 16, tiny.CHANNELS), 3.0))
    column = half[offsets][:, 0]
    assert column.shape == (31,)
    torch.testing.assert_close(column, -column.flip(0), atol=1e-5, rtol=0)
    steps = column.diff()[2:-2]
    torch.testing.assert_close(steps, torch.full_like(steps, 15 / 31))
    windowed = "image_encoder.blocks.0.attn.rel_pos_h"
    assert torch.equal(half[windowed], state[windowed])


# Large models


def test_checkpointed_gradients_are_the_same_in_less_memory(monkeypatch):
    state = tiny.module().state_dict()
    found = []
    for large in (512, 0):
        monkeypatch.setattr(vit, "LARGE", large)
        encoder = vit.build_vit(state, 64).image_encoder
        kept = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t, k=kept: k.append(t.numel()) or t, lambda t: t
        ):
            encoder(tiny.images(2)).square().sum().backward()
        found.append(([p.grad for p in encoder.parameters()], sum(kept)))
    (plain, memory), (checkpointed, less) = found
    for gradient, expected in zip(checkpointed, plain, strict=True):
        torch.testing.assert_close(gradient, expected)
    assert less < memory / 2


# Adapted like each other


@pytest.mark.parametrize("reference", ["tiny", "tiny@128", "shallow@64", "mobile@64"])
def test_salt_trains_saves_loads_and_segments(files, nuclei, tmp_path, reference):
    image, labels = nuclei
    file, _, size = reference.partition("@")
    config = ns.TrainConfig(base=str(files[file]) + (f"@{size}" if size else ""), steps=2, salt=SALT)
    adapter = ns.train(image, labels, config)
    kind = "mobile-sam" if file == "mobile" else "sam-vit"
    assert adapter.base_model == f"{kind}:{files[file].name}" + (f"@{size}" if size else "")
    loaded = Adapter.load(adapter.save(tmp_path / "a.safetensors"))
    found = ns.segment(image, loaded, ns.SegmentConfig(slices=(1,), views=1))
    assert set(np.unique(found)) <= {0, 1}
    assert found[1].any()
    assert not found[0].any()


@pytest.mark.parametrize(
    ("file", "frozen"),
    [
        ("tiny", ("patch_embed", "pos")),
        ("mobile", ("image_encoder.layers.0", "patch_embed", "attention_biases")),
    ],
)
def test_positions_and_patches_stay_frozen(files, file, frozen):
    base = load_base(f"{files[file]}@64")
    model = Segmenter(base.module, base.spec, 1, SALT)
    trainable = [name for name, p in model.named_parameters() if p.requires_grad]
    assert not [name for name in trainable for part in frozen if part in name]
    layers = adapted_layers(model)
    assert {name.rsplit(".", 1)[-1] for name in layers} >= (
        {"qkv", "proj", "lin1", "lin2"} if file == "tiny" else {"qkv", "proj", "fc1", "fc2"}
    )
    assert any(name.startswith("image_encoder.neck") for name in layers)
