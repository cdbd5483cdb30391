"""What computes a segmenter, as its callers see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

__all__ = ["Forward"]


@dataclass(frozen=True)
class Forward:
    """What computes a segmenter.

    Parameters
    ----------
    compute
        float32 images (B, 3, S, S) from 0 to 1 on the segmenter's device, to float32 logits (B, K, S, S).
    at_once
        Images that are best given together; None where the device's memory decides.
    """

    compute: Callable[[Tensor], Tensor]
    at_once: int | None = None

    def __call__(self, images: Tensor) -> Tensor:
        """Logits of `images`."""
        return self.compute(images)
