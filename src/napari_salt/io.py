"""Read image and label stacks slice by slice, with their geometry; write labels the same way.

Only TIFF so far. A stack on disk is a lazy array of one chunk per slice: taking a slice reads that
slice and no other. Everything that a user can put right is an `InputError` of one line.
"""

import contextlib
import os
import struct
import uuid
import weakref
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import dask.array as da
import numpy as np
import numpy.typing as npt
import tifffile
import zarr

from napari_salt._axes import axes_of_file, check_axes, given_axes, normalised
from napari_salt._tiff_geometry import Spacing, ome_description, spacing_of
from napari_salt.core.errors import InputError

__all__ = ["LabelWriter", "Stack", "read_labels", "read_stack", "write_labels"]

_LABEL_TYPES = ("uint8", "uint16", "uint32", "int32")
_CLASSIC_TIFF_BYTES = 2**32 - 2**25  # with more than that, offsets need BigTIFF
_DAMAGE = (  # what tifffile and the decoders raise on damaged files
    ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError,
    ValueError, struct.error, zlib.error,
)  # fmt: skip


@dataclass(frozen=True)
class Stack:
    """A stack of slices, read lazily.

    Parameters
    ----------
    data
        (Z, Y, X), or (Z, Y, X, 3) if `rgb`, of the file's type; one chunk per slice.
    rgb
        Whether the slices are colour images; an alpha channel has been dropped.
    spacing
        Voxel size (z, y, x) in `unit`, None where the file does not say. A single slice may have
        a z of 1 for want of a better.
    unit
        "nm", "um" or "mm"; None if the file gives no unit of length.
    axes
        Axis letters of the file's array, as the caller or the file gives them.
    was_2d
        Whether the file has one image and no slice axis.
    source
        The file.
    """

    data: da.Array
    rgb: bool
    spacing: Spacing | None
    unit: str | None
    axes: str
    was_2d: bool
    source: Path


def read_stack(path: str | Path, *, axes: str | None = None, channel: int | None = None) -> Stack:
    """Open an image stack; a slice is read when it is taken from `Stack.data` and computed.

    Parameters
    ----------
    path
        A TIFF file: plain, ImageJ or OME, compressed or not; bool, integers or floats.
    axes
        One letter per axis: Z slices, N independent images, Y, X, C channels, T time, S colour.
        None trusts the file: 2D grey is one slice, 3D grey a stack, a last axis of 3 or 4 samples
        is colour.
    channel
        Which channel (0-based) of axis C to take; needed if there are several.

    Raises
    ------
    InputError
        If the file is missing, damaged, no TIFF, or its axes cannot be told. Computing a slice
        raises it too, if the file is damaged there.
    """
    path = Path(path)
    _check_source(path)
    with _reading(path), contextlib.ExitStack() as on_error:
        tif = on_error.enter_context(tifffile.TiffFile(path))
        series = _only_series(tif, path)
        letters = given_axes(axes, series, path) if axes else axes_of_file(series, path)
        pages = _Pages(series, letters, path)
        check_axes(dict(zip(letters, pages.shape, strict=True)), channel, path)
        data, was_2d = normalised(pages.lazy(), letters, channel or 0)
        spacing, unit = spacing_of(tif, len(data))
        weakref.finalize(pages, tif.close)
        on_error.pop_all()
    return Stack(data, data.ndim == 4, spacing, unit, letters, was_2d, path)


def read_labels(path: str | Path, *, axes: str | None = None) -> Stack:
    """Open a label stack: as `read_stack`, of whole numbers from 0.

    Bool becomes uint8 and whole-numbered floats become int32; other types stay as they are.

    Raises
    ------
    InputError
        As `read_stack`, and if the file is in colour. Computing a slice raises it too, if the slice
        has negative or fractional values.
    """
    stack = read_stack(path, axes=axes)
    if stack.rgb:
        raise InputError(
            f"{path} is a colour image (axes {stack.axes}), not labels: save one whole number per "
            "pixel, 0 for background"
        )
    dtype = {"b": np.dtype(np.uint8), "f": np.dtype(np.int32)}.get(stack.data.dtype.kind, stack.data.dtype)
    data: da.Array = da.map_blocks(
        _checked_labels, stack.data, dtype, path, dtype=dtype, meta=np.empty((0, 0, 0), dtype)
    )
    return replace(stack, data=data)


