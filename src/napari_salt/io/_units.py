"""Voxel sizes in one unit of length, whatever the file calls it."""

import math
from collections.abc import Sequence

from napari_salt.terms.units import LENGTHS, MICROMETRES

__all__ = [
    "Place",
    "Spacing",
    "in_one_unit",
    "of_the_voxel",
    "position",
    "positive",
]

Spacing = tuple[float | None, float, float]
"""Voxel size (z, y, x); z is None where only y and x are known."""

Place = tuple[float, float, float]
"""Position (z, y, x) of the first voxel's centre."""


def in_one_unit(lengths: Spacing, units: Sequence[str]) -> tuple[Spacing, str | None]:
    """Give `lengths` in one unit: the common one if all agree, else "um".

    Parameters
    ----------
    lengths
        Along z, y, x.
    units
        Unit of each, as a file names it.

    Returns
    -------
    lengths, unit
        The unit is "nm", "um" or "mm"; or None, with `lengths` unchanged, if one of `units` is not known.
    """
    if not all(unit in LENGTHS for unit in units):
        return lengths, None
    ours, factors = zip(*(LENGTHS[unit] for unit in units), strict=True)
    unit = ours[0] if len(set(ours)) == 1 else "um"
    z, y, x = (f * (MICROMETRES[its] / MICROMETRES[unit]) for f, its in zip(factors, ours, strict=True))
    return (None if lengths[0] is None else lengths[0] * z, lengths[1] * y, lengths[2] * x), unit


def of_the_voxel(
    letters: str, sizes: Sequence[float], units: Sequence[str]
) -> tuple[Spacing | None, str | None]:
    """Give the voxel size (z, y, x) and its unit from a size and a unit for each axis of `letters`.

    Without a slice axis z is 1; z is None if only y and x have a unit. The spacing is None if a size is
    not positive, or if all are 1 and have no unit: that is what programs write when they know nothing.
    """
    found, ours = _in_space(letters, sizes, units, 1.0)
    if not all(map(positive, found)):
        return None, None
    if ours[0] not in LENGTHS and {*ours[1:]} <= set(LENGTHS):
        (_, y, x), unit = in_one_unit(found, [ours[1], *ours[1:]])
        return (None, y, x), unit
    spacing, unit = in_one_unit(found, ours)
    return (None, None) if spacing == (1, 1, 1) and unit is None else (spacing, unit)


def position(letters: str, places: Sequence[float], units: Sequence[str]) -> Place:
    """Give the position (z, y, x), in the unit of `of_the_voxel`, from one along each axis of `letters`."""
    z, y, x = in_one_unit(*_in_space(letters, places, units, 0.0))[0]
    return z or 0.0, y, x


def _in_space(
    letters: str, lengths: Sequence[float], units: Sequence[str], without_z: float
) -> tuple[Spacing, list[str]]:
    """Lengths along z, y, x, and their units."""
    known = dict(zip(letters.replace("N", "Z"), zip(lengths, units, strict=True), strict=True))
    known.setdefault("Z", (without_z, known["X"][1]))
    z, y, x = (known[axis][0] for axis in "ZYX")
    return (z, y, x), [known[axis][1] for axis in "ZYX"]


def positive(size: object) -> float | None:
    """Give `size` as a float if it is a positive, finite number, else None."""
    return float(size) if isinstance(size, int | float) and 0 < size < math.inf else None
