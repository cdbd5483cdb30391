"""Painted objects, each with a number of its own, as two classes: their insides and their borders."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import disk

from napari_salt.core.paint.annotations import IGNORE, PaintedSlice, Target
from napari_salt.terms.errors import InputError

__all__ = [
    "BORDER",
    "INSIDE",
    "areas_of",
    "as_one_class",
    "border_width",
    "inside_and_border",
    "smallest_area",
]

INSIDE, BORDER = 1, 2
"""Class numbers, and label values, of objects without their borders, and of their borders."""

LEAST_AREA = 4
BORDER_SHARE = 0.2
"""Width of a border as a share of the objects' diameter."""
SMALL, SHARE_OF_SMALL = 0.1, 0.5
"""Objects are kept from this share of the area that so many of the painted objects do not exceed.

Average precision at IoU 0.5 on fluorescence nuclei (dsb2018): 0.795 instead of 0.771; 0.794 instead of 0.752
with three times as many steps. No other one on noisy nuclei (stardist) and plant ovule nuclei, both in 3D."""


def areas_of(planes: Iterable[NDArray[np.int64]], background: int = 0) -> list[int]:
    """Area in pixels of each object on each plane.

    Parameters
    ----------
    planes
        Numbers of objects, (Y, X); 0 and `background` are none.
    background
        Number that is background.
    """
    areas: list[int] = []
    for plane in planes:
        numbers, counts = np.unique(plane, return_counts=True)
        areas += counts[(numbers != 0) & (numbers != background)].tolist()
    return areas


def smallest_area(areas: Sequence[int]) -> float:
    """Area in pixels below which what is found is hardly an object, by painted ones; 0 without any."""
    return SHARE_OF_SMALL * float(np.quantile(areas, SMALL)) if areas else 0.0


def border_width(areas: Sequence[int]) -> int:
    """Width of objects' borders in pixels, at least 1: a share of the objects' median diameter.

    Raises
    ------
    InputError
        If the median object has fewer than 4 pixels.
    """
    if areas and np.median(areas) < LEAST_AREA:
        raise InputError(
            f"half of the {len(areas)} objects have no more than {int(np.median(areas))} pixels: these look "
            "like grey values; check that image and labels are not swapped"
        )
    diameter = 2 * np.sqrt(np.median(areas) / np.pi) if areas else 0.0
    return max(1, round(BORDER_SHARE * float(diameter)))


def inside_and_border(
    plane: NDArray[np.int64], width: int, background: int = 0, *, unpainted_is_background: bool = True
) -> Target:
    """Target of a slice of objects, as the classes `INSIDE` and `BORDER`.

    A border is what lies within `width` pixels of another object or of background. An object that would
    be nothing but border is inside as a whole.

    Parameters
    ----------
    plane
        Number of the object at each pixel, int64, shape (Y, X).
    width
        Width of the borders in pixels.
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
    near = disk(width)  # type: ignore[no-untyped-call]
    lowest = ndimage.minimum_filter(np.where(known, plane, plane.max() + 1), footprint=near, mode="nearest")
    highest = ndimage.maximum_filter(np.where(known, plane, -1), footprint=near, mode="nearest")
    objects = known & (plane != background) & (plane != 0)
    inside = objects & (lowest == plane) & (highest == plane)
    target = np.where(known, 0, IGNORE).astype(np.int16)
    target[objects] = BORDER
    target[inside] = INSIDE
    thin = np.setdiff1d(plane[objects], plane[inside])
    target[np.isin(plane, thin) & objects] = INSIDE
    return target


def as_one_class(slices: Sequence[PaintedSlice]) -> tuple[PaintedSlice, ...]:
    """The same paint with the borders as part of the insides."""
    return tuple(
        replace(painted, target=np.where(painted.target == BORDER, INSIDE, painted.target).astype(np.int16))
        for painted in slices
    )
