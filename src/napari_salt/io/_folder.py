"""Single slices as files of their own: a folder of them, or a pattern of their names, in natural order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from napari_salt.io._axes import given_axes
from napari_salt.io._format import Opened, reading
from napari_salt.io._paths import is_pattern, matches
from napari_salt.io._picture import open_picture, picture_header
from napari_salt.io._tiff import open_tiff
from napari_salt.io._units import Spacing
from napari_salt.terms.errors import InputError

__all__ = ["differ_in_kind", "files_in_order", "has_images", "open_folder"]

_TIFFS = (".tif", ".tiff")
_PICTURES = (".png", ".jpg", ".jpeg", ".bmp")


def has_images(path: Path) -> bool:
    """Whether a folder, or a pattern's matches, have TIFF, PNG, JPEG or BMP files."""
    return any(file.suffix.lower() in _TIFFS + _PICTURES for file in _files(path))


def open_folder(path: Path, axes: str | None, *, labels: bool = False) -> Opened:
    """Open files of one slice each as a stack, in the natural order of their names (2 before 10).

    The size of pixels is that of the first file; how far apart the slices are is not known.

    Raises
    ------
    InputError
        If the files are of several types, one cannot be read or holds several slices, or their shapes or
        types of values differ.
    """
    files = files_in_order(path)
    first = _slice_of(files[0], labels=labels)
    if first.close is not None:
        first.close()
    wanted = _header(files[0], labels=labels)
    for file in files[1:]:
        found = _header(file, labels=labels)
        if found != wanted:
            raise _unlike(file, found, files[0], wanted)
    array = _Slices(files, first, labels=labels)
    letters = "Z" + first.axes
    if axes:
        letters = given_axes(axes, letters, array.shape, path)
    spacing: Spacing | None = None
    if first.spacing is not None:
        spacing = (None, *first.spacing[1:])
    return Opened(array, letters, spacing, first.unit)


class _Slices:
    """An array (Z, Y, X) or (Z, Y, X, S) that reads the file of each slice when it is taken."""

    def __init__(self, files: Sequence[Path], first: Opened, *, labels: bool) -> None:
        self._files, self._labels = files, labels
        self.shape = (len(files), *first.array.shape)
        self.dtype = np.dtype(first.array.dtype)

    def __getitem__(self, key: tuple[slice, ...]) -> npt.NDArray[Any]:
        planes = [self._plane(file) for file in self._files[key[0]]]
        return np.stack(planes)[(slice(None), *key[1:])] if planes else np.zeros((0, *self.shape[1:]))

    def _plane(self, file: Path) -> npt.NDArray[Any]:
        opened = _slice_of(file, labels=self._labels)
        try:
            plane = np.asarray(opened.array[(slice(None),) * len(opened.array.shape)])
            found, wanted = (
                f"{'x'.join(map(str, shape))} {dtype}"
                for shape, dtype in ((plane.shape, plane.dtype), (self.shape[1:], self.dtype))
            )
            if found != wanted:
                raise _unlike(file, found, self._files[0], wanted)
            return plane
        finally:
            if opened.close is not None:
                opened.close()


def _files(path: Path) -> list[Path]:
    """Files of a folder, or matches of a pattern; hidden ones are left out."""
    if is_pattern(path):
        found = matches(path)
    else:
        found = [file for file in path.iterdir() if file.is_file()] if path.is_dir() else []
    return [file for file in found if not file.name.startswith(".")]


def differ_in_kind(path: Path) -> bool:
    """Whether the images of a folder, or a pattern's matches, have several shapes or types of values."""
    return len({_header(file, labels=False) for file in files_in_order(path)}) > 1


def files_in_order(path: Path) -> list[Path]:
    """Images of a folder, or a pattern's matches, in the natural order of their names (2 before 10).

    Raises
    ------
    InputError
        If they are of several formats.
    """
    files = [file for file in _files(path) if file.suffix.lower() in _TIFFS + _PICTURES]
    kinds = Counter(file.suffix.lower() for file in files)
    if len({".tif" if kind in _TIFFS else ".jpg" if kind == ".jpeg" else kind for kind in kinds}) > 1:
        found = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        most = kinds.most_common(1)[0][0]
        where = path.parent if is_pattern(path) else path
        raise InputError(f"{path} holds images of several types ({found}): name them, as {where}/*{most}")
    return [Path(name) for name in tifffile.natural_sorted(map(str, files))]


def _slice_of(file: Path, *, labels: bool) -> Opened:
    """Open one file; it must hold one slice."""
    opened = (open_tiff if file.suffix.lower() in _TIFFS else open_picture)(file, None, labels=labels)
    if opened.axes not in ("YX", "YXS"):
        if opened.close is not None:
            opened.close()
        raise InputError(
            f"{file} holds {'x'.join(map(str, opened.array.shape))} values (axes {opened.axes}), and not one "
            "slice: name this file alone, or a folder of single slices"
        )
    return opened


def _header(file: Path, *, labels: bool) -> str:
    """Size and type of values of a file, without decoding it."""
    if file.suffix.lower() not in _TIFFS:
        return picture_header(file, labels=labels)
    with reading(file, "a TIFF file"), tifffile.TiffFile(file) as tif:
        page = tif.pages.first
        return f"{'x'.join(map(str, page.shape))} {page.dtype}"


def _unlike(file: Path, found: str, first: Path, wanted: str) -> InputError:
    return InputError(
        f"{file} is {found}, {first} is {wanted}: slices of a stack have one shape and type; name those that "
        "belong together by a pattern, such as slices/a*.png"
    )
