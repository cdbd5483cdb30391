"""TIFF stacks, plain, ImageJ or OME, compressed or not: read page by page, written as OME-TIFF."""

from pathlib import Path
from typing import Any

import numpy.typing as npt
import tifffile
import zarr

from napari_salt._axes import axes_of_file, given_axes
from napari_salt._image import Layout, Opened, reading
from napari_salt._tiff_geometry import description, spacing_of
from napari_salt.core.errors import InputError

__all__ = ["TiffPlanes", "open_tiff"]

_CLASSIC_BYTES = 2**32 - 2**25  # with more than that, offsets need BigTIFF


def open_tiff(path: Path, axes: str | None) -> Opened:
    """Open the one image of a TIFF file.

    Raises
    ------
    InputError
        If the file is damaged, no TIFF, or its axes cannot be told.
    """
    with reading(path, "a TIFF file"):
        tif = tifffile.TiffFile(path)
        try:
            return _opened(tif, axes, path)
        except BaseException:
            tif.close()
            raise


class TiffPlanes:
    """An OME-TIFF written plane by plane, zlib-compressed; half floats make it a plain TIFF."""

    def __init__(self, path: Path, layout: Layout) -> None:
        self._tif = tifffile.TiffWriter(path, bigtiff=layout.n_bytes > _CLASSIC_BYTES)
        self._description: bytes | None = description(layout)

    def write(self, plane: npt.NDArray[Any]) -> None:
        """Write the next plane as a page."""
        self._tif.write(
            plane,
            photometric="minisblack",
            compression="zlib",
            description=self._description,
            metadata=None,
        )
        self._description = None

    def close(self) -> None:
        """Finish the file."""
        self._tif.close()


def _opened(tif: tifffile.TiffFile, axes: str | None, path: Path) -> Opened:
    series = _only_series(tif, path)
    n_unsqueezed = len(series.get_shape(squeeze=False))
    if axes is None:
        letters = axes_of_file(series.axes, series.shape, path)
    else:
        letters = given_axes(axes, series.axes, series.shape, path, n_unsqueezed=n_unsqueezed)
    squeeze = None if len(letters) == len(series.shape) else False
    array = zarr.open_array(series.aszarr(level=0, squeeze=squeeze), mode="r")
    sizes = dict(zip(letters, array.shape, strict=True))
    spacing, unit = spacing_of(tif, sizes.get("Z", 1) * sizes.get("N", 1))
    return Opened(array, letters, spacing, unit, close=tif.close)


def _only_series(tif: tifffile.TiffFile, path: Path) -> tifffile.TiffPageSeries:
    """Give the file's one image; smaller copies of it (thumbnails, pyramids) do not count."""
    tif.filehandle.seek(tif.pages.next_page_offset or 0)
    if tif.filehandle.read(tif.tiff.offsetsize) != bytes(tif.tiff.offsetsize):
        raise InputError(f"{path} is cut short: pages are missing; copy or export it again")
    images = [image for image in tif.series if not image.keyframe.is_reduced]
    if len(images) != 1:
        shapes = ", ".join("x".join(map(str, image.shape)) for image in images[:3])
        raise InputError(
            f"{path} holds {len(images)} images ({shapes}), not one stack: save one of them as TIFF"
        )
    return images[0]
