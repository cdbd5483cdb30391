"""Units of length and of time, as files, napari and people spell them."""

import math
import string

from napari_salt.terms.errors import InputError

__all__ = ["LENGTHS", "MICROMETRES", "micrometres", "minutes_of", "parse_length", "parse_lengths"]

MICRO = "\u00b5\u03bc"
"""The micro sign and the Greek letter mu."""

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
"""Spelling in files: our unit, and its factor to that."""

MINUTES = {"s": 1 / 60, "sec": 1 / 60, "m": 1.0, "min": 1.0, "h": 60.0}
"""Minutes in one unit of time."""

MICROMETRES = {"nm": 1e-3, "um": 1.0, "mm": 1e3}
"""Micrometres in one of our units."""


def micrometres(unit: str | None) -> float | None:
    """Micrometres in one `unit`, or None if it is not a known unit of length."""
    ours, factor = LENGTHS.get(unit or "", ("", 1.0))
    return factor * MICROMETRES[ours] if ours else None


def parse_length(text: str) -> float:
    """Micrometres of a length such as 0.5, 250nm or 0.5 mm.

    Raises
    ------
    InputError
        If it is no number above 0, or has an unknown unit.
    """
    number, unit = _split(text)
    in_one = micrometres(unit or "um")
    if in_one is None:
        raise InputError(f"{text} has no unit such as nm, um, mm, cm or m")
    return _above_zero(number) * in_one


def parse_lengths(text: str) -> tuple[float, ...]:
    """Micrometres along y and x, or z, y and x, of one to three lengths; one counts for both y and x.

    Raises
    ------
    InputError
        If there are more, or one is no length (see `parse_length`).
    """
    lengths = tuple(map(parse_length, text.split(",")))
    if len(lengths) > 3:
        raise InputError(f"{text} has more than three lengths")
    return lengths * 2 if len(lengths) == 1 else lengths


def minutes_of(text: str) -> float:
    """Minutes of a time such as 5 (minutes), 90s, 5m, 5 min or 1.5h.

    Raises
    ------
    ValueError
        If it is no number, or has an unknown unit.
    """
    number, unit = _split(text)
    if unit and unit.lower() not in MINUTES:
        raise ValueError(f"{text} has no unit such as s, m or h")
    return float(number) * MINUTES.get(unit.lower(), 1.0)


def _split(text: str) -> tuple[str, str]:
    """The number and the unit of a text."""
    text = text.strip()
    number = text.rstrip(string.ascii_letters + MICRO)
    return number, text[len(number) :]


def _above_zero(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise InputError(f"{text} is not a number above 0")
    return value
