"""Write images plane by plane; a file gets its name, or replaces an old one, when it is complete."""

import os
import shutil
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import dask.array as da
import numpy as np
import numpy.typing as npt

from napari_salt.io._format import Layout, PlaneFile, writing
from napari_salt.io._keeping import check_holds, not_kept
from napari_salt.io._paths import files_of, is_pattern
from napari_salt.io._stack import Stack
from napari_salt.io._table import format_to_write
from napari_salt.terms.card import ClassInfo
from napari_salt.terms.errors import InputError

__all__ = [
    "LabelWriter",
    "check_folder",
    "check_target",
    "image_writer",
    "label_type",
    "layout_of",
    "on_disk",
    "replacing",
    "unfinished",
    "write_labels",
    "write_planes",
]

_LABEL_TYPES = ("uint8", "uint16", "uint32", "int32")


@contextmanager
def image_writer(path: Path, layout: Layout) -> Iterator[Callable[[npt.NDArray[Any]], None]]:
    """Give a function that writes the next plane, (Y, X) of the layout's type, into the image at `path`.

    Planes come in C order. The file gets its final name only when it is complete (see `replacing`).

    Parameters
    ----------
    path
        Where to write; its ending decides the format.
    layout
        Axes, shape, dtype and geometry of the image.

    Raises
    ------
    InputError
        If the file cannot be written.
    ValueError
        If the block ends before all planes are written.
    """
    written = 0

    def write(plane: npt.NDArray[Any]) -> None:
        nonlocal written
        with writing(path):
            file.write(plane)
        written += 1

    with replacing(path) as temporary:
        with writing(path):
            file = _plane_file(path, temporary, layout)
        try:
            yield write
        finally:
            with writing(path):
                file.close()
        if written < layout.n_planes:
            raise ValueError(f"only {written} of {layout.n_planes} slices were written")


class LabelWriter:
    """Write a label stack slice by slice into a file, which gets its name when it is complete.

    A context manager, like `image_writer`. A TIFF is an OME-TIFF, a Zarr an OME-Zarr 0.5 with one chunk per
    slice, both with the spacing and unit of the image; a NIfTI that belongs to a NIfTI image keeps the
    image's affines and units exactly. What each format keeps is told in ``docs/formats.md``.

    Parameters
    ----------
    path
        Where to write, in an existing folder; its ending decides the format (.tif, .zarr, .nii, .nii.gz,
        .seg.nrrd, .nrrd, .mha, .png, .npy, .dcm).
    like
        The image that the labels belong to; (Y, X), time points and geometry are taken from it.
    n_slices
        How many slices will be written.
    dtype
        uint8, uint16, uint32 or int32.
    classes
        Names and colours of the label values, for formats that keep them.

    Raises
    ------
    InputError
        If the file cannot be written, or its format cannot hold such labels; the constructor and ``with``
        check that before any work.
    ValueError
        If `n_slices` is below 1, `dtype` is another, or the ``with`` block ends before all are written.
    """

    def __init__(
        self,
        path: str | Path,
        like: Stack,
        n_slices: int,
        dtype: npt.DTypeLike,
        classes: Sequence[ClassInfo] = (),
    ) -> None:
        path = Path(path)
        check_target(path, like.source)
        self._shape = (n_slices, *like.data.shape[1:3])
        self._dtype = np.dtype(dtype)
        if n_slices < 1 or self._dtype.name not in _LABEL_TYPES:
            raise ValueError(f"cannot write {n_slices} slices of {self._dtype}: {_LABEL_TYPES}")
        check_holds(path, like)
        layout = layout_of(path, like, self._dtype, n_slices=n_slices, classes=classes)
        self._image = image_writer(path, layout)
        self._written = 0

    def __enter__(self) -> Self:
        self._write = self._image.__enter__()
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._image.__exit__(error_type, error, traceback)

    def write(self, index: int, labels: npt.NDArray[Any]) -> None:
        """Write the labels, (Y, X), of the next slice; `index` runs from 0 without gaps.

        Raises
        ------
        InputError
            If the file cannot be written.
        ValueError
            If the slice is not the next one, or does not fit the stack's shape or type.
        """
        if index != self._written or index >= self._shape[0]:
            raise ValueError(f"slice {index} of {self._shape[0]} comes after {self._written}")
        values = labels.astype(self._dtype)
        if values.shape != self._shape[1:] or not np.array_equal(values, labels):
            raise ValueError(f"labels {labels.shape} {labels.dtype} do not fit {self._shape[1:]}")
        self._write(values)
        self._written += 1

    def fill(self, stop: int | None = None) -> None:
        """Write background into the slices not written yet, up to `stop` (by default all)."""
        for index in range(self._written, self._shape[0] if stop is None else stop):
            self.write(index, np.zeros(self._shape[1:], self._dtype))


def write_planes(path: Path, layout: Layout, planes: Iterable[npt.NDArray[Any]]) -> Iterator[int]:
    """Write planes of whole numbers into one file, and give the number of those written after each.

    Parameters
    ----------
    path, layout
        As for `image_writer`; `label_type` gives the layout's type.
    planes
        All planes, (Y, X), of any type of whole numbers, in C order.

    Raises
    ------
    InputError
        If the file cannot be written, or a value does not fit the layout's type.
    """
    with image_writer(path, layout) as write:
        for done, plane in enumerate(planes, start=1):
            values = plane.astype(layout.dtype)
            if not np.array_equal(values, plane):
                raise InputError(
                    f"slice {done - 1} has values from {plane.min()} to {plane.max()}, which files of labels "
                    f"({layout.dtype}) cannot hold; labels are whole numbers from 0"
                )
            write(values)
            yield done


