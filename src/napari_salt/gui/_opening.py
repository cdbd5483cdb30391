"""Open files in napari: stacks with their geometry, anything else as napari opens it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari.layers import Layer

from napari_salt.io._table import is_stack
from napari_salt.session._layer_files import layers_of
from napari_salt.terms.errors import InputError

if TYPE_CHECKING:
    import napari

__all__ = ["open_files"]


def open_files(viewer: napari.viewer.Viewer, paths: Sequence[Path]) -> None:
    """Add the files to the viewer: stacks with their geometry, anything else as napari opens it."""
    for path in paths:
        if not (is_stack(path) or path.is_dir()):
            viewer.open(path, plugin=None)
            continue
        try:
            layers = layers_of(path)
        except InputError:
            viewer.open(path, plugin=None)  # napari or another plugin may know better
            continue
        for layer in layers:
            viewer.add_layer(Layer.create(*layer))
