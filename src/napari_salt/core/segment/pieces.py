"""Connected pieces of a stack's classes, slice by slice, so that no volume is in memory."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from skimage.measure import label

from napari_salt.terms.events import SliceResult

__all__ = ["Pieces"]

Numbers = NDArray[np.int32]


@dataclass
class Pieces:
    """Pieces of neighbouring slices: voxels of one class that touch, by corners as well (26 neighbours).

    Each slice is labelled by itself and kept compressed; which labels are of one piece is known at the end.

    Parameters
    ----------
    used
        The highest number so far.
    """

    used: int = 0
    _kept: list[tuple[int, tuple[int, int], bytes]] = field(default_factory=list)
    _touching: list[Numbers] = field(default_factory=list)
    _last: tuple[NDArray[np.integer], Numbers] | None = None
    _labels: int = 0

    def add(self, result: SliceResult) -> Iterator[SliceResult]:
        """Take the classes of a slice; nothing is known yet."""
        classes = result.labels
        own = label(classes, background=0, connectivity=2).astype(np.int32)  # type: ignore[no-untyped-call]
        own[own > 0] += self._labels
        self._labels = max(self._labels, int(own.max()))
        if self._last is not None:
            self._touching.append(_pairs(*self._last, classes, own))
        self._last = classes, own
        self._kept.append((result.index, own.shape, zlib.compress(own.tobytes(), 1)))
        yield from ()

    def ended(self) -> Iterator[SliceResult]:
        """Give numbers to all slices; what comes next is another volume."""
        numbers = self._numbers()
        for index, shape, content in self._kept:
            own = np.frombuffer(zlib.decompress(content), np.int32).reshape(shape)
            yield SliceResult(index, numbers[own], np.empty((0, *shape), np.float32), 0)
        self.used = max(self.used, int(numbers.max()))
        self._kept, self._touching, self._last, self._labels = [], [], None, 0

    def _numbers(self) -> Numbers:
        """The number of each label's piece, in the order in which pieces begin; 0 stays 0."""
        pairs = np.concatenate([*self._touching, np.empty((2, 0), np.int32)], axis=1)
        size = self._labels + 1
        graph = coo_array((np.ones(pairs.shape[1], bool), (pairs[0], pairs[1])), (size, size))
        _, piece = connected_components(graph, directed=False)
        _, first, place = np.unique(piece, return_index=True, return_inverse=True)
        order = np.argsort(np.argsort(first))
        numbers: Numbers = np.where(np.arange(size) > 0, order[place] + self.used, 0).astype(np.int32)
        return numbers


def _pairs(
    before: NDArray[np.integer], labels: Numbers, classes: NDArray[np.integer], own: Numbers
) -> Numbers:
    """Labels of one class that touch from slice to slice, each pair once, shape (2, N)."""
    found = []
    for down, right in np.ndindex(3, 3):
        (low, high), (left, other) = (
            _shifted(by - 1, length) for by, length in zip((down, right), own.shape, strict=True)
        )
        same = (classes[low, left] == before[high, other]) & (own[low, left] > 0)
        found.append(np.unique(np.stack([labels[high, other][same], own[low, left][same]]), axis=1))
    pairs: Numbers = np.unique(np.concatenate(found, axis=1), axis=1)
    return pairs


def _shifted(by: int, length: int) -> tuple[slice, slice]:
    """Ranges of an axis that lie on each other if one of them is moved by -1, 0 or 1."""
    return slice(max(0, by), length + min(0, by)), slice(max(0, -by), length + min(0, -by))
