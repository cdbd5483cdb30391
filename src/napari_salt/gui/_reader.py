"""What napari opens with this plugin: adapters and projects, into the dock widget, and stacks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari
from napari.utils.notifications import show_warning

from napari_salt.io._paths import is_there
from napari_salt.io._table import format_to_read
from napari_salt.session._layer_files import layers_of
from napari_salt.terms.card import AdapterCard
from napari_salt.terms.errors import AdapterError, InputError
from napari_salt.terms.project import Project
from napari_salt.terms.text import printable, unmarked

if TYPE_CHECKING:
    from napari_salt.gui._dock import SaltWidget

__all__ = ["get_project_reader", "get_reader", "get_stack_reader"]

LayerData = tuple[Any, ...]


def get_reader(path: str | list[str]) -> Callable[[str | list[str]], list[LayerData]] | None:
    """Give the reader of one adapter file.

    Parameters
    ----------
    path
        One path, or several.

    Returns
    -------
    callable or None
        None for several paths, for another ending than .safetensors, and, with a notification that says why,
        for a .safetensors file that is no adapter.
    """
    path = _only(path)
    if not path.endswith(".safetensors"):
        return None
    try:
        AdapterCard.read(path)
    except AdapterError as error:
        show_warning(unmarked(printable(str(error))))
        return None
    return _load


def get_project_reader(path: str | list[str]) -> Callable[[str | list[str]], list[LayerData]] | None:
    """Give the reader of one project file.

    Parameters
    ----------
    path
        One path, or several.

    Returns
    -------
    callable or None
        None for several paths, for another ending than .toml, and, with a notification that says why, for a
        .toml file that is no project.
    """
    path = _only(path)
    if not path.endswith(".toml"):
        return None
    try:
        Project.load(path)
    except InputError as error:
        show_warning(unmarked(printable(str(error))))
        return None
    return _open_project


def _only(path: str | list[str]) -> str:
    """The path, also in a list of its own, as napari gives what is dropped with Shift; "" of several."""
    if isinstance(path, str):
        return path
    return path[0] if len(path) == 1 else ""


def _load(path: str | list[str]) -> list[LayerData]:
    """Load the adapter into the current viewer's widget; add no layer."""
    widget = _widget()
    if widget is not None:
        widget.load(Path(_only(path)))
    return [(None,)]


def _open_project(path: str | list[str]) -> list[LayerData]:
    """Open the project in the current viewer's widget, which adds the layers."""
    widget = _widget()
    if widget is not None:
        widget.open_project(Path(_only(path)))
    return [(None,)]


def _widget() -> SaltWidget | None:
    """The widget of the current viewer; without a viewer a notification says so."""
    from napari_salt.gui._commands import open_widget

    viewer = napari.current_viewer()
    if viewer is None:
        show_warning("adapters and projects are opened in napari's window; open one first")
        return None
    return open_widget(viewer)


def get_stack_reader(path: str | list[str]) -> Callable[[str | list[str]], list[LayerData]] | None:
    """Give the reader of one file or folder of a format that `read_stack` reads.

    Parameters
    ----------
    path
        One path, or several.

    Returns
    -------
    callable or None
        None for several paths, and for what is of no known format.
    """
    path = _only(path)
    if not path or not is_there(Path(path)):
        return None
    try:
        format_to_read(Path(path))
    except InputError:
        return None
    return _layers


def _layers(path: str | list[str]) -> list[LayerData]:
    return [*layers_of(Path(_only(path)))]
