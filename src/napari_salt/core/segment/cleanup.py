"""What follows the model: averaging along the stack, and tidying of each slice's classes. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label

__all__ = ["are_neighbours", "cleaned", "smoothed"]

Classes = NDArray[np.integer]
Probabilities = NDArray[np.float32]

OUTSIDE = -1


def cleaned(classes: Classes, min_size: int = 0, *, fill_holes: bool = False) -> Classes:
    """Classes of a slice without small objects, then without holes.

    Parameters
    ----------
    classes
        Shape (Y, X), signed whole numbers, 0 is background.
    min_size
        Objects (8-connected pixels of one class) with fewer pixels become background.
    fill_holes
        Whether background that touches nothing but one class takes its value.

    Returns
    -------
    array
        Of the shape of `classes`.
    """
    if min_size > 1:
        classes = _without_small_objects(classes, min_size)
    return _without_holes(classes) if fill_holes else classes


def smoothed(
    slices: Iterable[tuple[int, Probabilities]], group: int | None = None
) -> Iterator[tuple[int, Probabilities]]:
    """Average each slice with its neighbours in the stack, weights 1:2:1.

    A missing neighbour has no weight. A slice is yielded once the next one has been read; at most
    three arrays are held at a time.

    Parameters
    ----------
    slices
        Position in the stack and probabilities (K + 1, Y, X), float32, in the order of the stack.
    group
        Slices ``0 .. group - 1``, ``group .. 2 * group - 1``, ... are not neighbours of each other.
    """
    last: tuple[int, Probabilities] | None = None
    for index, own in slices:
        if last is None:
            total, weight = 2 * own, 2
        elif are_neighbours(last[0], index, group):
            total += own
            total /= weight + 1
            yield last[0], total
            total, weight = 2 * own + last[1], 3
        else:
            total /= weight
            yield last[0], total
            total, weight = 2 * own, 2
        last = index, own
    if last is not None:
        total /= weight
        yield last[0], total


def are_neighbours(first: int, second: int, group: int | None) -> bool:
    """Whether the second slice follows the first, within a group of `group` slices (None: all)."""
    return second - first == 1 and (group is None or first // group == second // group)


def _without_small_objects(classes: Classes, min_size: int) -> Classes:
    objects = label(classes, background=0, connectivity=2)  # type: ignore[no-untyped-call]
    small = np.bincount(objects.ravel()) < min_size
    return np.where(small[objects], 0, classes)


def _without_holes(classes: Classes) -> Classes:
    """Give each 4-connected piece of background the one class that it touches; the outside counts as one."""
    pieces = label(classes == 0, connectivity=1)  # type: ignore[no-untyped-call]
    lowest = np.full(pieces.max() + 1, np.iinfo(np.int64).max)
    highest = np.full(len(lowest), OUTSIDE)
    around = np.pad(classes, 1, constant_values=OUTSIDE)
    for beside in (around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:]):
        edge = (pieces > 0) & (beside != 0)
        np.minimum.at(lowest, pieces[edge], beside[edge])
        np.maximum.at(highest, pieces[edge], beside[edge])
    value = np.where((lowest == highest) & (highest > 0), highest, 0)
    return np.where(pieces > 0, value[pieces], classes)
