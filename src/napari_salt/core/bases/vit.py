"""SAM's own architecture, built from the shapes of its weights, for any input size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

__all__ = ["build_mask_decoder", "build_prompt_encoder", "build_vit"]

DECODER_HEADS = 8
"""Attention heads of the decoder in every published SAM; the weights do not show the number."""
DEEP, LARGE = 12, 512
"""Number of blocks and input size in pixels beyond which activations are checkpointed."""


@dataclass(frozen=True)
class EncoderShape:
    """Sizes of a ViT image encoder.

    Parameters
    ----------
    depth, width, heads, hidden, channels
        Blocks, features, attention heads, features inside the MLPs, features of the embedding.
    patch, grid
        Side of a patch in pixels, and patches per side of the native input.
    window
        Side of the attention windows in patches; 0 where there are none.
    global_blocks
        Indices of the blocks that attend to the whole image.
    """

    depth: int
    width: int
    heads: int
    hidden: int
    channels: int
    patch: int
    grid: int
    window: int
    global_blocks: tuple[int, ...]

    @classmethod
    def of(cls, state: Mapping[str, Tensor]) -> EncoderShape:
        """Read from the shapes of the weights."""
        depth = _count(state, "image_encoder.blocks")
        spans = [(len(state[f"image_encoder.blocks.{i}.attn.rel_pos_h"]) + 1) // 2 for i in range(depth)]
        grid, width = state["image_encoder.pos_embed"].shape[1::2]
        windows = [span for span in spans if span != grid]
        return cls(
            depth=depth,
            width=width,
            heads=width // state["image_encoder.blocks.0.attn.rel_pos_h"].shape[1],
            hidden=len(state["image_encoder.blocks.0.mlp.lin1.weight"]),
            channels=len(state["image_encoder.neck.0.weight"]),
            patch=state["image_encoder.patch_embed.proj.weight"].shape[-1],
            grid=grid,
            window=windows[0] if windows else 0,
            global_blocks=tuple(i for i, span in enumerate(spans) if span == grid),
        )


class CheckpointedEncoder(ImageEncoderViT):  # type: ignore[misc]
    """SAM's image encoder that keeps only each block's input for the backward pass."""

    def forward(self, x: Tensor) -> Tensor:
        """Image (B, 3, S, S) to embedding (B, C, g, g)."""
        x = self.patch_embed(x) + self.pos_embed
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False, preserve_rng_state=False)
        embedding: Tensor = self.neck(x.permute(0, 3, 1, 2))
        return embedding


def build_vit(state: Mapping[str, Tensor], input_size: int) -> nn.Module:
    """SAM with the weights `state`, for square inputs of `input_size` pixels, a multiple of its patch.

    Attention windows keep their size in patches. Position embeddings are interpolated bicubically,
    relative positions of blocks that see the whole image linearly, as SAM's own ``get_rel_pos``
    does.

    Raises
    ------
    RuntimeError, KeyError
        If the weights are not those of a SAM.
    """
    shape = EncoderShape.of(state)
    grid = input_size // shape.patch
    kind = CheckpointedEncoder if shape.depth > DEEP or input_size > LARGE else ImageEncoderViT
    # No random initial values: for ViT-H drawing them takes longer than reading the weights.
    with torch.device("meta"):
        encoder = kind(
            img_size=input_size,
            patch_size=shape.patch,
            embed_dim=shape.width,
            depth=shape.depth,
            num_heads=shape.heads,
            mlp_ratio=shape.hidden / shape.width,
            out_chans=shape.channels,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=shape.window,
            global_attn_indexes=shape.global_blocks,
        )
        prompt_encoder, mask_decoder = (
            build_prompt_encoder(state, grid, input_size),
            build_mask_decoder(state),
        )
    sam: nn.Module = Sam(encoder, prompt_encoder, mask_decoder)
    resized = _resized(state, shape, grid)
    sam.load_state_dict({name: value.float() for name, value in resized.items()}, assign=True)
    return sam


def build_prompt_encoder(state: Mapping[str, Tensor], grid: int, input_size: int) -> nn.Module:
    """SAM's prompt encoder of the sizes of `state`, without its values, for `grid` x `grid` embeddings."""
    encoder: nn.Module = PromptEncoder(
        embed_dim=state["prompt_encoder.no_mask_embed.weight"].shape[1],
        image_embedding_size=(grid, grid),
        input_image_size=(input_size, input_size),
        mask_in_chans=len(state["prompt_encoder.mask_downscaling.3.weight"]),
    )
    return encoder


def build_mask_decoder(state: Mapping[str, Tensor]) -> nn.Module:
    """SAM's mask decoder of the sizes of `state`, without its values."""
    channels = state["mask_decoder.iou_token.weight"].shape[1]
    decoder: nn.Module = MaskDecoder(
        transformer_dim=channels,
        transformer=TwoWayTransformer(
            depth=_count(state, "mask_decoder.transformer.layers"),
            embedding_dim=channels,
            num_heads=DECODER_HEADS,
            mlp_dim=len(state["mask_decoder.transformer.layers.0.mlp.lin1.weight"]),
        ),
        num_multimask_outputs=len(state["mask_decoder.mask_tokens.weight"]) - 1,
        iou_head_depth=_count(state, "mask_decoder.iou_prediction_head.layers"),
        iou_head_hidden_dim=len(state["mask_decoder.iou_prediction_head.layers.0.weight"]),
    )
    return decoder


def _resized(state: Mapping[str, Tensor], shape: EncoderShape, grid: int) -> dict[str, Tensor]:
    """`state` with positions for `grid` x `grid` patches."""
    resized = dict(state)
    if grid == shape.grid:
        return resized
    name = "image_encoder.pos_embed"
    positions = state[name].float().permute(0, 3, 1, 2)
    positions = F.interpolate(positions, (grid, grid), mode="bicubic", align_corners=False, antialias=True)
    resized[name] = positions.permute(0, 2, 3, 1).contiguous()
    for block in shape.global_blocks:
        for axis in "hw":
            name = f"image_encoder.blocks.{block}.attn.rel_pos_{axis}"
            offsets = state[name].float().T[None]
            resized[name] = F.interpolate(offsets, 2 * grid - 1, mode="linear")[0].T.contiguous()
    return resized


def _count(state: Mapping[str, Tensor], prefix: str) -> int:
    """Number of numbered modules under `prefix`."""
    start = len(prefix) + 1
    return len({name[start:].partition(".")[0] for name in state if name.startswith(f"{prefix}.")})
