"""Read image and label stacks slice by slice, with their geometry; write labels the same way.

TIFF, OME-Zarr and NIfTI. A stack on disk is a lazy array of one chunk per slice: taking a slice reads
that slice and little else. Everything that a user can put right is an `InputError` of one line.
"""

import platform
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt

from napari_salt._axes import check_axes, flattened
from napari_salt._image import DAMAGE, Opened, one_line
from napari_salt._nifti import NIFTI_SUFFIXES, open_nifti
from napari_salt._stack import Stack
from napari_salt._tiff import open_tiff
from napari_salt._writing import LabelWriter, write_labels
from napari_salt._zarr import open_zarr
from napari_salt.core.errors import InputError

__all__ = ["LabelWriter", "Stack", "read_labels", "read_stack", "write_labels"]

_ROUNDING = 1e-4  # what scaling, as NIfTI files do it, may add to a whole number


def read_stack(path: str | Path, *, axes: str | None = None, channel: int | None = None) -> Stack:
    """Open an image stack; a slice is read when it is taken from `Stack.data` and computed.

    Parameters
    ----------
    path
        A TIFF file (plain, ImageJ or OME), an OME-Zarr folder, or a NIfTI file (.nii, .nii.gz); bool,
        integers or floats. A NIfTI's axes are taken in reverse, so that slices come first.
    axes
        One letter per axis: Z slices, N independent images, Y, X, C channels, T time, S colour.
        None trusts the file; without names 2D is one slice, 3D a stack, and a last axis that
        TIFF calls samples is colour.
    channel
        Which channel (0-based) of axis C to take; needed if there are several.

    Raises
    ------
    InputError
        If the file is missing, damaged, of no format above, or its axes cannot be told. Computing
        a slice raises it too, if the file is damaged there.
    """
    path = Path(path)
    opened = _opened(path, axes)
    planes = _Planes(opened, path, axes)
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
    )


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
        _checked_labels, stack.data, dtype, stack.source, dtype=dtype, meta=np.empty((0, 0, 0), dtype)
    )
    return replace(stack, data=data)


class _Planes:
    """A file's array for dask: each access reads what it needs, and names what it cannot read."""

    def __init__(self, opened: Opened, path: Path, axes: str | None) -> None:
        if opened.close is not None:
            weakref.finalize(self, opened.close)
        self._array = opened.array
        self._letters = opened.axes
        self._path = path
        self._origin = path.absolute(), axes
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
        if not self._origin[0].exists():  # Zarr would give 0
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
        """Another process opens the file itself."""
        return _reopened, self._origin


def _reopened(path: Path, axes: str | None) -> _Planes:
    return _Planes(_opened(path, axes), path, axes)


def _opened(path: Path, axes: str | None) -> Opened:
    if not path.exists():
        raise InputError(f"{path} does not exist: check the path")
    return _opener(path)(path, axes)


def _opener(path: Path) -> Callable[[Path, str | None], Opened]:
    if path.is_dir() or path.suffix.lower() == ".zarr":
        return open_zarr
    return open_nifti if path.name.lower().endswith(NIFTI_SUFFIXES) else open_tiff


def _checked_labels(
    block: npt.NDArray[Any], dtype: np.dtype[Any], source: Path, block_id: tuple[int, ...]
) -> npt.NDArray[Any]:
    """Give one slice's labels as `dtype`, if all values are whole and not negative."""
    kind = block.dtype.kind
    wrong = np.zeros(0)
    if kind == "f":
        whole = np.rint(block)
        wrong = block[~((whole >= 0) & (whole < 2**31) & (np.abs(block - whole) <= _ROUNDING))]
        block = whole
    elif kind == "i":
        wrong = block[block < 0]
    if wrong.size:
        raise InputError(
            f"{source}: slice {block_id[0]} has the label value {wrong[0]:g}; labels are whole "
            "numbers from 0: save them as unsigned integers"
        )
    return block.astype(dtype, copy=False)
