"""Painted objects, each with a number of its own, as two classes: their insides and their borders."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_salt.core.paint.annotations import IGNORE, PaintedSlice, Target
from napari_salt.terms.errors import InputError

__all__ = ["BORDER", "INSIDE", "as_one_class", "check_sizes", "inside_and_border"]

INSIDE, BORDER = 1, 2
"""Class numbers, and label values, of objects without their borders, and of their borders."""

LEAST_AREA = 4
BORDER_SHARE = 0.2
"""Width of a border as a share of the diameter of its object."""


def inside_and_border(
    plane: NDArray[np.int64], background: int = 0, *, unpainted_is_background: bool = True
) -> Target:
    """Target of a slice of objects, as the classes `INSIDE` and `BORDER`.

    A border is what lies near another object or background: within a fifth of the object's diameter (of
    the circle with its area), and at least within one pixel. An object that would be nothing but border is
    inside as a whole.

    Parameters
    ----------
    plane
        Number of the object at each pixel, int64, shape (Y, X).
    background
        Number that is background.
    unpainted_is_background
        Whether 0 is background, too; else it is unknown.

    Returns
    -------
    array
        int16, shape (Y, X): 0, `INSIDE`, `BORDER` or `IGNORE`.
    """
    known = np.ones(plane.shape, bool) if unpainted_is_background else plane != 0
    target = np.where(known, 0, IGNORE).astype(np.int16)
    numbers, dense = np.unique(plane, return_inverse=True)
    places = ndimage.find_objects(dense.reshape(plane.shape) + 1)
    for number, place in zip(numbers, places, strict=True):
        if number in (0, background):
            continue
        box = tuple(slice(max(0, side.start - 1), side.stop + 1) for side in place)
        own = plane[box] == number
        inside = own & (_distance(known[box] & ~own) > _border_width(int(np.count_nonzero(own))))
        target[box][own] = BORDER if inside.any() else INSIDE
        target[box][inside] = INSIDE
    return target


def check_sizes(planes: Iterable[NDArray[np.int64]], background: int = 0) -> None:
    """Refuse what looks like grey values.

    Parameters
    ----------
    planes
        Numbers of objects, (Y, X); 0 and `background` are none.

    Raises
    ------
    InputError
        If the median object has fewer than 4 pixels.
    """
    areas: list[int] = []
    for plane in planes:
        numbers, counts = np.unique(plane, return_counts=True)
        areas += counts[(numbers != 0) & (numbers != background)].tolist()
    if areas and np.median(areas) < LEAST_AREA:
        raise InputError(
            f"half of the {len(areas)} objects have no more than {int(np.median(areas))} pixels: these look "
            "like grey values; check that image and labels are not swapped"
        )


def _border_width(area: int) -> float:
    """Width of the border of an object of so many pixels."""
    return max(1.0, BORDER_SHARE * 2 * math.sqrt(area / math.pi))


def _distance(there: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Of each pixel to the nearest that is `there`; infinite if none is."""
    if not there.any():
        return np.full(there.shape, np.inf)
    distance: NDArray[np.float64] = ndimage.distance_transform_edt(~there)
    return distance


def as_one_class(slices: Sequence[PaintedSlice]) -> tuple[PaintedSlice, ...]:
    """The same paint with the borders as part of the insides."""
    return tuple(
        replace(painted, target=np.where(painted.target == BORDER, INSIDE, painted.target).astype(np.int16))
        for painted in slices
    )
