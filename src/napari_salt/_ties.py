"""What ties the widget to its viewer: events, keys, the mouse; made and cut in one place."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from qtpy.QtWidgets import QApplication

from napari_salt._keys import KEYS
from napari_salt._session import Session

__all__ = ["Ties"]

DRAG_PIXELS = 3.0
"""A drag that goes less far is a click."""


class Ties:
    """Everything by which the viewer and the application hold on to a session.

    Parameters
    ----------
    session
        It is closed when the ties are cut.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._viewer = session.viewer
        self._connections: list[tuple[Any, Callable[..., Any]]] = []
        self._viewer.mouse_drag_callbacks.append(self._on_mouse)
        for key, action in KEYS.items():
            self._viewer.bind_key(key, lambda _viewer, action=action: action(session), overwrite=True)
        QApplication.instance().aboutToQuit.connect(self.cut)

    def connect(self, event: Any, callback: Callable[..., Any]) -> None:
        """Call `callback` at `event` until the ties are cut."""
        event.connect(callback)
        self._connections.append((event, callback))

    def cut(self) -> None:
        """Let go of the viewer and end all work; a second time does nothing."""
        if self._on_mouse not in self._viewer.mouse_drag_callbacks:
            return
        self._viewer.mouse_drag_callbacks.remove(self._on_mouse)
        for event, callback in self._connections:
            with contextlib.suppress(RuntimeError):  # Qt may have deleted the callback's widget
                event.disconnect(callback)
        self._connections.clear()
        for key in KEYS:
            self._viewer.bind_key(key, None)
        with contextlib.suppress(RuntimeError, TypeError):  # Qt may have let go first
            QApplication.instance().aboutToQuit.disconnect(self.cut)
        self._session.close()

    def _on_mouse(self, viewer: Any, event: Any) -> Iterator[None]:
        """Take a click as a point prompt and a drag as a box prompt, while prompts are on."""
        prompting, source = self._session.prompting, self._session.source
        if not prompting.active or source is None or viewer.dims.ndisplay != 2:
            return
        start = np.array(source.pixel_at(event.position))
        positive = "Alt" not in event.modifiers
        yield
        while event.type == "mouse_move":
            event.handled = True
            yield
        end = np.array(source.pixel_at(event.position))
        limits = np.array(source.stack.shape[1:3]) - 1
        if np.abs(end - start).max() < DRAG_PIXELS:
            if (np.round(start) >= 0).all() and (np.round(start) <= limits).all():
                prompting.add_point(float(start[0]), float(start[1]), positive=positive)
            return
        (top, left), (bottom, right) = np.sort([start, end], axis=0).clip(0, limits).tolist()
        if top < bottom and left < right:
            prompting.set_box(top, left, bottom, right)
