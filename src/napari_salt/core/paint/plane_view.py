"""A volume cut along another axis, with square pixels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_salt.core.devices import check_room
from napari_salt.core.paint.preprocess import channels_first, resize
from napari_salt.terms.errors import InputError
from napari_salt.terms.planes import AXES, Cut, Spacing, Voxels
from napari_salt.terms.stack import StackLike

__all__ = ["PlaneView", "in_memory", "own_shape", "pixel_size_along", "view_along"]

SHARE = 0.5
"""Most of the free memory that a volume may take."""


def in_memory(stack: StackLike) -> NDArray[Any]:
    """The whole stack, read slice by slice; each slice of another plane needs all of them.

    Raises
    ------
    InputError
        If it takes more than half of the free memory.
    """
    if isinstance(stack, np.ndarray):
        return stack
    check_room(
        math.prod(stack.shape) * np.dtype(stack.dtype).itemsize,
        "the whole image, which planes across the slices need,",
        "use plane z, or a part of the image",
        SHARE,
    )
    return np.stack([np.asarray(stack[index]) for index in range(stack.shape[0])])


def view_along(stack: StackLike, cut: Cut, voxels: Voxels, *, labels: bool = False) -> StackLike:
    """The slices of a stack along `cut`; unless that is how they are stored, it is read into memory.

    Raises
    ------
    InputError
        If the stack has one slice only, or memory does not hold it.
    """
    if cut.stored:
        return stack
    if stack.shape[0] == 1:
        raise InputError(f"the image is a single slice and has no plane {AXES[cut.slices]}; use plane z")
    return PlaneView(in_memory(stack), cut, voxels.spacing, labels=labels)


def pixel_size_along(cut: Cut, pixel_size: float | None, voxels: Voxels) -> float | None:
    """Micrometres per (square) pixel of the slices along `cut`, from that of those that are stored."""
    if pixel_size is None or voxels.spacing is None or cut.stored:
        return pixel_size
    return pixel_size * min(cut.sides(voxels.spacing)) / math.prod(Cut().sides(voxels.spacing)) ** 0.5


class PlaneView:
    """A `StackLike` of a volume's slices along a cut.

    Pixels are made square: the axis with the larger spacing is enlarged, linearly; labels by their nearest.

    Parameters
    ----------
    volume
        Shape (Z, Y, X) or (Z, Y, X, 3).
    cut
        How it is cut into slices.
    spacing
        Size of a voxel; None: voxels are cubes.
    labels
        Whether values are labels, which are never mixed.

    Attributes
    ----------
    own_shape
        (rows, columns) of a slice in voxels, before pixels were made square.
    """

    def __init__(
        self, volume: NDArray[Any], cut: Cut, spacing: Spacing | None = None, *, labels: bool = False
    ) -> None:
        sides = cut.sides(spacing)
        self._slices = cut.of(volume)
        self._labels = labels
        self.own_shape: tuple[int, int] = self._slices.shape[1:3]
        rows, columns = (round(n * s / min(sides)) for n, s in zip(self.own_shape, sides, strict=True))
        self.shape: tuple[int, ...] = (len(self._slices), rows, columns, *self._slices.shape[3:])
        self.dtype = volume.dtype
        self.ndim = len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Any:
        plane = np.ascontiguousarray(self._slices[int(key)])
        size = self.shape[1:3]
        if plane.shape[:2] == size:
            return plane
        if self._labels:
            rows, columns = (
                np.minimum(((np.arange(new) + 0.5) * old / new).astype(int), old - 1)
                for old, new in zip(plane.shape[:2], size, strict=True)
            )
            return plane[rows][:, columns]
        kind = np.float64 if plane.dtype.itemsize > 2 else np.float32
        channels = torch.from_numpy(channels_first(plane).astype(kind))
        larger = resize(channels[None], (size[0], size[1]))[0].numpy()
        if plane.dtype.kind != "f":
            larger = np.rint(larger)
        larger = larger.astype(plane.dtype)
        return larger[0] if plane.ndim == 2 else np.moveaxis(larger, 0, -1)


def own_shape(stack: StackLike) -> tuple[int, int]:
    """(rows, columns) of a slice in voxels."""
    if isinstance(stack, PlaneView):
        return stack.own_shape
    height, width = stack.shape[1:3]
    return height, width
