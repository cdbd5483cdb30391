"""Checks for paint that is a mistake: on a plane across the slices, or with object numbers as classes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_salt.terms.errors import InputError

__all__ = ["MOST_CLASSES", "Lines", "check_class_count", "lines_of", "painted_across"]

Lines = frozenset[tuple[str, int]]
"""Axis ("y" or "x") and position of the lines, one pixel wide, on which all paint of a slice lies."""

NEIGHBOURS = 3
"""Number of neighbouring slices with the same line that count as a plane."""


def lines_of(plane: NDArray[Any]) -> Lines:
    """Lines one pixel wide that hold all paint of a slice (Y, X); none if some paint is wider.

    Single pixels do not count as lines, because centrelines are painted so.
    """
    painted = plane != 0
    found: set[tuple[str, int]] = set()
    for axis, name in ((1, "y"), (0, "x")):
        places = np.flatnonzero(painted.any(axis=axis))
        if (np.diff(places) > 1).all() and np.count_nonzero(painted) > places.size:
            found |= {(name, int(place)) for place in places}
    return frozenset(found)


def painted_across(lines: Mapping[int, Lines]) -> str:
    """Plane across the slices on which most of them are painted, such as "x = 12"; "" if there is none.

    Parameters
    ----------
    lines
        `lines_of` each painted slice, by position in the stack.
    """
    if 2 * sum(map(bool, lines.values())) <= len(lines):
        return ""
    for index in lines:
        common = frozenset.intersection(*(lines.get(index + i, frozenset()) for i in range(NEIGHBOURS)))
        if common:
            axis, place = min(common)
            return f"{axis} = {place}"
    return ""


MOST_CLASSES = 32
"""Most new classes in one training; more label values are likely numbers of objects, or grey values."""


def check_class_count(values: Collection[int]) -> None:
    """Refuse label values that are too many for classes.

    The limit is on their number alone: organs and atlas regions are single connected pieces, too, so
    shape does not distinguish them from objects.

    Raises
    ------
    InputError
        If there are more than `MOST_CLASSES`.
    """
    if len(values) > MOST_CLASSES:
        raise InputError(
            f"the labels hold {len(values)} different values or more, and each would become a class (at most "
            f"{MOST_CLASSES}); they look like numbers of objects, as Cellpose and StarDist write them, or "
            "like an image: say that they are objects (--painted objects), or give all objects of one class "
            "the same value, such as labels > 0, and check that image and labels are not swapped"
        )
