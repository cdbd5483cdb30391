"""Tables of the classes and of the objects of a segmentation, counted one slice at a time."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_salt.results.columns import Frame, class_table, object_table
from napari_salt.results.kinds import BY, By
from napari_salt.results.parts import Parts, Sums, links_between, pieces, values_of
from napari_salt.results.sizes import VoxelSize, voxel_size
from napari_salt.results.table import Measured, Table
from napari_salt.terms.errors import InputError
from napari_salt.terms.stack import StackLike, as_stack

__all__ = ["measure", "measure_events"]


def measure(
    labels: StackLike,
    image: StackLike | None = None,
    *,
    by: By = "classes",
    pixel_size: float | Sequence[float] | None = None,
    unit: str = "um",
    class_names: Mapping[int, str] | None = None,
    independent: bool = False,
    group: int | None = None,
    to_world: ArrayLike | None = None,
) -> Table:
    """Measure the classes or the objects of a segmentation, reading a slice at a time.

    Parameters
    ----------
    labels
        Whole numbers from 0 (background), shape (Z, Y, X), or (Y, X) for one image.
    image
        Intensities, shape of `labels`, or with a last axis of 3 for colour, whose mean is taken; NaN does not
        count. None: no intensities in the table.
    by
        "classes": one row for each label value. "objects": one row for each object; objects are connected
        voxels of one class (26 neighbours in a volume, 8 in an image). "numbers": one row for each label
        value, which is the number of an object, as ``segment --objects`` writes them.
    pixel_size
        Size of a voxel (z, y, x) in `unit`; for images (y, x), or one number if they are the same. None: not
        known; the table has voxels only.
    unit
        Of `pixel_size`, such as "um", "nm" or "mm". The table is in mm if it is "mm" or larger, else in um.
    class_names
        Name of each class by label value; classes that are named and do not occur have a row, too.
    independent
        Whether slices are unrelated images: no object extends over several, and they have areas.
    group
        Number of slices of one time point, where several follow each other; None: all.
    to_world
        Matrix (4, 4) from (z, y, x, 1) in voxels to (z, y, x, 1) in the world, in the table's unit. None: the
        first voxel lies at 0.

    Returns
    -------
    Table
        See ``docs/results.md`` for its columns.

    Raises
    ------
    InputError
        If labels are no whole numbers from 0, the image has another shape, or `pixel_size` does not fit.
    """
    for event in measure_events(
        labels,
        image,
        by=by,
        pixel_size=pixel_size,
        unit=unit,
        class_names=class_names,
        independent=independent,
        group=group,
        to_world=to_world,
    ):
        if event.table is not None:
            return event.table
    raise AssertionError  # the last event has a table


def measure_events(
    labels: StackLike,
    image: StackLike | None = None,
    *,
    by: By = "classes",
    pixel_size: float | Sequence[float] | None = None,
    unit: str = "um",
    class_names: Mapping[int, str] | None = None,
    independent: bool = False,
    group: int | None = None,
    to_world: ArrayLike | None = None,
    numbered: bool = False,
) -> Generator[Measured]:
    """Measure as `measure` does, and tell after each slice; with `numbered`, give each slice's objects, too.

    For the other parameters and errors see `measure`.

    Parameters
    ----------
    numbered
        With ``by="objects"``: after the table, give each slice with the numbers of its objects.

    Yields
    ------
    Measured
        One for each slice, one with the table, and one for each numbered slice.
    """
    labels, image = _checked(labels, image)
    flat = len(labels.shape) == 2 or independent
    if by not in BY:
        raise InputError(f"by is {by!r}; give one of {', '.join(BY)}")
    size = voxel_size(pixel_size, unit, flat=flat)
    job = _Job(labels, image, by, size, dict(class_names or {}), 1 if flat else group, to_world)
    yield from job.events(numbered=numbered and by == "objects")


@dataclass(frozen=True)
class _Job:
    """What is measured; `group` 1 means unrelated images."""

    labels: Any
    image: Any
    by: By
    size: VoxelSize
    names: dict[int, str]
    group: int | None
    to_world: Any

    def events(self, *, numbered: bool) -> Iterator[Measured]:
        steps = self.n_slices * (2 if numbered else 1)
        parts = Parts()
        for index in self._counted(parts):
            yield Measured((index + 1) / steps)
        groups = self._groups(parts)
        yield Measured(self.n_slices / steps, self._table(Sums(parts, groups)))
        for index, numbers in self._numbered(groups) if numbered else ():
            yield Measured((self.n_slices + index + 1) / steps, index=index, numbers=numbers)

    @property
    def n_slices(self) -> int:
        return 1 if len(self.labels.shape) == 2 else int(self.labels.shape[0])

    def _counted(self, parts: Parts) -> Iterator[int]:
        """Count the parts of each slice; give its index when that is done."""
        before: tuple[Any, Any, int] = (None, None, 0)
        for index in range(self.n_slices):
            frame, z = divmod(index, self.group or self.n_slices)
            plane = _whole(self._slice(self.labels, index), index)
            light = None if self.image is None else _grey(self._slice(self.image, index))
            ids = pieces(plane) if self.by == "objects" else values_of(plane)
            offset = parts.count
            parts.add(ids, plane, light, z, frame)
            if self.by == "objects" and z > 0:
                parts.links.append(links_between(before[0], plane, (before[1], ids), (before[2], offset)))
            before = plane, ids, offset
            yield index

    def _slice(self, stack: Any, index: int) -> NDArray[Any]:
        return np.asarray(stack if len(self.labels.shape) == 2 else stack[index])

    def _groups(self, parts: Parts) -> NDArray[np.int64]:
        """The row of the table that each part belongs to."""
        if self.by == "objects":
            return parts.connected()
        images = self.size.flat and self.by == "classes"  # all of them together have a row
        return parts.by_value(each_frame=not images)

    def _table(self, sums: Sums) -> Table:
        frames = self.n_slices // (self.group or self.n_slices)
        frame = Frame(tuple(self.labels.shape), frames, self.size, self.names, self.to_world)
        if self.by == "classes":
            return class_table(sums, frame)
        return object_table(sums, frame, of_classes=self.by == "objects")

    def _numbered(self, groups: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int32]]]:
        """Each slice with the numbers of its objects; its parts have the same order again."""
        start = 0
        for index in range(self.n_slices):
            ids = pieces(_whole(self._slice(self.labels, index), index))
            here = groups[start : start + int(ids.max(initial=0))]
            start += len(here)
            yield index, np.append(0, here + 1).astype(np.int32)[ids]


def _checked(labels: Any, image: Any) -> tuple[StackLike, StackLike | None]:
    labels = as_stack(labels, "labels")
    shape = tuple(labels.shape)
    if len(shape) not in (2, 3) or 0 in shape:
        raise InputError(f"the labels have shape {shape}; give (Z, Y, X), or (Y, X) for one image")
    if np.dtype(labels.dtype).kind not in "bui":
        raise InputError(f"the labels have dtype {labels.dtype}; give whole numbers from 0")
    if image is None:
        return labels, None
    image = as_stack(image, "image")
    if tuple(image.shape) not in (shape, (*shape, 3)):
        raise InputError(
            f"the image has shape {tuple(image.shape)}, the labels {shape}; give those of one image"
        )
    return labels, image


def _whole(plane: NDArray[Any], index: int) -> NDArray[Any]:
    """Labels of a slice, unsigned or not, without negative ones."""
    if plane.dtype.kind == "b":
        return plane.astype(np.uint8)
    lowest = int(plane.min(initial=0))
    if lowest < 0:
        raise InputError(f"slice {index} has the label value {lowest}; labels are whole numbers from 0")
    return plane


def _grey(plane: NDArray[Any]) -> NDArray[Any]:
    return plane.mean(axis=-1) if plane.ndim == 3 else plane
