"""``napari-salt [PATH ...]``: napari with the dock widget and the given files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import napari

from napari_salt.gui._commands import open_widget
from napari_salt.gui._opening import open_files

__all__ = ["launch", "open_files"]


def launch(paths: Sequence[Path]) -> None:
    """Open napari with the widget and the files; return when its window is closed."""
    viewer = napari.Viewer()
    open_widget(viewer)
    open_files(viewer, paths)
    napari.run()
