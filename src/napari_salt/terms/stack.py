"""Requirements on an image stack, and sizes of its pixels. Imports no torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from napari_salt.terms.errors import InputError
from napari_salt.terms.units import micrometres

if TYPE_CHECKING:
    from napari_salt.terms.config import SegmentConfig

__all__ = [
    "StackLike",
    "as_stack",
    "check_pixel_size",
    "check_stack",
    "common_group",
    "label_dtype",
    "result_dtype",
    "to_micrometres",
]


class StackLike(Protocol):
    """An array of shape (Z, Y, X) or (Z, Y, X, 3) that is read slice by slice: numpy, dask or zarr."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        ...

    @property
    def dtype(self) -> Any:
        """Type of the values, as numpy understands it."""
        ...

    def __getitem__(self, key: Any, /) -> Any: ...


def as_stack(given: Any, what: str) -> StackLike:
    """Convert an argument of the Python interface to an array that is read slice by slice.

    Parameters
    ----------
    given
        An array (numpy, dask, zarr or alike), a torch tensor, or nested lists of numbers.
    what
        For the message, such as "image".

    Raises
    ------
    InputError
        If it is a path or something else.
    """
    if isinstance(given, str | os.PathLike):
        raise InputError(
            f"the {what} is the path {os.fspath(given)!r}; read it first, as napari_salt.read_stack does, "
            "and give its data"
        )
    try:
        if hasattr(given, "detach"):  # a torch tensor
            given = given.detach().cpu().numpy()
        elif isinstance(given, list | tuple):
            given = np.asarray(given)
    except (TypeError, ValueError) as error:  # numpy has no bfloat16; lists of several lengths
        raise InputError(f"the {what} is no array of numbers ({error}); give an array (Z, Y, X)") from error
    if not (hasattr(given, "shape") and hasattr(given, "dtype") and hasattr(given, "__getitem__")):
        raise InputError(f"the {what} is a {type(given).__name__}; give an array of numbers (Z, Y, X)")
    array: StackLike = given
    return array


def check_pixel_size(pixel_size: Any) -> None:
    """Check a pixel size in micrometres; None means unknown and is accepted.

    Raises
    ------
    InputError
        If it is no positive number.
    """
    if pixel_size is None:
        return
    number = isinstance(pixel_size, int | float | np.number)
    if not (number and 0 < pixel_size < float("inf")):
        raise InputError(f"pixel_size is {pixel_size!r}; give micrometres per pixel, a number above 0")


def check_stack(stack: StackLike) -> int:
    """Number of channels (1 or 3) of a stack that can be used.

    Raises
    ------
    InputError
        If the shape is neither (Z, Y, X) nor (Z, Y, X, 3), the stack is empty, or the dtype is not real.
    """
    shape = tuple(stack.shape)
    if np.dtype(stack.dtype).kind not in "buif":
        raise InputError(f"the image has dtype {stack.dtype}; give whole or real numbers")
    if 0 in shape:
        raise InputError(f"the image is empty (shape {shape})")
    if len(shape) == 3:
        return 1
    if len(shape) == 4 and shape[-1] == 3:
        return 3
    raise InputError(f"the image has shape {shape}; give (Z, Y, X), or (Z, Y, X, 3) for colour")


def common_group(groups: Sequence[tuple[str, int | None]]) -> int | None:
    """Number of slices of one time point, the same for all stacks of a training; None: all.

    Parameters
    ----------
    groups
        Name and number of slices of one time point, of each stack.

    Raises
    ------
    InputError
        If they do not agree.
    """
    (first, wanted), *others = groups
    for name, group in others:
        if group != wanted:
            raise InputError(
                f"{first} has {wanted or 'all'} slices in a time point, {name} {group or 'all'}; train "
                "together on stacks that agree in that"
            )
    return wanted


def to_micrometres(spacing: Sequence[float | None] | None, unit: str | None) -> float | None:
    """In-plane pixel side in micrometres (geometric mean of y and x), or None if not known."""
    in_one = micrometres(unit)
    if spacing is None or in_one is None:
        return None
    y, x = spacing[-2:]
    return None if y is None or x is None else float(np.sqrt(y * x)) * in_one


def label_dtype(values: Sequence[int]) -> np.dtype[np.unsignedinteger]:
    """Smallest unsigned integer type that holds all `values`."""
    return np.min_scalar_type(max(values, default=0))


def result_dtype(values: Sequence[int], config: SegmentConfig) -> np.dtype[np.integer]:
    """Type of a segmentation into classes of label `values`, or into objects."""
    return np.dtype(np.int32) if config.objects else label_dtype(values)
