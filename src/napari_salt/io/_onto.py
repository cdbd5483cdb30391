"""Labels on the grid of their image: turned and mirrored, completed by background, or resampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_salt.io._format import ArrayOnDisk
from napari_salt.io._geometry import Affine, Turn

__all__ = ["Onto", "Resampling"]


@dataclass(frozen=True, eq=False)
class Resampling:
    """How to take labels on another grid: for each voxel of the image the nearest one of the labels.

    Parameters
    ----------
    matrix
        (4, 4): position (z, y, x, 1) in the image to position in the labels, in voxels.
    shape
        Number of the image's voxels along z, y, x.
    """

    matrix: Affine
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Onto:
    """How labels come onto the image's grid."""

    way: Turn | Resampling

    def of(self, array: ArrayOnDisk) -> ArrayOnDisk:
        """The labels, of the image's shape; their last three axes are z, y, x."""
        if isinstance(self.way, Resampling):
            return _Resampled(array, self.way)
        turned = _Turned(array, self.way)
        return turned if self.way.shape is None else _Placed(turned, self.way.start, self.way.shape)


class _Turned:
    """An array with its last three axes in another order, some of them backwards."""

    def __init__(self, array: ArrayOnDisk, turn: Turn) -> None:
        self._array, self._flipped = array, turn.flipped
        self._lead = len(array.shape) - len(turn.order)
        self._order = (*range(self._lead), *(self._lead + axis for axis in turn.order))
        self.shape = tuple(array.shape[axis] for axis in self._order)
        self.dtype = array.dtype

    def __getitem__(self, key: tuple[slice, ...]) -> npt.NDArray[Any]:
        ranges = [range(*at.indices(length)) for at, length in zip(key, self.shape, strict=True)]
        for axis, flipped in enumerate(self._flipped, self._lead):
            if flipped:  # the same voxels, counted from the other end
                last = self.shape[axis] - 1
                ranges[axis] = range(last - ranges[axis][-1], last - ranges[axis][0] + 1)
        inner = [slice(0, 0)] * len(key)
        for axis, place in enumerate(self._order):
            inner[place] = slice(ranges[axis].start, ranges[axis].stop)
        taken = np.asarray(self._array[tuple(inner)]).transpose(self._order)
        mirrored = tuple(a for a, backwards in enumerate(self._flipped, self._lead) if backwards)
        turned: npt.NDArray[Any] = np.flip(taken, mirrored)
        return turned


class _Placed:
    """An array that covers a part of a larger grid, or sticks out of it; 0 elsewhere."""

    def __init__(self, array: ArrayOnDisk, start: Sequence[int], shape: Sequence[int]) -> None:
        self._array = array
        lead = len(array.shape) - len(shape)
        self._start = (*[0] * lead, *start)
        self.shape = (*array.shape[:lead], *shape)
        self.dtype = array.dtype

    def __getitem__(self, key: tuple[slice, ...]) -> npt.NDArray[Any]:
        wanted = [range(*at.indices(length)) for at, length in zip(key, self.shape, strict=True)]
        found = np.zeros([len(part) for part in wanted], self.dtype)
        ours, theirs = [], []
        for part, start, length in zip(wanted, self._start, self._array.shape, strict=True):
            low, high = max(part.start, start), min(part.stop, start + length)
            if low >= high:
                return found
            ours.append(slice(low - part.start, high - part.start))
            theirs.append(slice(low - start, high - start))
        found[tuple(ours)] = self._array[tuple(theirs)]
        return found


class _Resampled:
    """Labels (Z, Y, X) on another grid, nearest voxel by nearest voxel; 0 outside of them."""

    def __init__(self, array: ArrayOnDisk, way: Resampling) -> None:
        self._array, self._matrix = array, way.matrix
        self.shape = way.shape
        self.dtype = array.dtype

    def __getitem__(self, key: tuple[slice, ...]) -> npt.NDArray[Any]:
        from scipy.ndimage import affine_transform

        ranges = [range(*at.indices(length)) for at, length in zip(key, self.shape, strict=True)]
        first = self._matrix @ [*(part.start for part in ranges), 1]
        found: npt.NDArray[Any] = affine_transform(
            self._whole,
            self._matrix[:3, :3],
            first[:3],
            output_shape=tuple(len(part) for part in ranges),
            order=0,
            mode="grid-constant",  # the outer half of the outermost voxels is theirs
        )
        return found

    @cached_property
    def _whole(self) -> npt.NDArray[Any]:
        lead = len(self._array.shape) - 3
        whole = np.asarray(self._array[(slice(None),) * len(self._array.shape)])
        return whole.reshape(whole.shape[lead:])
