"""What is painted where: counted once, then kept up to date slice by slice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_salt._flat_stack import FlatStack, PaintSnapshot

__all__ = ["PaintTable"]

MAX_COUNTED_VALUE = 65_535


class PaintTable:
    """Painted pixels by slice and label value.

    Parameters
    ----------
    labels
        Shape (Z, Y, X).
    """

    def __init__(self, labels: FlatStack) -> None:
        self._labels = labels
        self._counts: dict[int, dict[int, int]] = {}

    @classmethod
    def counted(cls, labels: FlatStack) -> PaintTable:
        """Count every slice."""
        table = cls(labels)
        for index in range(len(labels)):
            table.recount(index)
        return table

    def recount(self, index: int) -> bool:
        """Count slice `index` anew; say whether anything changed."""
        counts = dict(_counts(self._labels[index]))
        before = self._counts.pop(index, {})
        if counts:
            self._counts[index] = counts
        return counts != before

    def __len__(self) -> int:
        return len(self._labels)

    @property
    def slices(self) -> tuple[int, ...]:
        """Slices with paint, in order."""
        return tuple(sorted(self._counts))

    @property
    def values(self) -> tuple[int, ...]:
        """Label values that are painted somewhere, in order."""
        return tuple(sorted({value for counts in self._counts.values() for value in counts}))

    def pixels(self, value: int) -> int:
        """Pixels painted with `value`."""
        return sum(counts.get(value, 0) for counts in self._counts.values())

    def slices_of(self, value: int) -> tuple[int, ...]:
        """Slices on which `value` is painted, in order."""
        return tuple(index for index in self.slices if value in self._counts[index])

    def of_slice(self, index: int) -> Mapping[int, int]:
        """Pixels by label value on slice `index`."""
        return self._counts.get(index, {})

    def snapshot(self) -> PaintSnapshot:
        """Copy the painted slices as they are now."""
        planes = {index: self._labels[index].copy() for index in self.slices}
        return PaintSnapshot(self._labels.shape, planes)


def _counts(plane: NDArray[Any]) -> Iterator[tuple[int, int]]:
    """Label value and number of pixels, of all values but 0."""
    top = int(plane.max(initial=0))
    if 0 < top <= MAX_COUNTED_VALUE and int(plane.min()) >= 0:
        numbers = np.bincount(plane.ravel())
        values = np.flatnonzero(numbers)
        numbers = numbers[values]
    else:
        values, numbers = np.unique(plane, return_counts=True)
    for value, number in zip(values.tolist(), numbers.tolist(), strict=True):
        if value:
            yield value, number
