"""From classes to objects: separated in each slice, and linked from slice to slice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label
from skimage.segmentation import watershed

from napari_salt.core.paint.objects import BORDER, INSIDE
from napari_salt.terms.events import SliceResult

__all__ = ["linked", "separated"]

Objects = NDArray[np.int32]

SAME_OBJECT = 0.25
"""Overlap (intersection over union) from which objects of neighbouring slices are one, as in Cellpose."""
SPECK = 0.1
"""Seeds smaller than this share of the median seed are no objects of their own."""


def linked(
    results: Iterator[SliceResult], *, borders: bool, unrelated: bool = False, group: int | None = None
) -> Iterator[SliceResult]:
    """Give each slice's objects numbers, int32 from 1, that neighbouring slices share.

    Objects of two slices are one if they are of one class and overlap most, by a quarter of their union
    (`SAME_OBJECT`). Only the last slice is held in memory.

    Parameters
    ----------
    results
        Slices in the order of the stack, with classes as labels.
    borders
        Whether the probabilities are those of background, insides and borders (see `separated`).
    unrelated
        Whether slices have nothing to do with each other.
    group
        Number of slices of one time point; objects are not linked across time points.
    """
    used = 0
    last: tuple[int, Objects, NDArray[np.integer]] | None = None
    for result in results:
        objects = separated(result.labels, result.probabilities if borders else None)
        above = None
        if last is not None and not unrelated and _are_neighbours(last[0], result.index, group):
            above = last[1:]
        numbers, used = _numbers(objects, result.labels, above, used)
        objects = numbers[objects]
        last = result.index, objects, result.labels
        yield replace(result, labels=objects)


def separated(classes: NDArray[np.integer], probabilities: NDArray[np.float32] | None) -> Objects:
    """Objects of one slice, numbered from 1, int32.

    Connected pixels of one class (8 neighbours). With `probabilities` (3, Y, X) of background, insides and
    borders, insides are seeds from which a watershed on the probability of a border fills the classes:
    touching objects come apart. What has no seed is an object as well.
    """
    pieces: Objects = label(classes, background=0, connectivity=2).astype(np.int32)  # type: ignore[no-untyped-call]
    if probabilities is None or not pieces.any():
        return pieces
    inside = (probabilities.argmax(0) == INSIDE) & (pieces > 0)
    seeds = label(inside, connectivity=1)  # type: ignore[no-untyped-call]
    sizes = np.bincount(seeds.ravel())
    sizes[0] = 0
    if sizes.any():
        specks = sizes < SPECK * np.median(sizes[sizes > 0])
        # A speck counts where its piece has no other seed.
        main = np.unique(pieces[(seeds > 0) & ~specks[seeds]])
        seeds[specks[seeds] & np.isin(pieces, main)] = 0
    empty = np.setdiff1d(np.unique(pieces), np.unique(pieces[seeds > 0]))
    lonely = np.isin(pieces, empty) & (pieces > 0)
    seeds = np.where(lonely, pieces + seeds.max(), seeds)
    filled = watershed(probabilities[BORDER], seeds, mask=pieces > 0)  # type: ignore[no-untyped-call]
    numbers = np.zeros(int(filled.max()) + 1, np.int32)
    there = np.unique(filled[filled > 0])
    numbers[there] = np.arange(1, len(there) + 1)
    objects: Objects = numbers[filled]
    return objects


def _are_neighbours(first: int, second: int, group: int | None) -> bool:
    return second - first == 1 and (group is None or first // group == second // group)


def _numbers(
    objects: Objects,
    classes: NDArray[np.integer],
    above: tuple[Objects, NDArray[np.integer]] | None,
    used: int,
) -> tuple[Objects, int]:
    """The stack's number of each of a slice's objects, and how many are in use then."""
    count = int(objects.max())
    numbers = np.zeros(count + 1, np.int32)
    for number, other in _pairs(objects, classes, above):
        numbers[number] = other
    fresh = np.flatnonzero(numbers[1:] == 0) + 1
    numbers[fresh] = np.arange(used + 1, used + 1 + len(fresh))
    return numbers, used + len(fresh)


def _pairs(
    objects: Objects,
    classes: NDArray[np.integer],
    above: tuple[Objects, NDArray[np.integer]] | None,
) -> Iterator[tuple[int, int]]:
    """Objects that are one with an object of the slice above, the best overlaps first, each once."""
    if above is None:
        return
    theirs, their_classes = above
    both = (objects > 0) & (theirs > 0) & (classes == their_classes)
    pairs, overlaps = np.unique(np.stack([objects[both], theirs[both]]), axis=1, return_counts=True)
    sizes = np.bincount(objects.ravel())
    their_numbers, counts = np.unique(theirs, return_counts=True)
    their_sizes = dict(zip(their_numbers.tolist(), counts.tolist(), strict=True))
    unions = [sizes[a] + their_sizes[b] for a, b in pairs.T.tolist()] - overlaps
    shares = overlaps / unions
    taken: set[int] = set()
    given: set[int] = set()
    for position in np.argsort(-shares, kind="stable"):
        number, other = pairs[:, position].tolist()
        if shares[position] < SAME_OBJECT:
            return
        if number not in given and other not in taken:
            given.add(number)
            taken.add(other)
            yield number, other
