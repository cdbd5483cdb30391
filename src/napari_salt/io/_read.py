"""Read image and label stacks slice by slice, with their geometry, from the formats of `_table`.

A stack on disk is a lazy array of one chunk per slice: taking a slice reads that slice and little else (a
compressed NIfTI is read as a whole, once). What a user can put right is an `InputError` of one line.
"""

from __future__ import annotations

import platform
import weakref
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt

from napari_salt.io._axes import check_axes, flattened
from napari_salt.io._format import DAMAGE, Opened, one_line
from napari_salt.io._geometry import between, differ, turn_onto
from napari_salt.io._onto import Onto, Resampling
from napari_salt.io._paths import is_there, root_of
from napari_salt.io._stack import Stack
from napari_salt.io._table import format_to_read
from napari_salt.terms.errors import InputError, UnreadableError

__all__ = ["read_labels", "read_stack"]

_ROUNDING = 1e-4  # largest rounding error of a whole number that NIfTI scaling has made
_FINE_STEP = 0.01  # with coarser steps, fractions would be accepted as whole numbers


def read_stack(
    path: str | Path, *, axes: str | None = None, channel: int | None = None, series: int | str | None = None
) -> Stack:
    """Open an image stack; a slice is read when it is taken from `Stack.data` and computed.

    Parameters
    ----------
    path
        A file or folder of one of the formats of ``docs/formats.md``; a folder of single slices or a pattern
        of their names, such as ``slices/*.png``; ``file.h5:/dataset``. Bool, integers or floats. The axes
        of NIfTI, NRRD and MetaImage are taken in reverse, so that slices come first.
    axes
        One letter per axis: Z slices, N independent images, Y, X, C channels, T time, S colour.
        With None the file's own names count; without names 2D is one slice, 3D a stack, and a last axis
        that TIFF calls samples is colour.
    channel
        Which channel (0-based) of axis C to take; needed if there are several.
    series
        Which image of a file or folder with several: its number from 0, or a part of its name; a series of a
        DICOM folder, an image of a TIFF, a volume of a NIfTI with four axes.

    Returns
    -------
    Stack
        Its `data` is lazy: (Z, Y, X), or (Z, Y, X, 3) in colour, of the file's dtype.

    Raises
    ------
    InputError
        If the file is missing, damaged or of another format, or if its axes are ambiguous. Computing
        a slice raises it too, if the file is damaged there.
    """
    return _read(Path(path), channel, _How(axes, None if series is None else str(series)))


@dataclass(frozen=True)
class _How:
    """How a file is opened: as `read_stack` has it; as labels; and how these come onto their image."""

    axes: str | None = None
    series: str | None = None
    labels: bool = False
    onto: Onto | None = None


def _read(path: Path, channel: int | None, how: _How) -> Stack:
    opened = _opened(path, how)
    planes = _Planes(opened, path, how)
    sizes = dict(zip(opened.axes, planes.shape, strict=True))
    check_axes(sizes, channel, path)
    return Stack(
        data=flattened(planes.lazy(), opened.axes, channel or 0),
        rgb="S" in sizes,
        spacing=opened.spacing,
        unit=opened.unit,
        axes=opened.axes,
        was_2d=not {"Z", "N"} & set(sizes),
        source=path,
        origin=opened.origin,
        channel=channel or 0,
        frames=sizes.get("T", 1),
        affine=opened.affine,
        unit_assumed=opened.unit_assumed,
        time_step=opened.time_step,
        time_unit=opened.time_unit,
        step=opened.step,
        classes=opened.classes,
        partial=opened.partial,
        series=how.series,
    )


def read_labels(
    path: str | Path,
    *,
    axes: str | None = None,
    like: Stack | None = None,
    resample: bool = False,
    series: int | str | None = None,
) -> Stack:
    """Open a label stack of whole numbers from 0, as `read_stack` opens an image.

    Bool becomes uint8 and whole-numbered floats become int32; other types stay as they are. A TIFF of
    three or four planes is a stack, not colour.

    Parameters
    ----------
    path, axes, series
        See `read_stack`.
    like
        The image (or labels) that these labels belong to. If the files say where their voxels lie, labels
        that are stored mirrored or with axes in another order are brought onto its grid.
    resample
        Whether labels on another grid, or elsewhere in space, are resampled onto that of `like`: each voxel
        gets the value of the nearest one, 0 outside. Without it they are refused.

    Returns
    -------
    Stack
        Its `data` is lazy: (Z, Y, X) of an integer dtype.

    Raises
    ------
    InputError
        As `read_stack`, and if the file is in colour, or the labels do not lie on the grid of `like`.
        Computing a slice raises it too, if the slice has negative or fractional values.
    """
    path = Path(path)
    how = _How(axes, None if series is None else str(series), labels=True)
    stack = _read(path, None, how)
    if like is not None:
        onto = _onto(like, stack, resample=resample)
        if onto is not None:
            stack = _read(path, None, replace(how, onto=onto))
            stack = replace(stack, affine=like.affine, origin=like.origin, partial=False)
            stack = replace(stack, spacing=like.spacing, unit=like.unit)
    if stack.rgb:
        raise InputError(
            f"{path} is a colour image (axes {stack.axes}), not labels: save one whole number per "
            "pixel, 0 for background"
        )
    dtype = {"b": np.dtype(np.uint8), "f": np.dtype(np.int32)}.get(stack.data.dtype.kind, stack.data.dtype)
    data: da.Array = da.map_blocks(
        _checked_labels, stack.data, dtype, path, stack.step, dtype=dtype, meta=np.empty((0, 0, 0), dtype)
    )
    return replace(stack, data=data)


