"""NumPy's .npy: an array without names of axes and without geometry, read from the disk slice by slice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_salt.io._axes import given_axes, plain_axes
from napari_salt.io._format import Gathered, Layout, Opened, reading

__all__ = ["npy_planes", "open_npy"]


def open_npy(path: Path, axes: str | None, *, labels: bool = False) -> Opened:
    """Open an array; 2D is one slice, 3D a stack.

    Raises
    ------
    InputError
        If it is damaged or holds Python objects, or its axes are ambiguous.
    """
    with reading(path, "a NumPy file of numbers"):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        letters = given_axes(axes, "?", array.shape, path) if axes else ""
        return Opened(array, letters or plain_axes(array.shape, path, labels=labels), None, None)


def npy_planes(path: Path, layout: Layout) -> Gathered:
    """An array of one piece, of the axes of the layout."""
    return Gathered(path, layout, _save)


def _save(path: Path, array: npt.NDArray[Any], layout: Layout) -> None:  # noqa: ARG001 (holds no geometry)
    np.save(path, array, allow_pickle=False)
