"""Units of length, as files, napari and people spell them."""

__all__ = ["LENGTHS", "MICROMETRES", "micrometres"]

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

MICROMETRES = {"nm": 1e-3, "um": 1.0, "mm": 1e3}
"""Micrometres in one of our units."""


def micrometres(unit: str | None) -> float | None:
    """Micrometres in one `unit`, or None if it is not a known unit of length."""
    ours, factor = LENGTHS.get(unit or "", ("", 1.0))
    return factor * MICROMETRES[ours] if ours else None
