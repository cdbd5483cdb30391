"""The voxel size in a TIFF's metadata: read from OME and ImageJ files, written as OME."""

import math
from collections.abc import Sequence
from typing import Any

import numpy.typing as npt
import tifffile

__all__ = ["Spacing", "ome_description", "spacing_of"]

Spacing = tuple[float, float, float]
"""Voxel size (z, y, x)."""

_LENGTHS = {  # as files spell it: our unit, and how many of it
    "nm": ("nm", 1.0),
    "Å": ("nm", 0.1),
    "um": ("um", 1.0),
    "µm": ("um", 1.0),  # micro sign
    "\u03bcm": ("um", 1.0),  # Greek mu
    "\\u00B5m": ("um", 1.0),  # as ImageJ escapes it
    "micron": ("um", 1.0),
    "microns": ("um", 1.0),
    "mm": ("mm", 1.0),
    "cm": ("mm", 10.0),
    "m": ("mm", 1000.0),
    "inch": ("mm", 25.4),
}
_MICROMETRES = {"nm": 1e-3, "um": 1.0, "mm": 1e3}
_OME_UNITS = {"nm": "nm", "um": "µm", "mm": "mm", None: "pixel"}


def spacing_of(tif: tifffile.TiffFile, n_slices: int) -> tuple[Spacing | None, str | None]:
    """Give the voxel size (z, y, x) and its unit: "nm", "um" or "mm".

    Only OME and ImageJ files say how large a voxel is; the resolution of other TIFFs is one of
    print. The spacing is None unless all three sizes are known, where a single slice has z = 1;
    the unit is None if the sizes have no unit of length that we know.
    """
    if tif.is_ome and tif.ome_metadata:
        sizes = _ome_sizes(tif.ome_metadata)
    elif tif.is_imagej:
        sizes = _imagej_sizes(tif)
    else:
        return None, None
    (z, z_unit), (y, y_unit), (x, x_unit) = sizes
    if z is None and n_slices == 1:
        z, z_unit = 1.0, x_unit
    if z is None or y is None or x is None:
        return None, None
    return _in_one_unit((z, y, x), (z_unit, y_unit, x_unit))


def ome_description(
    shape: tuple[int, int, int],
    dtype: npt.DTypeLike,
    spacing: Spacing | None,
    unit: str | None,
) -> bytes:
    """Give the OME-XML, in UTF-8, of a grey stack of one page per slice.

    Parameters
    ----------
    shape
        (Z, Y, X).
    dtype
        Of the pixels.
    spacing, unit
        Voxel size (z, y, x), and "nm", "um", "mm" or None; None for a spacing leaves them out.
    """
    metadata: dict[str, Any] = {}
    if spacing is not None:
        for axis, size in zip("ZYX", spacing, strict=True):
            metadata[f"PhysicalSize{axis}"] = size
            metadata[f"PhysicalSize{axis}Unit"] = _OME_UNITS[unit]
    n_slices, height, width = shape
    ome = tifffile.OmeXml()
    ome.addimage(dtype, shape, (n_slices, 1, 1, height, width, 1), axes="ZYX", **metadata)
    return ome.tostring().encode()


_Size = tuple[float | None, str]


def _ome_sizes(xml: str) -> list[_Size]:
    try:
        image = tifffile.xml2dict(xml)["OME"]["Image"]
        pixels = (image[0] if isinstance(image, list) else image)["Pixels"]
    except (SyntaxError, KeyError, TypeError):  # XML that tifffile could not use either
        return [(None, "")] * 3
    return [
        (_positive(pixels.get(f"PhysicalSize{axis}")), pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        for axis in "ZYX"
    ]


def _imagej_sizes(tif: tifffile.TiffFile) -> list[_Size]:
    metadata = tif.imagej_metadata or {}
    unit = str(metadata.get("unit", ""))
    sizes = [_positive(metadata.get("spacing", 1.0))]  # ImageJ leaves out a spacing of 1
    for name in ("YResolution", "XResolution"):
        pixels, length = tif.pages.first.tags.valueof(name, default=(0, 1))
        sizes.append(_positive(length / pixels if pixels else None))
    if sizes == [1, 1, 1] and unit not in _LENGTHS:  # what ImageJ writes when nothing is known
        sizes = [None, None, None]
    return [(size, unit) for size in sizes]


def _positive(size: object) -> float | None:
    return float(size) if isinstance(size, int | float) and 0 < size < math.inf else None


def _in_one_unit(sizes: Spacing, units: Sequence[str]) -> tuple[Spacing, str | None]:
    if not all(unit in _LENGTHS for unit in units):
        return sizes, None
    ours, factors = zip(*(_LENGTHS[unit] for unit in units), strict=True)
    z, y, x = (size * factor for size, factor in zip(sizes, factors, strict=True))
    if len(set(ours)) == 1:
        return (z, y, x), ours[0]
    z, y, x = (size * _MICROMETRES[unit] for size, unit in zip((z, y, x), ours, strict=True))
    return (z, y, x), "um"
