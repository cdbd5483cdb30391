"""Voxel sizes in one unit of length, whatever the file calls it."""

import math
from collections.abc import Sequence

__all__ = ["LENGTHS", "Place", "Spacing", "in_one_unit", "of_the_voxel", "position", "positive"]

Spacing = tuple[float, float, float]
"""Voxel size (z, y, x)."""

Place = tuple[float, float, float]
"""Position (z, y, x) of the first voxel's centre."""

LENGTHS = {
    "nm": ("nm", 1.0),
    "nanometer": ("nm", 1.0),
    "Å": ("nm", 0.1),
    "angstrom": ("nm", 0.1),
    "um": ("um", 1.0),
    "µm": ("um", 1.0),  # micro sign
    "\u03bcm": ("um", 1.0),  # Greek mu
    "\\u00B5m": ("um", 1.0),  # as ImageJ escapes it
    "micron": ("um", 1.0),
    "microns": ("um", 1.0),
    "micrometer": ("um", 1.0),
    "mm": ("mm", 1.0),
    "millimeter": ("mm", 1.0),
    "cm": ("mm", 10.0),
    "centimeter": ("mm", 10.0),
    "m": ("mm", 1000.0),
    "meter": ("mm", 1000.0),
    "inch": ("mm", 25.4),
}
"""As files spell a unit: ours, and how many of it."""

_MICROMETRES = {"nm": 1e-3, "um": 1.0, "mm": 1e3}


def in_one_unit(lengths: Spacing, units: Sequence[str]) -> tuple[Spacing, str | None]:
    """Give `lengths` in one unit, "nm", "um" or "mm"; None and unchanged if one has no unit we know."""
    if not all(unit in LENGTHS for unit in units):
        return lengths, None
    ours, factors = zip(*(LENGTHS[unit] for unit in units), strict=True)
    z, y, x = (length * factor for length, factor in zip(lengths, factors, strict=True))
    if len(set(ours)) == 1:
        return (z, y, x), ours[0]
    z, y, x = (length * _MICROMETRES[unit] for length, unit in zip((z, y, x), ours, strict=True))
    return (z, y, x), "um"


def of_the_voxel(
    letters: str, sizes: Sequence[float], units: Sequence[str]
) -> tuple[Spacing | None, str | None]:
    """Give the voxel size (z, y, x) and its unit from a size and a unit for each axis.

    Without a slice axis z is 1. The spacing is None if a size is not positive, or if all are 1
    and have no unit: that is what programs write when they know nothing.
    """
    found, ours = _in_space(letters, sizes, units, 1.0)
    if not all(map(positive, found)):
        return None, None
    spacing, unit = in_one_unit(found, ours)
    return (None, None) if spacing == (1, 1, 1) and unit is None else (spacing, unit)


def position(letters: str, places: Sequence[float], units: Sequence[str]) -> Place:
    """Give the position (z, y, x), in the unit of `of_the_voxel`, from one for each axis."""
    return in_one_unit(*_in_space(letters, places, units, 0.0))[0]


def _in_space(
    letters: str, lengths: Sequence[float], units: Sequence[str], without_z: float
) -> tuple[Spacing, list[str]]:
    """Lengths along z, y, x, and their units."""
    known = dict(zip(letters.replace("N", "Z"), zip(lengths, units, strict=True), strict=True))
    known.setdefault("Z", (without_z, known["X"][1]))
    z, y, x = (known[axis][0] for axis in "ZYX")
    return (z, y, x), [known[axis][1] for axis in "ZYX"]


def positive(size: object) -> float | None:
    """Give `size` if it is a number that a length can be, else None."""
    return float(size) if isinstance(size, int | float) and 0 < size < math.inf else None
