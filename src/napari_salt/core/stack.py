"""What the engine asks of an image stack, and what its pixels measure. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from napari_salt.core.errors import InputError

__all__ = ["StackLike", "check_stack", "to_micrometres"]

LENGTH_UNITS = {"nm": 1e-3, "um": 1.0, "mm": 1e3, "cm": 1e4, "m": 1e6}
"""Micrometres in one of each unit."""


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


def check_stack(stack: StackLike) -> int:
    """Number of channels (1 or 3) of a stack that can be used.

    Raises
    ------
    InputError
        If the shape is neither (Z, Y, X) nor (Z, Y, X, 3), or the dtype is not real.
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


def to_micrometres(spacing: Sequence[float] | None, unit: str | None) -> float | None:
    """In-plane pixel side in micrometres (geometric mean of y and x), or None if not known."""
    if spacing is None or unit not in LENGTH_UNITS:
        return None
    return float(np.sqrt(spacing[-2] * spacing[-1])) * LENGTH_UNITS[unit]
