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
from napari_salt.io._format import DAMAGE, ArrayOnDisk, Opened, one_line
from napari_salt.io._geometry import Turn, differ, turn_onto
from napari_salt.io._stack import Stack
from napari_salt.io._table import format_to_read
from napari_salt.terms.errors import InputError

__all__ = ["read_labels", "read_stack"]

_ROUNDING = 1e-4  # largest rounding error of a whole number that NIfTI scaling has made
_FINE_STEP = 0.01  # with coarser steps, fractions would be accepted as whole numbers


def read_stack(path: str | Path, *, axes: str | None = None, channel: int | None = None) -> Stack:
    """Open an image stack; a slice is read when it is taken from `Stack.data` and computed.

    Parameters
    ----------
    path
        A TIFF file (plain, ImageJ or OME), an OME-Zarr folder, or a NIfTI file (.nii, .nii.gz); bool,
        integers or floats. A NIfTI's axes are taken in reverse, so that slices come first.
    axes
        One letter per axis: Z slices, N independent images, Y, X, C channels, T time, S colour.
        With None the file's own names count; without names 2D is one slice, 3D a stack, and a last axis
        that TIFF calls samples is colour.
    channel
        Which channel (0-based) of axis C to take; needed if there are several.

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
    return _read(Path(path), axes, channel, None)


def _read(path: Path, axes: str | None, channel: int | None, labels: _LabelView | None) -> Stack:
    opened = _opened(path, axes, labels)
    planes = _Planes(opened, path, axes, labels)
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
    )


def read_labels(path: str | Path, *, axes: str | None = None, like: Stack | None = None) -> Stack:
    """Open a label stack of whole numbers from 0, as `read_stack` opens an image.

    Bool becomes uint8 and whole-numbered floats become int32; other types stay as they are. A TIFF of
    three or four planes is a stack, not colour.

    Parameters
    ----------
    path, axes
        See `read_stack`.
    like
        The image (or labels) that these labels belong to. If the files say where their voxels lie, labels
        that are stored mirrored or with axes in another order are brought onto its grid.

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
    stack = _read(path, axes, None, _LabelView())
    if like is not None:
        turn = _turn_onto(like, stack)
        if turn:
            stack = _read(path, axes, None, _LabelView(turn))
            stack = replace(stack, affine=like.affine, spacing=like.spacing, unit=like.unit)
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


@dataclass(frozen=True)
class _LabelView:
    """How a file is opened as labels: turned by `turn`, if that is given."""

    turn: Turn | None = None


def _turn_onto(image: Stack, labels: Stack) -> Turn | None:
    """How to bring labels onto the image's grid; None if not known from both files.

    Raises
    ------
    InputError
        If the files say that they lie elsewhere.
    """
    ours = image.geometry.in_unit_of(labels.geometry)
    theirs = labels.geometry.in_unit_of(ours)
    known = ours.affine is not None and theirs.affine is not None
    turn = turn_onto(ours, theirs) if known else None
    if (known and turn is None) or (not known and differ(ours, theirs)):
        raise InputError(
            f"{labels.source} ({theirs}) does not lie on the voxels of {image.source} ({ours}): resample it "
            "onto them first, for example with ITK-SNAP or 3D Slicer"
        )
    return turn


class _Planes:
    """A file's array for dask: each access reads what it needs; an error names the slice."""

    def __init__(self, opened: Opened, path: Path, axes: str | None, labels: _LabelView | None) -> None:
        if opened.close is not None:
            weakref.finalize(self, opened.close)
        self._array = opened.array
        self._letters = opened.axes
        self._path = path
        self._origin = path.absolute(), axes, labels
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

    def __getitem__(self, key: tuple[slice, ...]) -> npt.NDArray[Any]:
        if not self._origin[0].exists():  # Zarr would return zeros
            raise InputError(
                f"{self._origin[0]} is not there on {platform.node()}: keep it while it is read, and on a "
                "cluster in a folder that all machines share"
            )
        try:
            return np.asarray(self._array[key]).astype(self.dtype, copy=False)
        except (OSError, *DAMAGE) as error:
            places = zip(self._letters, key, strict=True)
            place = "".join(f" {axis}={at.start}" for axis, at in places if axis not in "YXS")
            raise InputError(
                f"{self._path}: the slice{place} cannot be read ({one_line(error)}); the file is "
                "cut short or damaged: copy or export it again"
            ) from error

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the path: another process opens the file again."""
        return _reopened, self._origin


class _Turned:
    """An array with its last three axes in another order, some of them backwards."""

    def __init__(self, array: ArrayOnDisk, turn: Turn) -> None:
        self._array, self._flipped = array, turn.flipped
        self._lead = len(array.shape) - len(turn.order)
        self._order = (*range(self._lead), *(self._lead + axis for axis in turn.order))
        self.shape = tuple(array.shape[axis] for axis in self._order)
        self.dtype = array.dtype

    def __getitem__(self, key: tuple[slice, ...]) -> npt.NDArray[Any]:
        ranges = [range(*at.indices(length)) for at, length in zip(key, self.shape, strict=True)]
        for axis, flipped in enumerate(self._flipped, self._lead):
            if flipped:  # the same voxels, counted from the other end
                last = self.shape[axis] - 1
                ranges[axis] = range(last - ranges[axis][-1], last - ranges[axis][0] + 1)
        inner = [slice(0, 0)] * len(key)
        for axis, place in enumerate(self._order):
            inner[place] = slice(ranges[axis].start, ranges[axis].stop)
        taken = np.asarray(self._array[tuple(inner)]).transpose(self._order)
        mirrored = tuple(a for a, backwards in enumerate(self._flipped, self._lead) if backwards)
        turned: npt.NDArray[Any] = np.flip(taken, mirrored)
        return turned


def _reopened(path: Path, axes: str | None, labels: _LabelView | None) -> _Planes:
    return _Planes(_opened(path, axes, labels), path, axes, labels)


def _opened(path: Path, axes: str | None, labels: _LabelView | None) -> Opened:
    if not path.exists():
        raise InputError(f"{path} does not exist: check the path")
    opened = format_to_read(path).open(path, axes, labels=labels is not None)
    if labels is None or labels.turn is None:
        return opened
    return replace(opened, array=_Turned(opened.array, labels.turn))


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
