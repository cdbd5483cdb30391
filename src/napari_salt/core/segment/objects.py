"""From classes to numbered objects, in the whole volume or in overlapping blocks of a large one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import label
from skimage.segmentation import watershed

from napari_salt.core.devices import check_room
from napari_salt.core.paint.dividing import depths, one_more, summits
from napari_salt.core.paint.objects import INSIDE
from napari_salt.core.segment.cleanup import are_neighbours
from napari_salt.core.segment.pieces import Pieces
from napari_salt.terms.card import DIVIDED
from napari_salt.terms.events import SliceResult

__all__ = ["block_length", "check_voxels", "numbered", "separated"]

Objects = NDArray[np.int32]

SPECK = 0.02
"""Objects smaller than this share of the size-weighted mean size are removed."""
BYTES_PER_VOXEL = 110
"""Memory that dividing one large object takes at once."""
BLOCK_VOXELS, LEAST_SLICES = 2**25, 8
"""Larger volumes are numbered in blocks: always of this size, so that the result depends on no computer."""


@dataclass(frozen=True)
class _Seen:
    """What is kept of a slice: 2 bytes a pixel."""

    index: int
    foreground: NDArray[np.bool_]
    inside: NDArray[np.uint8]


def block_length(plane_voxels: int) -> int:
    """Number of slices, of so many voxels each, that are numbered at once."""
    return max(LEAST_SLICES, BLOCK_VOXELS // plane_voxels)


def check_voxels(voxels: int) -> None:
    """Refuse what cannot be numbered at once in the free memory.

    Raises
    ------
    InputError
        If `voxels` take more than the free memory.
    """
    check_room(
        voxels * BYTES_PER_VOXEL,
        f"numbering the objects of {voxels / 1e6:.0f} million voxels",
        "close other programs, or leave the objects unseparated",
    )


def numbered(
    results: Iterator[SliceResult],
    *,
    borders: bool,
    divided: float = DIVIDED,
    smallest: float = 0.0,
    unrelated: bool = False,
    group: int | None = None,
) -> Iterator[SliceResult]:
    """Yield each slice as it comes, with `final` False, and again with objects' numbers once they are known.

    Objects are those of a volume of neighbouring slices, int32, from 1: with borders those of `separated`,
    else connected pieces of a class (see `Pieces`). With borders, a volume of more than `block_length` slices
    is numbered in blocks that overlap by a quarter. Objects of two blocks that share most of each other there
    are one; half of the overlap is taken from each.

    Parameters
    ----------
    results
        Slices in the order of the stack, with classes as labels.
    borders
        Whether the probabilities are those of background, insides and borders.
    divided, smallest
        See `separated`.
    unrelated
        Whether slices are unrelated images, each a volume of its own.
    group
        Number of slices of one time point; no object extends over several.
    """
    run = _Blocks(divided, smallest) if borders else Pieces()
    last = None
    for result in results:
        if result.done is not None:  # progress only
            yield result
            continue
        if last is not None and (unrelated or not are_neighbours(last, result.index, group)):
            yield from run.ended()
        yield replace(result, final=False)
        yield from run.add(result)
        last = result.index
    yield from run.ended()


@dataclass
class _Blocks:
    """Neighbouring slices that wait for numbers.

    Parameters
    ----------
    divided, smallest
        See `separated`.
    waiting
        The first `told` of them have got theirs already.
    before
        The numbers that the block before has found in the first of these slices.
    used
        The highest number so far.
    """

    divided: float
    smallest: float
    waiting: list[_Seen] = field(default_factory=list)
    told: int = 0
    before: Objects | None = None
    used: int = 0

    def add(self, result: SliceResult) -> Iterator[SliceResult]:
        """Take a slice; give numbers to a block, but for its end, once it is there."""
        inside = np.rint(255 * result.probabilities[INSIDE]).astype(np.uint8)
        self.waiting.append(_Seen(result.index, result.labels > 0, inside))
        length = block_length(inside.size)
        if len(self.waiting) < length:
            return
        shared = length // 4
        objects = self._found()
        yield from self._results(objects, length - shared // 2)
        self.waiting, self.before = self.waiting[-shared:], objects[-shared:].copy()
        self.told = shared - shared // 2

    def ended(self) -> Iterator[SliceResult]:
        """Give numbers to all that wait; what comes next is another volume."""
        if len(self.waiting) > self.told:
            yield from self._results(self._found(), len(self.waiting))
        self.waiting, self.told, self.before = [], 0, None

    def _found(self) -> Objects:
        foreground, inside = (
            np.stack([getattr(seen, name) for seen in self.waiting]) for name in ("foreground", "inside")
        )
        objects = separated(foreground, inside, self.divided, self.smallest)
        objects = _renamed(objects, _same(objects, self.before), self.used)
        self.used = max(self.used, int(objects.max()))
        return objects

    def _results(self, objects: Objects, end: int) -> Iterator[SliceResult]:
        for seen, plane in list(zip(self.waiting, objects, strict=True))[self.told : end]:
            yield SliceResult(seen.index, plane, np.empty((0, *plane.shape), np.float32), 0)


def separated(
    foreground: NDArray[np.bool_],
    inside: NDArray[np.uint8],
    divided: float = DIVIDED,
    smallest: float = 0.0,
) -> Objects:
    """Objects of a volume, numbered from 1, int32, shape (Z, Y, X).

    What is connected by faces (6 neighbours) comes apart at waists: each summit of
    `core.paint.dividing.depths` is an object, from which a watershed goes down. Specks are removed (see
    `SPECK`).

    Parameters
    ----------
    foreground
        What belongs to any object, shape (Z, Y, X).
    inside
        Probability of an object without its border, 0 to 255, shape (Z, Y, X).
    divided
        How deep a waist must be.
    smallest
        Objects that have fewer pixels in the slice in which they have most are removed as well.
    """
    joined: Objects = label(foreground, connectivity=1).astype(np.int32)  # type: ignore[no-untyped-call]
    objects, used = np.zeros_like(joined), 0
    for number, place in enumerate(ndimage.find_objects(joined), start=1):
        box = one_more(place)
        own = joined[box] == number
        depth = depths(own, inside[box].astype(np.float32) / 255)
        parts = watershed(-depth, summits(depth, own, divided), mask=own)  # type: ignore[no-untyped-call]
        objects[box][own] = parts[own] + used
        used += int(parts.max())
    return _without_specks(objects, smallest)


def _same(objects: Objects, before: Objects | None) -> dict[int, int]:
    """The object of the block before that each object is; both share most voxels with each other."""
    if before is None:
        return {}
    shared = objects[: len(before)]
    both = (shared > 0) & (before > 0)
    pairs, counts = np.unique(np.stack([shared[both], before[both]]), axis=1, return_counts=True)
    best: tuple[dict[int, int], dict[int, int]] = ({}, {})
    for place in np.argsort(counts, kind="stable"):  # the largest comes last, and stays
        new, old = pairs[:, place].tolist()
        best[0][new], best[1][old] = old, new
    return {new: old for new, old in best[0].items() if best[1][old] == new}


def _renamed(objects: Objects, same: dict[int, int], used: int) -> Objects:
    """Objects with the numbers of those that they are the `same` as, or new ones above `used`."""
    there = np.unique(objects[objects > 0]).tolist()
    fresh = (number for number in there if number not in same)
    names = same | {number: used + place for place, number in enumerate(fresh, start=1)}
    numbers = np.zeros(int(objects.max()) + 1, np.int32)
    numbers[list(names)] = list(names.values())
    found: Objects = numbers[objects]
    return found


def _without_specks(objects: Objects, smallest: float) -> Objects:
    sizes = np.zeros(int(objects.max()) + 1, int)
    largest = np.zeros_like(sizes)
    for plane in objects:
        areas = np.bincount(plane.ravel(), minlength=len(sizes))
        sizes, largest = sizes + areas, np.maximum(largest, areas)
    sizes[0] = 0
    if not sizes.any():
        return objects
    typical = (sizes.astype(float) ** 2).sum() / sizes.sum()
    specks = (sizes < SPECK * typical) | (largest < smallest)
    return _renamed(np.where(specks[objects], 0, objects), {}, 0)
