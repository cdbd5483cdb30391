"""LiteMedSAM's TinyViT encoder made fast without changing what it computes.

The package's module is kept, with its parameters and their names; only how its convolution blocks
compute is replaced: batch norm (always in eval mode here) is folded into the convolution before it,
and pointwise convolutions are matrix products over channels-last pixels. (Torch's fused attention
was tried: with a bias, its backward is several times slower on CPUs than the package's own.)
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["accelerate"]


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
