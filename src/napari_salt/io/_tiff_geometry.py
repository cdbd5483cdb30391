"""Voxel size and time step in a TIFF's metadata: read from OME and ImageJ files, written as OME."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import tifffile

from napari_salt.io._format import Layout
from napari_salt.io._units import Spacing, in_one_unit, positive
from napari_salt.terms.units import LENGTHS

__all__ = ["description", "spacing_of", "time_of"]

_OME_UNITS = {"nm": "nm", "um": "µm", "mm": "mm", None: "pixel"}
_TIMES = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), "second"),
    **dict.fromkeys(("ms", "msec", "millisecond"), "millisecond"),
    **dict.fromkeys(("min", "minute"), "minute"),
    **dict.fromkeys(("h", "hour"), "hour"),
}
_OME_TIMES = {"second": "s", "millisecond": "ms", "microsecond": "µs", "minute": "min", "hour": "h"}
_NO_UUID = "urn:uuid:00000000-0000-0000-0000-000000000000"


def spacing_of(tif: tifffile.TiffFile, n_slices: int, series: int = 0) -> tuple[Spacing | None, str | None]:
    """Give the voxel size (z, y, x) and its unit: "nm", "um" or "mm".

    Only OME and ImageJ files give the size of a voxel; the resolution of other TIFFs is meant for printing.
    In an OME file it is that of the image `series`. The spacing is None unless y and x are known. An unknown
    z is 1 for a single slice (`n_slices` is 1), else None. The unit is None if the file names no unit of
    length that we know.
    """
    if tif.is_ome and tif.ome_metadata:
        sizes = _ome_sizes(tif.ome_metadata, series)
    elif tif.is_imagej:
        sizes = _imagej_sizes(tif)
    else:
        return None, None
    (z, z_unit), (y, y_unit), (x, x_unit) = sizes
    if z is None and n_slices == 1:
        z, z_unit = 1.0, x_unit
    if y is None or x is None:
        return None, None
    return in_one_unit((z, y, x), (x_unit if z is None else z_unit, y_unit, x_unit))


def time_of(tif: tifffile.TiffFile, series: int = 0) -> tuple[float | None, str | None]:
    """Give the time from one time point to the next and its unit, such as "second"; None if not known."""
    if tif.is_ome and tif.ome_metadata:
        pixels = _ome_pixels(tif.ome_metadata, series)
        unit = _TIMES.get(str(pixels.get("TimeIncrementUnit", "s")))
        step = positive(pixels.get("TimeIncrement"))
    elif tif.is_imagej:
        metadata = tif.imagej_metadata or {}
        unit, step = _TIMES.get(str(metadata.get("tunit", "sec"))), positive(metadata.get("finterval"))
    else:
        return None, None
    return step, unit if step else None


def description(layout: Layout) -> bytes:
    """Give the image description, in UTF-8, of a file with one page per plane.

    It is OME-XML, or for float16, which OME lacks, JSON that tifffile understands. The same layout gives the
    same bytes: the file's UUID, which should be unique in OME, is the nil UUID.
    """
    metadata: dict[str, Any] = {}
    if layout.spacing is not None:
        for axis, size in zip("ZYX", layout.spacing, strict=True):
            if size is None:
                continue
            metadata[f"PhysicalSize{axis}"] = size
            metadata[f"PhysicalSize{axis}Unit"] = _OME_UNITS[layout.unit]
    if "T" in layout.axes and layout.time_step is not None:
        metadata["TimeIncrement"] = layout.time_step
        metadata["TimeIncrementUnit"] = _OME_TIMES.get(layout.time_unit or "", "s")
    if layout.channels:
        metadata["Channel"] = {"Name": list(layout.channels)}
    if layout.dtype == np.float16:
        return json.dumps({"axes": layout.axes, "shape": layout.shape, **metadata}).encode()
    height, width = layout.shape[-2:]
    ome = tifffile.OmeXml(UUID=_NO_UUID)
    stored = (layout.n_planes, 1, 1, height, width, 1)
    ome.addimage(layout.dtype, layout.shape, stored, axes=layout.axes, **metadata)
    return ome.tostring().encode()


_Size = tuple[float | None, str]


def _ome_pixels(xml: str, series: int) -> Mapping[str, Any]:
    """The metadata's Pixels element of an image; empty if there is none."""
    try:
        image = tifffile.xml2dict(xml)["OME"]["Image"]
        pixels: Mapping[str, Any] = (image[series] if isinstance(image, list) else image)["Pixels"]
    except (SyntaxError, LookupError, TypeError):  # XML that tifffile could not use either
        return {}
    return pixels


def _ome_sizes(xml: str, series: int) -> list[_Size]:
    pixels = _ome_pixels(xml, series)
    return [
        (positive(pixels.get(f"PhysicalSize{axis}")), pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        for axis in "ZYX"
    ]


def _imagej_sizes(tif: tifffile.TiffFile) -> list[_Size]:
    metadata = tif.imagej_metadata or {}
    unit = str(metadata.get("unit", ""))
    sizes = [positive(metadata.get("spacing", 1.0))]  # ImageJ leaves out a spacing of 1
    for name in ("YResolution", "XResolution"):
        pixels, length = tif.pages.first.tags.valueof(name, default=(0, 1))
        sizes.append(positive(length / pixels if pixels else None))
    if sizes == [1, 1, 1] and unit not in LENGTHS:  # what ImageJ writes when nothing is known
        sizes = [None, None, None]
    return [(size, unit) for size in sizes]
