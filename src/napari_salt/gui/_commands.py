"""The commands of the manifest, which the command palette and the menus run on the current viewer."""

from __future__ import annotations

from napari.viewer import Viewer

from napari_salt.gui._dock import SaltWidget
from napari_salt.session._session import Session

__all__ = [
    "load_adapter",
    "next_slice",
    "open_project",
    "open_widget",
    "save_adapter",
    "save_project",
    "segment_slice",
    "segment_stack",
    "stop",
    "train",
]


DOCK = "SALT (napari-salt)"
"""Name of the dock: that of the Plugins menu, so that the menu finds a widget that was opened here."""


def open_widget(viewer: Viewer) -> SaltWidget:
    """Dock the widget in `viewer`, or show the docked one; give the widget."""
    docked = (w for w in viewer.window.dock_widgets.values() if isinstance(w, SaltWidget))
    widget = next(docked, None)
    if widget is None:
        widget = SaltWidget(viewer)
        viewer.window.add_dock_widget(widget, name=DOCK)
    else:
        widget.parent().show()
    return widget


def train(viewer: Viewer) -> None:
    """Train on what is painted."""
    _session(viewer).training.start()


def stop(viewer: Viewer) -> None:
    """Stop what is running."""
    _session(viewer).stop()


def segment_slice(viewer: Viewer) -> None:
    """Segment the slice that is shown."""
    _session(viewer).segmenting.current_slice()


def segment_stack(viewer: Viewer) -> None:
    """Segment all slices."""
    _session(viewer).segmenting.stack()


def next_slice(viewer: Viewer) -> None:
    """Go to the slice to paint next."""
    _session(viewer).suggesting.go_to_next()


def load_adapter(viewer: Viewer) -> None:
    """Ask for an adapter's file and load it."""
    open_widget(viewer).model.load.click()


def save_adapter(viewer: Viewer) -> None:
    """Ask where to save the adapter."""
    open_widget(viewer).share.save.click()


def open_project(viewer: Viewer) -> None:
    """Ask for a project's file and open it."""
    open_widget(viewer).project.open.click()


def save_project(viewer: Viewer) -> None:
    """Ask where to save the session's work as a project."""
    open_widget(viewer).project.save.click()


def _session(viewer: Viewer) -> Session:
    return open_widget(viewer).session
