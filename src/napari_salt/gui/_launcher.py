"""``napari-salt [PATH ...]``: napari with the dock widget and the given files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import napari
from napari.layers import Layer

from napari_salt.gui._commands import open_widget
from napari_salt.io._table import is_stack
from napari_salt.session._layer_files import layers_of
from napari_salt.terms.errors import InputError

__all__ = ["launch", "open_files"]


def launch(paths: Sequence[Path]) -> None:
    """Open napari with the widget and the files; return when its window is closed."""
    viewer = napari.Viewer()
    open_widget(viewer)
    open_files(viewer, paths)
    napari.run()


def open_files(viewer: napari.Viewer, paths: Sequence[Path]) -> None:
    """Add the files to the viewer: stacks with their voxel size, anything else as napari opens it."""
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
