"""Parts of one slice and what they add up to, so that a stack is measured one slice at a time.

A part is a connected piece, or all pixels of one value, in one slice. Counts, sums, extremes and boxes of an
object follow from those of its parts, and two slices tell which parts touch. So memory holds two slices and
some numbers for each part, however large the stack; `skimage.measure.regionprops` needs the whole
labelled volume, and `dask-image` a second pass over the labels and one task for each object and measure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from skimage.measure import label
from skimage.segmentation import relabel_sequential

__all__ = ["Parts", "Sums", "links_between", "pieces", "values_of"]

Plane = NDArray[Any]
Numbers = NDArray[np.int64]
Reals = NDArray[np.float64]

SUMS = ("voxels", "sum_y", "sum_x", "sum_z", "lit", "light")
LOWEST = ("z_start", "y_start", "x_start", "darkest")
HIGHEST = ("z_stop", "y_stop", "x_stop", "brightest")


def pieces(plane: Plane) -> NDArray[np.integer]:
    """Number from 1 the connected pixels (8 neighbours) of one value, in the order of their first pixels.

    Parameters
    ----------
    plane
        Whole numbers, shape (Y, X), 0 is background.
    """
    found: NDArray[np.integer] = label(plane, background=0, connectivity=2)  # type: ignore[no-untyped-call]
    return found


def values_of(plane: Plane) -> NDArray[np.integer]:
    """Number from 1 the pixels of each value, smallest value first; 0 stays (shape (Y, X), from 0)."""
    found: NDArray[np.integer] = relabel_sequential(plane)[0]  # type: ignore[no-untyped-call]
    return found


@dataclass
class Parts:
    """The parts of all slices so far; number `n` of a slice is entry ``offset + n - 1`` of each column."""

    columns: dict[str, list[NDArray[Any]]] = field(default_factory=dict)
    links: list[Numbers] = field(default_factory=list)
    count: int = 0

    def add(self, ids: Plane, plane: Plane, image: Plane | None, z: int, frame: int) -> None:
        """Count the parts of a slice.

        Parameters
        ----------
        ids
            Their numbers from 1, shape (Y, X).
        plane
            Their values, shape (Y, X).
        image
            Intensities, shape (Y, X), or None.
        z, frame
            Of the slice: its place within its time point, and the time point.
        """
        found = _measured(ids, plane, image, z)
        size = len(found["voxels"])
        found["frame"] = np.full(size, frame)
        for name, values in found.items():
            self.columns.setdefault(name, []).append(values)
        self.count += size

    def column(self, name: str) -> NDArray[Any]:
        """The entries of all parts."""
        found = self.columns.get(name)
        return np.concatenate(found) if found else np.zeros(0, np.int64)

    def connected(self) -> Numbers:
        """Number of the object, from 0, that each part belongs to, by the links between slices."""
        links = np.concatenate(self.links) if self.links else np.zeros((0, 2), np.int64)
        graph = coo_array((np.ones(len(links), bool), links.T), shape=(self.count, self.count))
        return _in_order(connected_components(graph, directed=False)[1])

    def by_value(self, *, each_frame: bool) -> Numbers:
        """Number of the group, from 0, of all parts of the same value (of the same time point)."""
        keys = np.stack([self.column("frame") * each_frame, self.column("value")])
        groups: Numbers = np.unique(keys, axis=1, return_inverse=True)[1].reshape(-1)
        return groups


@dataclass(frozen=True)
class Sums:
    """What the parts of each group add up to.

    Parameters
    ----------
    parts
        Of all slices.
    groups
        Number of the group of each part, from 0 without gaps.
    """

    parts: Parts
    groups: Numbers

    def __len__(self) -> int:
        return int(self.groups.max(initial=-1)) + 1

    @property
    def has_light(self) -> bool:
        """Whether intensities are known."""
        return "light" in self.parts.columns

    @property
    def n_parts(self) -> Numbers:
        """Number of parts of each group."""
        return np.bincount(self.groups, minlength=len(self))

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Sum, lowest or highest of a column, or the value that the parts of a group share."""
        values = self.parts.column(name)
        if name in SUMS:
            total = np.bincount(self.groups, weights=values, minlength=len(self))
            return total.astype(values.dtype)
        start = {**dict.fromkeys(LOWEST, np.inf), **dict.fromkeys(HIGHEST, -np.inf)}.get(name, 0)
        result = np.full(len(self), start, np.float64)
        if name in LOWEST:
            np.minimum.at(result, self.groups, values)
        elif name in HIGHEST:
            np.maximum.at(result, self.groups, values)
        else:
            result[self.groups] = values
        return result if name in ("darkest", "brightest") else result.astype(np.int64)


