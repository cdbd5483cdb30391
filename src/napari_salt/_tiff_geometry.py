"""The voxel size in a TIFF's metadata: read from OME and ImageJ files, written as OME."""

import json
from typing import Any

import numpy as np
import tifffile

from napari_salt._image import Layout
from napari_salt._units import LENGTHS, Spacing, in_one_unit, positive

__all__ = ["description", "spacing_of"]

_OME_UNITS = {"nm": "nm", "um": "µm", "mm": "mm", None: "pixel"}
_NO_UUID = "urn:uuid:00000000-0000-0000-0000-000000000000"


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
    return in_one_unit((z, y, x), (z_unit, y_unit, x_unit))


def description(layout: Layout) -> bytes:
    """Give the image description, in UTF-8, of a file with one page per plane.

    It is OME-XML, or for half floats, which OME does not have, the JSON that tifffile understands.
    The same layout gives the same bytes: the file's UUID, which OME wants to be unique, is nil.
    """
    metadata: dict[str, Any] = {}
    if layout.spacing is not None:
        for axis, size in zip("ZYX", layout.spacing, strict=True):
            metadata[f"PhysicalSize{axis}"] = size
            metadata[f"PhysicalSize{axis}Unit"] = _OME_UNITS[layout.unit]
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


def _ome_sizes(xml: str) -> list[_Size]:
    try:
        image = tifffile.xml2dict(xml)["OME"]["Image"]
        pixels = (image[0] if isinstance(image, list) else image)["Pixels"]
    except (SyntaxError, KeyError, TypeError):  # XML that tifffile could not use either
        return [(None, "")] * 3
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