class LabelWriter:
    """Write a label stack slice by slice into a TIFF, which appears when all is written.

    A context manager. The slices go to a temporary file in the same folder, which takes the place
    of `path` at the end, or is removed if the block ends by an exception. The file is OME-TIFF,
    zlib-compressed, with the spacing and unit of the image.

    Parameters
    ----------
    path
        Where to write: a .tif or .tiff file, in a folder that exists.
    like
        The image that the labels belong to: gives (Y, X), spacing and unit.
    n_slices
        How many slices will be written.
    dtype
        uint8, uint16, uint32 or int32.

    Raises
    ------
    InputError
        If the file cannot be written; the constructor and ``with`` find that out before any work.
    """

    def __init__(self, path: str | Path, like: Stack, n_slices: int, dtype: npt.DTypeLike) -> None:
        self._path = Path(path)
        _check_target(self._path, like.source)
        self._shape = (n_slices, *like.data.shape[1:3])
        self._dtype = np.dtype(dtype)
        if n_slices < 1 or self._dtype.name not in _LABEL_TYPES:
            raise ValueError(f"cannot write {n_slices} slices of {self._dtype}: {_LABEL_TYPES}")
        self._description = ome_description(self._shape, self._dtype, like.spacing, like.unit)
        self._temporary = self._path.with_name(f".{self._path.name}.{uuid.uuid4().hex[:8]}.part")
        self._written = 0

    def __enter__(self) -> Self:
        n_bytes = int(np.prod(self._shape, dtype=np.int64)) * self._dtype.itemsize
        with _writing(self._path):
            self._tiff = tifffile.TiffWriter(self._temporary, bigtiff=n_bytes > _CLASSIC_TIFF_BYTES)
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            with _writing(self._path):
                self._tiff.close()
                if error_type is None:
                    self._commit()
        finally:
            self._temporary.unlink(missing_ok=True)

    def write(self, index: int, labels: npt.NDArray[Any]) -> None:
        """Write the labels, (Y, X), of the next slice; `index` runs from 0 without gaps.

        Raises
        ------
        InputError
            If the disk refuses.
        ValueError
            If the slice is not the next one, or does not fit the stack's shape or type.
        """
        if index != self._written or index >= self._shape[0]:
            raise ValueError(f"slice {index} of {self._shape[0]} comes after {self._written}")
        values = labels.astype(self._dtype)
        if values.shape != self._shape[1:] or not np.array_equal(values, labels):
            raise ValueError(f"labels {labels.shape} {labels.dtype} do not fit {self._shape[1:]}")
        with _writing(self._path):
            self._tiff.write(
                values,
                photometric="minisblack",
                compression="zlib",
                description=None if index else self._description,
                metadata=None,
            )
        self._written += 1

    def fill(self, stop: int | None = None) -> None:
        """Write background into the slices not written yet, up to `stop` (by default all)."""
        for index in range(self._written, self._shape[0] if stop is None else stop):
            self.write(index, np.zeros(self._shape[1:], self._dtype))

    def _commit(self) -> None:
        if self._written < self._shape[0]:
            raise ValueError(f"only {self._written} of {self._shape[0]} slices were written")
        self._temporary.replace(self._path)


def write_labels(path: str | Path, labels: npt.NDArray[Any] | da.Array, like: Stack) -> None:
    """Write labels, (Z, Y, X) of uint8, uint16, uint32 or int32, as `LabelWriter` does.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    with LabelWriter(path, like, len(labels), labels.dtype) as writer:
        for index in range(len(labels)):
            writer.write(index, np.asarray(labels[index]))


class _Pages:
    """A TIFF's array for dask: each access reads the pages it needs, and names what it cannot read.

    Parameters
    ----------
    series
        Of an open file.
    letters
        One per axis; more than `series.axes` if they count axes of length 1.
    """

    def __init__(self, series: tifffile.TiffPageSeries, letters: str, path: Path) -> None:
        squeeze = None if len(letters) == len(series.shape) else False
        self._array = zarr.open_array(series.aszarr(level=0, squeeze=squeeze), mode="r")
        self._letters = letters
        self._path = path
        self.shape = self._array.shape
        self.ndim = self._array.ndim
        self.dtype = np.dtype(self._array.dtype)
        if self.dtype.kind not in "buif":
            raise InputError(f"{path} has values of type {self.dtype}: save integers or floats")

    def lazy(self) -> da.Array:
        """Give a lazy array of one chunk per slice."""
        chunks = tuple(-1 if letter in "YXS" else 1 for letter in self._letters)
        array: da.Array = da.from_array(self, chunks=chunks, name=False, meta=np.empty(0, self.dtype))
        return array

    def __getitem__(self, key: tuple[slice, ...]) -> npt.NDArray[Any]:
        try:
            return np.asarray(self._array[key])
        except (OSError, *_DAMAGE) as error:
            places = zip(self._letters, key, strict=True)
            place = "".join(f" {axis}={at.start}" for axis, at in places if axis not in "YXS")
            raise InputError(
                f"{self._path}: the slice{place} cannot be read ({_one_line(error)}); the file is "
                "cut short or damaged: copy or export it again"
            ) from error


def _check_source(path: Path) -> None:
    if not path.exists():
        raise InputError(f"{path} does not exist: check the path")
    if path.name.lower().endswith((".zarr", ".nii", ".nii.gz")):
        raise InputError(f"{path}: OME-Zarr and NIfTI are not supported yet; save as TIFF")
    if path.is_dir():
        raise InputError(f"{path} is a folder: name one TIFF file")


def _check_target(path: Path, source: Path) -> None:
    if path.suffix.lower() not in (".tif", ".tiff"):
        raise InputError(f"{path}: only TIFF can be written yet; let the name end with .tif")
    if not path.parent.is_dir():
        raise InputError(f"the folder {path.parent} does not exist: create it first")
    if path.is_dir():
        raise InputError(f"{path} is a folder: name a file")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"the folder {path.parent} cannot be written to: choose another")
    if path.exists() and source.exists() and path.samefile(source):
        raise InputError(f"{path} is the input image: write to another file")


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or _one_line(error)}") from error
    except _DAMAGE as error:
        raise InputError(
            f"{path} is not a TIFF file, or is damaged ({_one_line(error)}): save the image as TIFF"
        ) from error


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or _one_line(error)}") from error


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


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


def _checked_labels(
    block: npt.NDArray[Any], dtype: np.dtype[Any], source: Path, block_id: tuple[int, ...]
) -> npt.NDArray[Any]:
    """Give one slice's labels as `dtype`, if all values are whole and not negative."""
    kind = block.dtype.kind
    wrong = np.zeros(0)
    if kind == "f":
        wrong = block[~((block >= 0) & (block < 2**31) & (block == np.floor(block)))]
    elif kind == "i":
        wrong = block[block < 0]
    if wrong.size:
        raise InputError(
            f"{source}: slice {block_id[0]} has the label value {wrong[0]:g}; labels are whole "
            "numbers from 0: save them as unsigned integers"
        )
    return block.astype(dtype, copy=False)
