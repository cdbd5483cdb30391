"""TIFF stacks, plain, ImageJ or OME, compressed or not: read page by page, written as OME-TIFF."""

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy.typing as npt
import tifffile
import zarr

from napari_salt.io._axes import axes_of_file, given_axes
from napari_salt.io._format import Layout, Opened, reading
from napari_salt.io._series import chosen
from napari_salt.io._tiff_geometry import description, spacing_of, time_of
from napari_salt.terms.errors import InputError
from napari_salt.terms.text import printable

__all__ = ["TiffPlanes", "fault_of", "is_tiff", "open_tiff"]

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_INCOMPLETE = re.compile(
    r"\w+ series (is missing|failed to read|contains index out of range).*"
    r"|MMStack (series )?is missing.*"
    r"|series metadata invalid or corrupted file"
    r"|file incompletely written.*"
    r"|NDTiff.index not found.*"
)
"""What tifffile logs when a part of a file is missing."""

_CLASSIC_BYTES = 2**32 - 2**25  # above that, offsets need BigTIFF


class IncompleteError(InputError):
    """Parts of a file are missing."""


def open_tiff(path: Path, axes: str | None, *, labels: bool = False, series: str | None = None) -> Opened:
    """Open the one image of a TIFF file, or one of several.

    Parameters
    ----------
    path
        The file.
    axes
        One letter per axis, as in `read_stack`; None: the file's own.
    labels
        Whether it holds labels: then three or four planes, which tifffile takes for colours, are slices.
    series
        Which of several images is meant (see `chosen`).

    Raises
    ------
    InputError
        If the file is damaged or incomplete, holds several images, or its axes are ambiguous.
    """
    with reading(path, "a TIFF file"), _heard() as complaints:
        tif = tifffile.TiffFile(path)
        try:
            _check_names(tif, path)
            number = _which(tif, series, path)
            opened = _opened(tif, number, axes, path, labels=labels)
            _check_complete(path, complaints)
        except BaseException:
            tif.close()
            raise
    return opened


def fault_of(path: Path) -> str:
    """What is missing of a TIFF file, which other readers fill with zeros, or ""; no pixels are read.

    Nor is anything said of a file that cannot be read at all.
    """
    try:
        with reading(path, "a TIFF file"), _heard() as complaints, tifffile.TiffFile(path) as tif:
            _check_names(tif, path)
            if tif.series:  # finding them makes it complain
                _check_complete(path, complaints)
    except IncompleteError as fault:
        return str(fault)
    except InputError:
        pass
    return ""


@contextmanager
def _heard() -> Iterator[list[str]]:
    """Collect what tifffile logs: it replaces missing parts by zeros and only logs that."""
    complaints: list[str] = []
    logger = logging.getLogger("tifffile")
    level, handler, propagate = logger.level, logging.Handler(logging.WARNING), logger.propagate
    handler.emit = lambda record: complaints.append(record.getMessage())  # type: ignore[method-assign]
    logger.setLevel(logging.WARNING)
    logger.propagate = False  # what matters becomes our error
    logger.addHandler(handler)
    try:
        yield complaints
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


def _check_complete(path: Path, complaints: Sequence[str]) -> None:
    for complaint in complaints:
        found = _INCOMPLETE.search(complaint)
        if found:
            raise IncompleteError(
                f"{path} is cut short or not complete ({found[0]}): copy or export it again"
            )


def is_tiff(path: Path) -> bool:
    """Whether the file begins like a TIFF, or cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(4) in _MAGIC
    except OSError:
        return True  # opening it then reports why it cannot be read


class TiffPlanes:
    """An OME-TIFF written plane by plane, zlib-compressed; a plain TIFF for float16, which OME lacks."""

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


def _opened(tif: tifffile.TiffFile, number: int, axes: str | None, path: Path, *, labels: bool) -> Opened:
    series = tif.series[number]
    if axes is None and labels and series.axes == "SYX":
        axes = "ZYX"
    n_unsqueezed = len(series.get_shape(squeeze=False))
    if axes is None:
        letters = axes_of_file(series.axes, series.shape, path)
    else:
        letters = given_axes(axes, series.axes, series.shape, path, n_unsqueezed=n_unsqueezed)
    squeeze = None if len(letters) == len(series.shape) else False
    array = zarr.open_array(series.aszarr(level=0, squeeze=squeeze), mode="r")
    sizes = dict(zip(letters, array.shape, strict=True))
    spacing, unit = spacing_of(tif, sizes.get("Z", 1) * sizes.get("N", 1), number)
    step, time_unit = time_of(tif, number)
    return Opened(array, letters, spacing, unit, close=tif.close, time_step=step, time_unit=time_unit)


def _check_names(tif: tifffile.TiffFile, path: Path) -> None:
    """Refuse a file whose metadata name parts of it elsewhere than beside it: tifffile would open them."""
    names = _named_parts(tif.ome_metadata or "")
    if tif.is_ndtiff:
        names |= {str(entry[1]) for entry in tifffile.read_ndtiff_index(path.with_name("NDTiff.index"))}
    for name in names:
        if re.search(r"[/\\:]", name) or name == "..":
            raise InputError(
                f"{path} names {printable(name)!r} as a part of it; paths in files are not followed: put all "
                "parts into one folder and export them again"
            )


def _named_parts(ome: str) -> set[str]:
    """Names of files in OME metadata; of metadata that are damaged, also what may be one.

    They are parsed as tifffile will parse them; expat limits what entities grow to since version 2.4.1.
    """
    try:
        root = ET.fromstring(ome)  # noqa: S314 # nosec B314
        found = {element.attrib.get("FileName", "") for element in root.iter()}
    except ET.ParseError:
        found = {name.replace("&", "/") for name in re.findall(r"""FileName\s*=\s*["']([^"'>]*)""", ome)}
    return found


def _which(tif: tifffile.TiffFile, series: str | None, path: Path) -> int:
    """Number of the image that is meant; smaller copies of one (thumbnails, pyramids) do not count."""
    tif.filehandle.seek(tif.pages.next_page_offset or 0)
    if tif.filehandle.read(tif.tiff.offsetsize) != bytes(tif.tiff.offsetsize):
        raise InputError(f"{path} is cut short: pages are missing; copy or export it again")
    images = [number for number, image in enumerate(tif.series) if not image.keyframe.is_reduced]
    names = [_name(tif.series[number]) for number in images]
    return images[chosen(series, names, path, "images")]


def _name(series: tifffile.TiffPageSeries) -> str:
    shape = "x".join(map(str, series.shape))
    return f"{series.name} {shape}" if series.name and not series.name.isdecimal() else shape
