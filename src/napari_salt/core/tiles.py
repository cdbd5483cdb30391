"""Tiles that cover a slice, and the ways to look at them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["VIEWS", "Tile", "View", "possible_overlap", "tiles_of"]


@dataclass(frozen=True)
class View:
    """A turned or mirrored way to look at a slice.

    Parameters
    ----------
    quarter_turns
        Counter-clockwise.
    mirrored
        Axes that are reversed, of (C, H, W).
    """

    quarter_turns: int = 0
    mirrored: tuple[int, ...] = ()

    def of(self, image: Tensor) -> Tensor:
        """Look at `image` (C, H, W) this way."""
        return torch.rot90(image.flip(self.mirrored), self.quarter_turns, (1, 2))

    def size_of(self, size: Sequence[int]) -> tuple[int, int]:
        """(height, width) that a slice of `size` has in this view."""
        height, width = size
        return (width, height) if self.quarter_turns % 2 else (height, width)

    def back(self, image: Tensor) -> Tensor:
        """Undo `of`."""
        return torch.rot90(image, -self.quarter_turns, (1, 2)).flip(self.mirrored)


VIEWS = (View(), View(mirrored=(2,)), View(mirrored=(1,)), View(quarter_turns=1))
"""In the order in which they are used."""


@dataclass(frozen=True)
class Tile:
    """A square of the scaled slice, by its first row and column."""

    top: int
    left: int


def possible_overlap(overlap: int, tile: int) -> int:
    """`overlap` in pixels, at most half of the side of a `tile`."""
    return min(overlap, tile // 2)


def tiles_of(size: Sequence[int], tile: int, overlap: int) -> list[Tile]:
    """Tiles of side `tile` that cover a (height, width), sharing at least `overlap` pixels."""
    rows, columns = (_starts(length, tile, overlap) for length in size)
    return [Tile(top, left) for top in rows for left in columns]


def _starts(length: int, tile: int, overlap: int) -> list[int]:
    """Evenly spread first pixels of the fewest tiles that cover `length` with `overlap`."""
    if length <= tile:
        return [0]
    count = -(-(length - overlap) // (tile - overlap))
    return [round(i * (length - tile) / (count - 1)) for i in range(count)]


def _taper(side: int, overlap: int) -> Tensor:
    """Weight (side, side) that rises linearly over `overlap` pixels from each edge."""
    steps = torch.arange(side, dtype=torch.float32) + 1
    ramp = torch.minimum(steps, steps.flip(0)).clamp_max(max(1, overlap)) / max(1, overlap)
    return ramp[:, None] * ramp[None]