def links_between(before: Plane, after: Plane, ids: tuple[Plane, Plane], offsets: tuple[int, int]) -> Numbers:
    """Link parts of two slices that hang together (26 neighbours), shape (n, 2): each with the first.

    Parameters
    ----------
    before, after
        Values of the slices, shape (Y, X).
    ids
        Numbers of their parts from 1, shape (Y, X).
    offsets
        Added to the numbers, less one.
    """
    whole = label(np.stack([before, after]), background=0, connectivity=3)  # type: ignore[no-untyped-call]
    pieces_of, parts = [], []
    for plane, numbers, offset in zip(whole, ids, offsets, strict=True):
        piece = np.zeros(int(numbers.max(initial=0)) + 1, np.int64)
        piece[numbers.ravel()] = plane.ravel()
        pieces_of.append(piece[1:])
        parts.append(np.arange(len(piece) - 1) + offset)
    every = np.concatenate(parts)
    _, first, inverse = np.unique(np.concatenate(pieces_of), return_index=True, return_inverse=True)
    links: Numbers = np.stack([every, every[first][inverse.reshape(-1)]], axis=1)
    return links


def _measured(ids: Plane, plane: Plane, image: Plane | None, z: int) -> dict[str, NDArray[Any]]:
    """The columns of the parts of one slice."""
    flat = np.flatnonzero(ids)
    part = ids.ravel()[flat].astype(np.int64) - 1
    size = int(part.max(initial=-1)) + 1
    rows, columns = np.divmod(flat, ids.shape[1])
    voxels = np.bincount(part, minlength=size)
    value = np.zeros(size, np.int64)
    value[part] = plane.ravel()[flat]
    boxes = [box or (slice(0), slice(0)) for box in ndimage.find_objects(ids)]
    edges = np.array([(y.start, y.stop, x.start, x.stop) for y, x in boxes], np.int64).reshape(-1, 4)
    found = {
        "value": value,
        "voxels": voxels,
        "sum_z": voxels * z,
        "sum_y": np.bincount(part, weights=rows, minlength=size),
        "sum_x": np.bincount(part, weights=columns, minlength=size),
        "z_start": np.full(size, z),
        "z_stop": np.full(size, z + 1),
        **dict(zip(("y_start", "y_stop", "x_start", "x_stop"), edges.T, strict=True)),
    }
    return found if image is None else found | _light(part, size, image.ravel()[flat])


def _light(part: Numbers, size: int, values: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Intensities of each part; NaN and infinite ones do not count."""
    values = values.astype(np.float64)
    known = np.isfinite(values)
    part, values = part[known], values[known]
    darkest, brightest = np.full(size, np.inf), np.full(size, -np.inf)
    np.minimum.at(darkest, part, values)
    np.maximum.at(brightest, part, values)
    return {
        "lit": np.bincount(part, minlength=size),
        "light": np.bincount(part, weights=values, minlength=size),
        "darkest": darkest,
        "brightest": brightest,
    }


def _in_order(components: NDArray[np.integer]) -> Numbers:
    """The same groups, numbered from 0 in the order of their first parts."""
    _, first, inverse = np.unique(components, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    ordered: Numbers = rank[inverse.reshape(-1)]
    return ordered
