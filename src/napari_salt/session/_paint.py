"""What is painted where: counted once, then kept up to date slice by slice. No Qt."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray

from napari_salt.session._flat_stack import FlatStack, PaintSnapshot
from napari_salt.session._guard import Connections, Reports
from napari_salt.session._image_source import ImageSource
from napari_salt.terms.config import Unpainted
from napari_salt.terms.errors import InputError
from napari_salt.terms.paint_checks import Lines, lines_of, painted_across

__all__ = ["PaintTable", "PaintWatch", "Pair"]

MAX_COUNTED_VALUE = 65_535


class PaintTable:
    """Painted pixels by slice and label value.

    Parameters
    ----------
    labels
        Whole numbers, (Z, Y, X); 0 is unpainted.

    Attributes
    ----------
    stale
        Slices that may have changed since they were counted; at first all.
    """

    def __init__(self, labels: FlatStack) -> None:
        self._labels = labels
        self._counts: dict[int, dict[int, int]] = {}
        self._lines: dict[int, Lines] = {}
        self.stale: set[int] = set(range(len(labels)))

    def count(self, first: int = 0, seconds: float = math.inf) -> bool:
        """Count stale slices, nearest to `first` first, for about `seconds`; True if a count changed."""
        end = time.monotonic() + seconds
        changed = False
        for index in sorted(self.stale, key=lambda i: abs(i - first)):
            changed |= self._count(index)
            self.stale.discard(index)
            if time.monotonic() > end:
                break
        return changed

    def _count(self, index: int) -> bool:
        plane = self._labels[index]
        counts = dict(_counts(plane))
        before = self._counts.pop(index, {})
        self._lines.pop(index, None)
        if counts:
            self._counts[index] = counts
            self._lines[index] = lines_of(plane)
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

    def pixels_on(self, index: int, value: int) -> int:
        """Pixels of slice `index` painted with `value`."""
        return self._counts.get(index, {}).get(value, 0)

    def pixels(self, value: int) -> int:
        """Pixels painted with `value`."""
        return sum(self.pixels_on(index, value) for index in self._counts)

    def slices_of(self, value: int) -> tuple[int, ...]:
        """Slices on which `value` is painted, in order."""
        return tuple(index for index in self.slices if value in self._counts[index])

    @property
    def across(self) -> str:
        """Place of paint that runs across the slices, or ""; see `painted_across`."""
        return painted_across(self._lines)

    def planes_of(self, axis: str) -> tuple[int, ...]:
        """Planes across the slices, y or x, with all of the paint: their places, in order."""
        return tuple(
            sorted({place for lines in self._lines.values() for name, place in lines if name == axis})
        )

    @property
    def counts(self) -> dict[int, dict[int, int]]:
        """Pixels by slice and label value, as far as counted: a copy, to compare with later."""
        return {index: dict(counts) for index, counts in self._counts.items()}

    def snapshot(self, marks: Mapping[int, Unpainted] | None = None) -> PaintSnapshot:
        """Copy the painted slices as they are now, and those that `marks` say are complete."""
        empty = [index for index, meaning in (marks or {}).items() if meaning == "background"]
        planes = {index: self._labels[index].copy() for index in sorted({*self.slices, *empty})}
        return PaintSnapshot(self._labels.shape, planes, marks)


@dataclass(frozen=True, eq=False)
class Pair:
    """An image and the labels layer with its paint."""

    source: ImageSource
    labels: Labels

    @property
    def name(self) -> str:
        """Both layers' names."""
        return f"{self.labels.name} on {self.source.layer.name}"

    def snapshot(self, marks: Mapping[int, Unpainted] | None = None) -> PaintSnapshot:
        """Copy the painted slices as they are now, with `marks` (see `PaintTable.snapshot`).

        Raises
        ------
        InputError
            If the labels do not fit the image any more, or there is no paint.
        """
        table = PaintTable(self.source.labels_stack(self.labels))
        table.count()
        if not table.slices:
            raise InputError(f"nothing is painted on {self.name}; paint there, or drop the pair")
        return table.snapshot(marks)


class PaintWatch:
    """Follows the edits of a labels layer and counts the slices that they may have changed.

    napari says that a layer has been edited, but not where. An edit stays on the shown slice, unless the view
    or `n_edit_dimensions` let it reach further; an undo changes slices that were edited before.

    Parameters
    ----------
    viewer
        A napari viewer (model).
    source, labels
        The image, and labels that fit it.
    touched
        Called when there is something to `count`.
    reports
        Shows what its callbacks raise.

    Attributes
    ----------
    table
        What is painted, as far as it has been counted.
    """

    def __init__(
        self,
        viewer: Any,
        source: ImageSource,
        labels: Labels,
        touched: Callable[[], None],
        reports: Reports | None = None,
    ) -> None:
        self._viewer, self._source, self._labels, self._touched = viewer, source, labels, touched
        self.table = PaintTable(source.labels_stack(labels))
        self._edited: set[int] = set()
        self._ended = self._found = False
        self._view = self._current_view()
        self._connections = Connections(reports)
        self._connections.add(self._on_stroke, labels.events.paint)
        self._connections.add(self._on_edit, labels.events.labels_update)
        self._connections.add(self._on_drawn, labels.events.set_data)

    def close(self) -> None:
        """Disconnect from the layer."""
        self._connections.cut()

    @property
    def current(self) -> int:
        """The slice that the viewer shows."""
        return self._source.current_slice(self._viewer.dims.point)

    def count(self, seconds: float = math.inf) -> bool:
        """Count slices that may have changed, the shown one first, for about `seconds`; True if one has."""
        changed = self.table.count(self.current, seconds)
        self._found |= changed
        if self.table.stale:
            self._touched()
        elif self._ended:
            found, self._ended, self._found = self._found, False, False
            if not found:  # an edit on other slices, such as by a script
                self.mark(range(len(self.table)))
                return self.count(seconds) or changed
        return changed

    def count_all(self) -> bool:
        """Count every slice, since writing into the layer's array emits no event; True if one has changed."""
        self.table.stale.update(range(len(self.table)))
        return self.table.count()

    def mark(self, indices: Iterable[int]) -> None:
        """Count these slices anew, now and at each undo."""
        indices = set(indices)
        self._edited |= indices
        self.table.stale |= indices

    def _on_edit(self) -> None:
        """A brush is moving; its stroke goes on."""
        self.mark(self._source.slices_in_reach(self._labels, self._viewer.dims))
        self._touched()

    def _on_stroke(self) -> None:
        """An edit is complete: one step of the undo history."""
        self._ended = True
        self._on_edit()

    def _on_drawn(self) -> None:
        """The layer is drawn again: the view has moved, or else an undo has changed edited slices."""
        before, self._view = self._view, self._current_view()
        self.table.stale.add(self.current)
        if before == self._view:
            self.table.stale |= self._edited
            self._ended = True
        self._touched()

    def _current_view(self) -> tuple[Any, ...]:
        dims = self._viewer.dims
        return tuple(dims.point), tuple(dims.order), dims.ndisplay


def _counts(plane: NDArray[Any]) -> Iterator[tuple[int, int]]:
    """Pairs of label value and number of pixels, without 0."""
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
