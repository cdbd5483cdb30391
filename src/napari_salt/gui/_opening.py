"""Open files in napari: stacks with their voxel size, anything else as napari opens it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari_salt.io import read_stack
from napari_salt.io._table import is_stack
from napari_salt.terms.errors import InputError

if TYPE_CHECKING:
    import napari

__all__ = ["open_files"]


def open_files(viewer: napari.viewer.Viewer, paths: Sequence[Path]) -> None:
    """Add the files to the viewer: stacks with their voxel size, anything else as napari opens it."""
    for path in paths:
        if not is_stack(path):
            viewer.open(path, plugin=None)
            continue
        try:
            stack = read_stack(path)
        except InputError:
            viewer.open(path, plugin=None)  # napari or another plugin may know better
            continue
        data = stack.data[0] if stack.was_2d else stack.data
        spacing = None
        if stack.spacing is not None:  # if the distance of slices is unknown, z is as long as y
            z, y, x = stack.spacing
            spacing = (z or y, y, x)[-(data.ndim - stack.rgb) :]
        units = [stack.unit] * (data.ndim - stack.rgb) if stack.unit and spacing else None
        viewer.add_image(data, name=path.stem, rgb=stack.rgb, scale=spacing, units=units)
