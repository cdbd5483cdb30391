"""Two arrays of labels on both sides of a line, read when they are shown. Imports neither napari nor Qt."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_salt.terms.events import Preview

__all__ = ["Divided", "Divider", "DividingLine", "PreviewPlane"]

LINE_SHARE = 1 / 300
"""Width of the line as a share of the picture's."""


@dataclass
class Divider:
    """The line between two halves of a picture.

    Parameters
    ----------
    axis
        Axis of the arrays that runs across the picture.
    length
        Voxels along that axis.
    mirrored
        Whether the picture shows that axis from right to left.
    place
        Where the line is: 0 (at the picture's left) to 1.
    """

    axis: int
    length: int
    mirrored: bool = False
    place: float = 0.5

    @property
    def position(self) -> float:
        """Where the line is along the axis, in voxels; -0.5 is the first voxel's outer edge."""
        return self.length * (1 - self.place if self.mirrored else self.place) - 0.5

    def move_to(self, position: float) -> None:
        """Put the line at a position along the axis, in voxels; outside it stops at the picture's edge."""
        share = min(max((position + 0.5) / self.length, 0.0), 1.0)
        self.place = 1 - share if self.mirrored else share

    def turn(self, other: Divider) -> None:
        """Lie as `other` does, at the same place of the picture."""
        self.axis, self.length, self.mirrored = other.axis, other.length, other.mirrored

    def left(self, at: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Whether these voxels along the axis are on the left of the line."""
        return np.asarray(at > self.position if self.mirrored else at < self.position)

    def on_line(self, at: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Whether the line is drawn on these voxels along the axis; nowhere at the picture's edges."""
        if not 0 < self.place < 1:
            return np.zeros(np.shape(at), bool)
        half = max(1.0, self.length * LINE_SHARE) / 2
        return np.asarray((at - self.position > -half) & (at - self.position <= half))


class _Read:
    """What napari needs of an array that is read by its slices."""

    def __init__(self, shape: Sequence[int], dtype: Any) -> None:
        self.shape, self.dtype = tuple(int(n) for n in shape), np.dtype(dtype)
        self.ndim, self.size = len(self.shape), math.prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """The voxels of an index of integers and slices."""
        raise NotImplementedError

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:  # noqa: FBT001 (numpy's)
        return np.asarray(self[...], dtype or self.dtype)

    def _full(self, key: Any) -> tuple[Any, ...]:
        """An index with one entry for each axis."""
        parts = list(key) if isinstance(key, tuple) else [key]
        where = next((n for n, part in enumerate(parts) if part is Ellipsis), len(parts))
        rest = parts[where + 1 :]
        missing = self.ndim - where - len(rest)
        return (*parts[:where], *[slice(None)] * missing, *rest)


class PreviewPlane(_Read):
    """Labels that are 0 but for a preview.

    Parameters
    ----------
    shape, dtype
        Of the whole array.

    Attributes
    ----------
    found, place
        The preview, and the position of its slice in the array; None for nothing.
    """

    def __init__(self, shape: Sequence[int], dtype: Any) -> None:
        super().__init__(shape, dtype)
        self.found: Preview | None = None
        self.place: tuple[int, ...] = ()

    def __getitem__(self, key: Any) -> NDArray[Any]:
        *leading, rows, columns = self._full(key)
        empty: NDArray[Any] = np.broadcast_to(np.zeros((), self.dtype), self.shape)
        if self.found is None or not all(isinstance(at, int | np.integer) for at in leading):
            return np.asarray(empty[(*leading, rows, columns)])
        if tuple(map(int, leading)) != self.place:
            return np.asarray(empty[(*leading, rows, columns)])
        plane = np.zeros(self.shape[-2:], self.dtype)
        height, width = self.found.labels.shape
        top, left = self.found.top, self.found.left
        plane[top : top + height, left : left + width] = self.found.labels
        return np.asarray(plane[rows, columns])


class Divided(_Read):
    """One array on the left of a line, and another one on its right.

    Parameters
    ----------
    left, right
        Labels of one shape: numpy, dask, zarr or alike.
    divider
        The line; it may move.
    """

    def __init__(self, left: Any, right: Any, divider: Divider) -> None:
        super().__init__(left.shape, np.promote_types(left.dtype, right.dtype))
        self._left, self._right, self._divider = left, right, divider

    def __getitem__(self, key: Any) -> NDArray[Any]:
        key = self._full(key)
        left, right = (np.asarray(side[key]) for side in (self._left, self._right))
        at = _along(key, self._divider)
        return np.where(self._divider.left(at), left, right).astype(self.dtype, copy=False)


class DividingLine(_Read):
    """The line itself: 1 on it, 0 elsewhere.

    Parameters
    ----------
    shape
        Of the array that is divided.
    divider
        The line; it may move.
    """

    def __init__(self, shape: Sequence[int], divider: Divider) -> None:
        super().__init__(shape, np.uint8)
        self._divider = divider

    def __getitem__(self, key: Any) -> NDArray[Any]:
        key = self._full(key)
        size = np.broadcast_to(np.uint8(0), self.shape)[key].shape
        return np.broadcast_to(self._divider.on_line(_along(key, self._divider)), size).astype(np.uint8)


def _along(key: tuple[Any, ...], divider: Divider) -> NDArray[np.intp]:
    """Positions along the divider's axis of what `key` selects, to be broadcast to the selection."""
    at = np.arange(divider.length)[key[divider.axis]]
    after = sum(isinstance(part, slice) for part in key[divider.axis + 1 :])
    return np.reshape(at, (-1, *[1] * after)) if np.ndim(at) else np.asarray(at)