def label_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Give the type in which labels of `dtype` are written: the same, or the nearest that formats hold."""
    if dtype.name in _LABEL_TYPES:
        return dtype
    return np.dtype(np.uint8 if dtype.kind == "b" else np.int32)


def write_labels(
    path: str | Path,
    labels: npt.NDArray[Any] | da.Array,
    like: Stack,
    classes: Sequence[ClassInfo] = (),
) -> None:
    """Write a label stack into one file (see `LabelWriter` for the formats).

    Parameters
    ----------
    path
        Where to write, in an existing folder; its ending decides the format.
    labels
        (Z, Y, X) of uint8, uint16, uint32 or int32.
    like
        The image that the labels belong to.
    classes
        Names and colours of the label values, for formats that keep them.

    Raises
    ------
    InputError
        If the file cannot be written, or its format cannot hold such labels.
    ValueError
        If `labels` have another dtype, or do not fit (Y, X) of `like`.

    Warns
    -----
    UserWarning
        If the format cannot hold where the image's voxels lie (see `not_kept`).
    """
    check_holds(Path(path), like)
    lost = not_kept(Path(path), like)
    if lost:
        warnings.warn(lost, stacklevel=2)
    with LabelWriter(path, like, len(labels), labels.dtype, classes) as writer:
        for index in range(len(labels)):
            writer.write(index, np.asarray(labels[index]))


def layout_of(
    path: Path,
    like: Stack,
    dtype: np.dtype[Any],
    *,
    channels: tuple[str, ...] = (),
    n_slices: int | None = None,
    classes: Sequence[ClassInfo] = (),
) -> Layout:
    """Give the layout of an image at `path` with the axes T, Z, Y, X and the geometry of `like`.

    Parameters
    ----------
    path
        Where it will be written.
    like
        The image that it belongs to.
    dtype
        Of its values.
    channels
        Names of the channels; empty for no axis C.
    n_slices
        Number of slices, by default that of `like`.
    classes
        Names and colours of the label values.
    """
    count = len(like.data) if n_slices is None else n_slices
    frames = like.frames if count == len(like.data) else 1
    sizes = {"T": frames, "C": len(channels), "Z": count // frames}
    wanted = {"T": frames > 1, "C": bool(channels), "Z": not like.was_2d or count > frames}
    axes = "".join(axis for axis in "TCZ" if wanted[axis])
    in_order = like.axes.lstrip("TC") in ("ZYX", "NYX", "YX")
    return Layout(
        axes=f"{axes}YX",
        shape=(*(sizes[axis] for axis in axes), *like.data.shape[1:3]),
        dtype=dtype,
        spacing=like.spacing,
        unit=like.unit,
        origin=like.origin,
        channels=channels,
        name=path.name.partition(".")[0],
        like=like.source if in_order and like.source.exists() else None,
        time_step=like.time_step,
        time_unit=like.time_unit,
        affine=like.affine,
        series=like.series,
        classes=tuple(classes),
    )


def check_folder(path: Path) -> None:
    """Refuse an output whose folder is missing or not writable.

    Raises
    ------
    InputError
        If it is.
    """
    if not path.parent.is_dir():
        raise InputError(f"the folder {path.parent} does not exist: create it first")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"the folder {path.parent} cannot be written to: choose another")


def check_target(path: Path, source: Path) -> None:
    """Refuse an output that could not be written, or would overwrite `source`, before any work.

    Raises
    ------
    InputError
        If the ending of `path` is unknown, its folder is missing or not writable, or something that may not
        be replaced is there.
    """
    written = format_to_write(path)
    check_folder(path)
    if path.is_dir() and not written.may_replace(path):
        raise InputError(f"{path} is a folder: give another name")
    inputs = files_of(source) if is_pattern(source) else [source]
    if path.exists() and any(each.resolve().is_relative_to(path.resolve()) for each in inputs):
        raise InputError(f"{path} is the input image: write to another file")
    if path.is_file() and written.is_folder:
        raise InputError(f"{path} is a file: give another name")


@contextmanager
def replacing(path: Path, finished: Collection[object] = ()) -> Iterator[Path]:
    """Give a temporary name beside `path`; what the body writes there replaces `path` if it succeeds.

    If the body fails, the temporary output is removed, but it is kept if `finished` is not empty by then. If
    `finished` is not empty at the start, the output that an earlier run has kept is there again.

    Parameters
    ----------
    path
        The output.
    finished
        Parts of the output that are complete; the body may add to it.

    Raises
    ------
    InputError
        If the disk cannot be written to.
    """
    temporary = unfinished(path)
    try:
        if not finished:
            with writing(path):
                _remove(temporary)
        yield temporary
        with writing(path):
            _put(temporary, path)
    finally:
        if not finished:
            _remove(temporary)


def on_disk(path: Path) -> None:
    """Flush a file, or each file of a folder, to the disk (fsync), so that it survives a power cut."""
    for file in path.rglob("*") if path.is_dir() else [path]:
        if file.is_file():
            with file.open("r+b") as opened:
                os.fsync(opened.fileno())


def _plane_file(path: Path, temporary: Path, layout: Layout) -> PlaneFile:
    planes = format_to_write(path).planes
    assert planes is not None  # noqa: S101 (format_to_write chooses by it)
    return planes(temporary, layout)


def unfinished(path: Path) -> Path:
    """Name of the incomplete output beside `path`; a fixed one, so that a later run finds it after a kill."""
    return path.with_name(f".part.{path.name}")


def _put(complete: Path, path: Path) -> None:
    """Flush `complete` to the disk and move it to `path`."""
    on_disk(complete)
    old = path.with_name(f".old.{path.name}")
    _remove(old)
    if path.is_dir():  # a folder cannot replace another in one step
        path.replace(old)
    complete.replace(path)
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
