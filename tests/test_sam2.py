"""SAM 2 as a base: the same as its own code, adapted like the others. Needs the extra ``sam2``."""

import sys

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import napari_salt as ns
import tiny
from checkpoints import random_values
from napari_salt.core.adapt.adapter import Adapter
from napari_salt.core.adapt.segmenter import Segmenter
from napari_salt.core.bases import hiera
from napari_salt.core.bases.load import load_base
from napari_salt.terms.errors import BaseModelError

WIDTH = 16
STAGES = (1, 1, 2, 1)
VARIANT = hiera.Variant(1, (3,))


@pytest.fixture
def own(monkeypatch):
    """SAM 2's image encoder, prompt encoder and mask decoder, small, by its own package."""
    pytest.importorskip("sam2", reason="the extra sam2 is not installed")
    from sam2.modeling.backbones.hieradet import Hiera
    from sam2.modeling.backbones.image_encoder import FpnNeck, ImageEncoder
    from sam2.modeling.position_encoding import PositionEmbeddingSine
    from sam2.modeling.sam.mask_decoder import MaskDecoder
    from sam2.modeling.sam.prompt_encoder import PromptEncoder
    from sam2.modeling.sam.transformer import TwoWayTransformer

    monkeypatch.setattr(hiera, "VARIANTS", {**hiera.VARIANTS, (WIDTH, STAGES): VARIANT})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        trunk = Hiera(
            embed_dim=WIDTH,
            num_heads=1,
            stages=STAGES,
            global_att_blocks=(3,),
            window_pos_embed_bkg_spatial_size=(7, 7),
        )
        neck = FpnNeck(
            PositionEmbeddingSine(256),
            256,
            trunk.channel_list,
            fpn_interp_model="nearest",
            fpn_top_down_levels=[2, 3],
        )
        decoder = MaskDecoder(
            transformer_dim=256,
            transformer=TwoWayTransformer(2, 256, 8, 2048),
            use_high_res_features=True,
            pred_obj_scores=True,
            pred_obj_scores_mlp=True,
        )
        parts = torch.nn.Module()
        parts.image_encoder = ImageEncoder(trunk, neck, scalp=1)
        parts.sam_prompt_encoder = PromptEncoder(256, (64, 64), (1024, 1024), 16)
        parts.sam_mask_decoder = decoder
        parts.no_mem_embed = torch.nn.Parameter(torch.zeros(1, 1, 256))
        parts.memory_attention = torch.nn.Linear(2, 2)
    return random_values(parts)


@pytest.fixture
def checkpoint(own, tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_SALT_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "sam2.pt"
    torch.save({"model": own.state_dict()}, path)
    return path


@torch.no_grad()
def test_embeddings_and_masks_are_sam_2s_own(own, checkpoint):
    base = load_base(str(checkpoint))
    assert (base.spec.name, base.spec.input_size) == ("sam2:sam2.pt", 1024)
    model, images = Segmenter(base.module, base.spec, 1, None), torch.rand(1, 3, 1024, 1024)
    *finer, embedding = own.image_encoder((images - model.mean) / model.std)["backbone_fpn"]
    embedding = embedding + own.no_mem_embed.view(1, -1, 1, 1)
    decoder = own.sam_mask_decoder
    finer = [decoder.conv_s0(finer[0]), decoder.conv_s1(finer[1])]
    found = model.encode(images)
    for ours, expected in zip(found, [embedding, *finer], strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)
    masks, *_ = decoder(
        image_embeddings=embedding,
        image_pe=own.sam_prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=model.class_tokens[:, None],
        dense_prompt_embeddings=own.sam_prompt_encoder.no_mask_embed.weight.view(1, -1, 1, 1),
        multimask_output=False,
        repeat_image=False,
        high_res_features=finer,
    )
    called_as_sam, _ = base.module.mask_decoder(
        image_embeddings=found,
        image_pe=model.dense_pe,
        sparse_prompt_embeddings=model.class_tokens[:, None].expand(3, -1, -1),
        dense_prompt_embeddings=model.prompt_encoder.no_mask_embed.weight.view(1, -1, 1, 1),
        multimask_output=False,
    )
    torch.testing.assert_close(called_as_sam, masks.expand(3, -1, -1, -1), atol=1e-4, rtol=1e-4)
    expected = F.interpolate(masks, (1024, 1024), mode="bilinear", align_corners=False)
    assert expected.std() > 0.01
    torch.testing.assert_close(model.decode(found), expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_every_image_meets_every_class(checkpoint):
    base = load_base(f"{checkpoint}@128")
    model = Segmenter(base.module, base.spec, 2, None)
    model.output_tokens.add_(torch.randn(2, 256))
    images = torch.rand(2, 3, 128, 128)
    together = model(images)
    for b in range(2):
        torch.testing.assert_close(together[b : b + 1], model(images[b : b + 1]), atol=1e-4, rtol=1e-4)
    assert (together[:, 0] - together[:, 1]).abs().mean() > 1e-3


def test_salt_trains_saves_loads_and_segments(checkpoint, tmp_path):
    image, truth = tiny.discs()
    config = ns.TrainConfig(base=f"{checkpoint}@128", steps=2, salt=ns.SaltConfig(rank=4, lora_rank=1))
    adapter = ns.train(image, tiny.painted(truth, 1, 4), config)
    assert adapter.base_model == "sam2:sam2.pt@128"
    names = "\n".join(adapter.tensors)
    assert "image_encoder.trunk.blocks.0.attn.qkv" in names
    assert "patch_embed" not in names
    assert "pos_embed" not in names
    loaded = Adapter.load(adapter.save(tmp_path / "a.safetensors"))
    found = ns.segment(image, loaded, ns.SegmentConfig(slices=(0,), views=1))
    assert set(np.unique(found)) <= {0, 1}


def test_an_unknown_hiera_is_named(checkpoint, monkeypatch):
    monkeypatch.setattr(hiera, "VARIANTS", {})
    with pytest.raises(BaseModelError, match=r"no published SAM 2 has 16 features and \(1, 1, 2, 1\) blocks"):
        load_base(str(checkpoint))


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_SALT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(sys.modules, "sam2.modeling.backbones.hieradet", None)
    torch.save({"image_encoder.trunk.pos_embed_window": torch.ones(1)}, tmp_path / "sam2.pt")
    with pytest.raises(BaseModelError, match=r"pip install 'napari-salt\[sam2\]'"):
        load_base(str(tmp_path / "sam2.pt"))
