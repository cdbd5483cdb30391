"""The function that computes a segmenter's logits, as its callers see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

__all__ = ["Forward"]


@dataclass(frozen=True)
class Forward:
    """A function that computes a segmenter's logits.

    Parameters
    ----------
    compute
        Takes float32 images (B, 3, S, S) from 0 to 1 on the segmenter's device, returns float32 logits
        (B, K, S, S).
    at_once
        Best number of images per call; None leaves the choice to `BatchSize`.
    """

    compute: Callable[[Tensor], Tensor]
    at_once: int | None = None

    def __call__(self, images: Tensor) -> Tensor:
        """float32 logits (B, K, S, S) of `images` (B, 3, S, S)."""
        return self.compute(images)
