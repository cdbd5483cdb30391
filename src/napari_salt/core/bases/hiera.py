"""SAM 2's image encoder (Hiera) and decoder, as the three parts that the segmenter composes.

Only the parts for single images are built; the memory for videos is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from segment_anything.modeling import Sam
from torch import Tensor, nn

from napari_salt.core.bases.vit import build_prompt_encoder
from napari_salt.terms.errors import BaseModelError

__all__ = ["build_sam2"]


@dataclass(frozen=True)
class Variant:
    """Settings of a published Hiera that its weights do not show.

    Parameters
    ----------
    heads
        Attention heads of the first stage.
    global_blocks
        Indices of the blocks that attend to the whole image.
    windows
        Side of the attention windows of each stage, in that stage's pixels.
    """

    heads: int
    global_blocks: tuple[int, ...]
    windows: tuple[int, ...] = (8, 4, 14, 7)


VARIANTS: Mapping[tuple[int, tuple[int, ...]], Variant] = {
    (96, (1, 2, 7, 2)): Variant(1, (5, 7, 9)),
    (96, (1, 2, 11, 2)): Variant(1, (7, 10, 13)),
    (112, (2, 3, 16, 3)): Variant(2, (12, 16, 20)),
    (144, (2, 6, 36, 4)): Variant(2, (23, 33, 43), (8, 4, 16, 8)),
}
"""SAM 2's tiny, small, base-plus and large encoders, by width and blocks per stage.

Source: the configurations in the ``sam2`` package.
"""


class HieraEncoder(nn.Module):
    """SAM 2's image encoder for single images: the embedding, and finer features for the decoder.

    Parameters
    ----------
    trunk, neck
        Hiera, and the pyramid that brings its stages to C features.
    no_mem_embed
        Embedding used in place of the memory of earlier images, shape (1, 1, C).
    """

    def __init__(self, trunk: nn.Module, neck: nn.Module, no_mem_embed: Tensor) -> None:
        super().__init__()
        channels = no_mem_embed.shape[-1]
        self.trunk = trunk
        self.neck = neck
        self.conv_s0 = nn.Conv2d(channels, channels // 8, 1)
        self.conv_s1 = nn.Conv2d(channels, channels // 4, 1)
        self.no_mem_embed = nn.Parameter(no_mem_embed)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Image (B, 3, S, S) to its embedding (B, C, S/16, S/16) and features of S/4 and S/8."""
        (fine, middle, coarse, _), _ = self.neck(self.trunk(x))
        return coarse + self.no_mem_embed.view(1, -1, 1, 1), self.conv_s0(fine), self.conv_s1(middle)


def build_sam2(state: Mapping[str, Tensor], input_size: int) -> nn.Module:
    """SAM 2's parts with the weights `state`, for inputs of `input_size` pixels, a multiple of 32.

    Raises
    ------
    BaseModelError
        If the package ``sam2`` is missing, or the encoder is none of those published.
    """
    try:
        from sam2.modeling.backbones.hieradet import Hiera
        from sam2.modeling.backbones.image_encoder import FpnNeck
    except ImportError as error:
        raise BaseModelError(
            f"SAM 2 needs the package sam2 ({error}); pip install 'napari-salt[sam2]'"
        ) from error
    stages = _stages(state)
    width, background = state["image_encoder.trunk.pos_embed"].shape[1:3]
    variant = VARIANTS.get((width, stages))
    if variant is None:
        raise BaseModelError(f"no published SAM 2 has {width} features and {stages} blocks per stage")
    trunk = Hiera(
        embed_dim=width,
        num_heads=variant.heads,
        stages=stages,
        global_att_blocks=variant.global_blocks,
        window_pos_embed_bkg_spatial_size=(background, background),
        window_spec=variant.windows,
    )
    neck = FpnNeck(
        position_encoding=nn.Identity(),  # only the memory uses it
        d_model=state["image_encoder.no_mem_embed"].shape[-1],
        backbone_channel_list=trunk.channel_list,
        fpn_interp_model="nearest",
        fpn_top_down_levels=[2, 3],
    )
    encoder = HieraEncoder(trunk, neck, state["image_encoder.no_mem_embed"])
    prompt_encoder = build_prompt_encoder(state, input_size // 16, input_size)
    sam: nn.Module = Sam(encoder, prompt_encoder, _mask_decoder(state))
    sam.load_state_dict(state)
    return sam


def _mask_decoder(state: Mapping[str, Tensor]) -> nn.Module:
    """SAM 2's decoder with the call signature of SAM's, for the encoder's output of one image."""
    from sam2.modeling.sam.mask_decoder import MaskDecoder
    from sam2.modeling.sam.transformer import TwoWayTransformer

    class SingleImageDecoder(MaskDecoder):  # type: ignore[misc]
        def forward(self, *, image_embeddings: tuple[Tensor, ...], **prompts: Any) -> tuple[Tensor, Tensor]:
            embedding, *finer = image_embeddings
            masks, quality, *_ = super().forward(
                image_embeddings=embedding, high_res_features=finer, repeat_image=True, **prompts
            )
            return masks, quality

    channels = state["mask_decoder.iou_token.weight"].shape[1]
    hidden = len(state["mask_decoder.transformer.layers.0.mlp.layers.0.weight"])
    decoder = SingleImageDecoder(
        transformer_dim=channels,
        transformer=TwoWayTransformer(depth=2, embedding_dim=channels, num_heads=8, mlp_dim=hidden),
        iou_prediction_use_sigmoid=True,
        pred_obj_scores=True,
        pred_obj_scores_mlp=True,
    )
    decoder.use_high_res_features = True  # set late: the encoder holds their convolutions
    return cast(nn.Module, decoder)


def _stages(state: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Number of blocks of each stage; a stage's blocks have one width."""
    widths: list[int] = []
    while (name := f"image_encoder.trunk.blocks.{len(widths)}.attn.proj.weight") in state:
        widths.append(len(state[name]))
    return tuple(widths.count(width) for width in sorted(set(widths)))
