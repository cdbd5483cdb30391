"""All connections of the widget with its viewer (events, keys, the mouse), made and removed in one place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from napari.layers import Labels
from qtpy.QtWidgets import QApplication

from napari_salt.gui._help import KeyHelp
from napari_salt.gui._keys import KEYS
from napari_salt.session._guard import Connections, Reports, guarded
from napari_salt.session._layers import camera_of
from napari_salt.session._session import Session

__all__ = ["Ties"]

CLASS_KEYS = 9
DRAG_PIXELS = 3.0
"""A shorter drag, in pixels of the image, counts as a click."""
GRAB_PIXELS = 8
"""How near the mouse must be to the line of a comparison to move it, in pixels of the screen."""


class Ties:
    """All connections of the viewer and the application with a session.

    Parameters
    ----------
    session
        Closed by `cut`.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._viewer = session.viewer
        self._reports = Reports()
        self.connections = Connections()
        self._viewer.mouse_drag_callbacks.append(self._on_mouse)
        self._viewer.mouse_move_callbacks.append(self._on_move)
        for key, action in KEYS.items():
            self._viewer.bind_key(key, guarded(partial(_run, action, session)), overwrite=True)
        self._keyed: Labels | None = None
        self._help = KeyHelp(session.viewer)
        self.connections.add(self._key_labels, session.changed.labels)
        self._key_labels()
        self.connections.add(self.cut, QApplication.instance().aboutToQuit)

    def cut(self) -> None:
        """Disconnect from the viewer and close the session; a second call does nothing."""
        if self._on_mouse not in self._viewer.mouse_drag_callbacks:
            return
        self._viewer.mouse_drag_callbacks.remove(self._on_mouse)
        self._viewer.mouse_move_callbacks.remove(self._on_move)
        self.connections.cut()
        self._help.follow(None)
        for key in KEYS:
            self._viewer.bind_key(key, None)
        self._session.close()
        self._key_labels()

    def _key_labels(self) -> None:
        """Let the digits choose a class on the layer that is painted on, in place of napari's tools."""
        labels = self._session.labels
        if labels is self._keyed:
            return
        for value in range(1, CLASS_KEYS + 1):
            if self._keyed is not None:
                self._keyed.bind_key(str(value), None)
            if labels is not None:
                labels.bind_key(str(value), guarded(partial(_select, self._session, value)), overwrite=True)
        self._keyed = labels
        self._help.follow(labels)

    def _on_mouse(self, viewer: Any, event: Any) -> Iterator[None]:
        """Handle the mouse; an exception is reported and does not reach napari."""
        with self._reports.caught():
            yield from self._take_prompt(viewer, event)
            yield from self._take_line(viewer, event)

    def _on_move(self, viewer: Any, event: Any) -> None:
        """While prompts are on, show what a click would give."""
        with self._reports.caught():
            prompting, source = self._session.prompting, self._session.source
            if prompting.active and source is not None and viewer.dims.ndisplay == 2:
                y, x = source.pixel_at(event.position)
                height, width = source.stack.shape[1:3]
                if 0 <= y < height and 0 <= x < width:
                    prompting.hover(y, x)

    def _take_line(self, viewer: Any, event: Any) -> Iterator[None]:
        """Move the line of a comparison with the mouse, unless the click belongs to a tool."""
        swiping, active = self._session.swiping, viewer.layers.selection.active
        tool = "pan_zoom" if active is None else str(active.mode)
        if self._session.prompting.active or tool != "pan_zoom" or not swiping.on:
            return
        if swiping.grab(event.position, GRAB_PIXELS / camera_of(viewer).zoom):
            with _still(viewer):
                yield
                while event.type == "mouse_move":
                    swiping.drag(event.position)
                    yield

    def _take_prompt(self, viewer: Any, event: Any) -> Iterator[None]:
        """While prompts are on, take a click as a point (with Alt: not in the object) and a drag as a box."""
        prompting, source = self._session.prompting, self._session.source
        if not prompting.active or source is None or viewer.dims.ndisplay != 2:
            return
        start = np.array(source.pixel_at(event.position))
        positive = "Alt" not in event.modifiers
        with _still(viewer):
            yield
            while event.type == "mouse_move":
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


@contextmanager
def _still(viewer: Any) -> Iterator[None]:
    """Switch off panning with the mouse in the block; marking a move as handled comes too late for that."""
    camera = camera_of(viewer)
    pans = camera.mouse_pan
    camera.mouse_pan = False
    try:
        yield
    finally:
        camera.mouse_pan = pans


def _select(session: Session, value: int, _layer: Any) -> None:
    session.painting.select_known(value)


def _run(action: Callable[[Session], None], session: Session, _viewer: Any) -> None:
    action(session)
