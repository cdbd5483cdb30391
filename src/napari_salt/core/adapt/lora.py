"""LoRA as a change of weights.

Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", arXiv 2106.09685, section 4.1.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from napari_salt.core.adapt.layers import LOW_RANK_SHARE, WeightChange

__all__ = ["LoraParametrization"]


class LoraParametrization(WeightChange):
    """Adapted weight ``W + lora_b lora_a``, of the flattened weight.

    Parameters
    ----------
    weight
        The frozen weight, float, shape (out, ...); flattened to (out, in).
    lora_rank
        Rank k of the update.

    Attributes
    ----------
    lora_b, lora_a
        Parameters of shape (out, k) and (k, in); `lora_b` is 0 at the start, so the update is exactly 0.
    """

    def __init__(self, weight: Tensor, *, lora_rank: int = 8) -> None:
        super().__init__()
        rows, columns = weight.flatten(1).shape
        self.lora_b = nn.Parameter(torch.zeros(rows, lora_rank, device=weight.device))
        self.lora_a = nn.Parameter(torch.empty(lora_rank, columns, device=weight.device))
        nn.init.normal_(self.lora_a, std=columns**-0.5)

    def delta(self) -> Tensor:
        """Change of the flattened weight, float32, shape (out, in)."""
        with torch.autocast(self.lora_b.device.type, enabled=False):
            return self.lora_b @ self.lora_a

    def sizes(self) -> Mapping[nn.Parameter, float]:
        """Sizes of the factors."""
        return {self.lora_a: LOW_RANK_SHARE, self.lora_b: LOW_RANK_SHARE}