def _onto(image: Stack, labels: Stack, *, resample: bool) -> Onto | None:
    """How to bring labels onto the image's grid; None if they are there, or that is not known.

    Raises
    ------
    InputError
        If the files say that they lie elsewhere, and `resample` is not asked for or not possible.
    """
    ours, theirs = image.geometry, labels.geometry
    in_our_unit = ours.in_unit_of(theirs), theirs.in_unit_of(ours.in_unit_of(theirs))
    for one, other in ((ours, theirs), in_our_unit):
        if one.affine is not None and other.affine is not None:
            turn = turn_onto(one, other, partial=labels.partial)
            if turn is not None:
                return Onto(turn) if turn else None
        elif not differ(one, other) and not (resample and one.shape != other.shape):
            return None
    ours, theirs = in_our_unit
    said = f"{labels.source} ({theirs}) does not lie on the voxels of {image.source} ({ours})"
    if not resample:
        raise InputError(
            f"{said}: give --resample to take the nearest voxels, or resample it first, for example with "
            "ITK-SNAP or 3D Slicer"
        )
    matrix = between(ours, theirs)
    if matrix is None or image.frames > 1 or labels.frames > 1:
        why = "a time series" if matrix is not None else "not known in one space of both"
        raise InputError(f"{said}, which is {why}: resample it first, for example with 3D Slicer")
    return Onto(Resampling(matrix, ours.shape))


class _Planes:
    """A file's array for dask: each access reads what it needs; an error names the slice."""

    def __init__(self, opened: Opened, path: Path, how: _How) -> None:
        if opened.close is not None:
            weakref.finalize(self, opened.close)
        self._array = opened.array
        self._letters = opened.axes
        self._path = path
        self._origin = path.absolute(), how
        self._root = root_of(path.absolute())
        self.shape = opened.array.shape
        self.ndim = len(self.shape)
        self.dtype = np.dtype(opened.array.dtype).newbyteorder("=")
        if self.dtype.kind not in "buif":
            raise InputError(f"{path} has values of type {self.dtype}: save integers or floats")

    def lazy(self) -> da.Array:
        """Give a lazy array of one chunk per slice."""
        chunks = tuple(-1 if letter in "YXS" else 1 for letter in self._letters)
        array: da.Array = da.from_array(self, chunks=chunks, name=False, meta=np.empty(0, self.dtype))
        return array

    def __getitem__(self, key: tuple[Any, ...]) -> npt.NDArray[Any]:
        single = tuple(axis for axis, at in enumerate(key) if not isinstance(at, slice))
        parts = tuple(at if isinstance(at, slice) else slice(at, at + 1) for at in key)
        return self._taken(parts).squeeze(single)

    def _taken(self, key: tuple[slice, ...]) -> npt.NDArray[Any]:
        if not self._root.exists():  # Zarr would return zeros
            raise InputError(
                f"{self._root} is not there on {platform.node()}: keep it while it is read, and on a "
                "cluster in a folder that all machines share"
            )
        try:
            return np.asarray(self._array[key]).astype(self.dtype, copy=False)
        except InputError:
            raise
        except (OSError, *DAMAGE) as error:
            places = zip(self._letters, key, strict=True)
            place = "".join(f" {axis}={at.start}" for axis, at in places if axis not in "YXS")
            raise UnreadableError(
                f"{self._path}: the slice{place} cannot be read ({one_line(error)}); the file is "
                "cut short or damaged: copy or export it again"
            ) from error

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the path: another process opens the file again."""
        return _reopened, self._origin


def _reopened(path: Path, how: _How) -> _Planes:
    return _Planes(_opened(path, how), path, how)


def _opened(path: Path, how: _How) -> Opened:
    if not is_there(path):
        what = "matches no file" if any(letter in str(path) for letter in "*?[") else "does not exist"
        raise InputError(f"{path} {what}: check the path")
    file_format = format_to_read(path)
    if how.series is None:
        opened = file_format.open(path, how.axes, labels=how.labels)
    elif file_format.has_series:
        open_one: Any = file_format.open
        opened = open_one(path, how.axes, labels=how.labels, series=how.series)
    else:
        raise InputError(f"{path} is one image ({file_format.name}): leave out --series {how.series}")
    return opened if how.onto is None else replace(opened, array=how.onto.of(opened.array))


def _checked_labels(
    block: npt.NDArray[Any],
    dtype: np.dtype[Any],
    source: Path,
    step: float | None,
    block_id: tuple[int, ...],
) -> npt.NDArray[Any]:
    """Give one slice's labels as `dtype`, if all values are whole and not negative.

    Values that were scaled by a small `step` may be off by at most half of it.
    """
    kind = block.dtype.kind
    wrong = np.zeros(0)
    if kind == "f":
        whole = np.rint(block)
        off = _ROUNDING + (step / 2 if step is not None and step < _FINE_STEP else 0)
        wrong = block[~((whole >= 0) & (whole < 2**31) & (np.abs(block - whole) <= off))]
        block = whole
        if wrong.size and step is not None:
            raise InputError(
                f"{source}: slice {block_id[0]} has the label value {wrong[0]:g}, since the file stores its "
                f"values scaled (scl_slope, steps of {step:.3g}): save the labels as unsigned integers, "
                "without scaling"
            )
    elif kind == "i":
        wrong = block[block < 0]
    if wrong.size:
        raise InputError(
            f"{source}: slice {block_id[0]} has the label value {wrong[0]:g}; labels are whole "
            "numbers from 0: save them as unsigned integers"
        )
    return block.astype(dtype, copy=False)
