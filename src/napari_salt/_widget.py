"""The dock widget: the panels from top to bottom, and what ties them to the viewer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.notifications import show_info, show_warning
from napari.utils.theme import get_theme
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QApplication, QFrame, QMessageBox, QScrollArea, QVBoxLayout, QWidget

from napari_salt._autosave import Autosave
from napari_salt._keys import KEYS
from napari_salt._layers import camera_of
from napari_salt._session import Session
from napari_salt._workers import ENGINE
from napari_salt.widgets.annotate import AnnotatePanel
from napari_salt.widgets.model import ModelPanel
from napari_salt.widgets.next import NextPanel
from napari_salt.widgets.segment import SegmentPanel
from napari_salt.widgets.train import TrainPanel

if TYPE_CHECKING:
    import napari

__all__ = ["SaltWidget"]

WIDTH = 320
SETTLE_MS = 100
"""How long the view must rest before the preview follows it."""
DRAG_PIXELS = 3.0
"""A drag that goes less far is a click."""


class SaltWidget(QScrollArea):
    """Adapt Segment Anything to a stack, and segment it.

    Parameters
    ----------
    napari_viewer
        The viewer that it is docked in.
    engine
        Command that starts the engine.
    autosave
        Where paint and adapters are kept.
    """

    def __init__(
        self,
        napari_viewer: napari.viewer.Viewer,
        engine: Sequence[str] = ENGINE,
        autosave: Autosave | None = None,
    ) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.session = Session(napari_viewer, self._ask, engine, autosave)
        self._make_panels()
        self._settled = QTimer(self)
        self._settled.setSingleShot(True)
        self._settled.setInterval(SETTLE_MS)
        self._settled.timeout.connect(self._on_settled)
        self._connections: list[tuple[Any, Callable[..., Any]]] = []
        self._connect_viewer()
        self.session.problem.connect(self._show_problem)
        self.session.info.connect(show_info)
        self.annotate.follow_layers()
        self._follow_theme()
        self.destroyed.connect(self.session.close)
        QApplication.instance().aboutToQuit.connect(self.session.close)

    def _make_panels(self) -> None:
        body = QWidget()
        layout = QVBoxLayout(body)
        layout.setContentsMargins(2, 2, 2, 2)
        layout.setSpacing(0)
        session = self.session
        self.model, self.annotate = ModelPanel(session), AnnotatePanel(session)
        self.train, self.segment = TrainPanel(session), SegmentPanel(session)
        self.next = NextPanel(session)
        for panel in (self.model, self.annotate, self.train, self.segment, self.next):
            layout.addWidget(panel)
            panel.expand(animate=False)
        layout.addStretch()
        self.setWidget(body)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMinimumWidth(WIDTH)

    def _connect_viewer(self) -> None:
        viewer = self.viewer
        for event in (
            viewer.layers.events.inserted,
            viewer.layers.events.removed,
            viewer.layers.events.renamed,
        ):
            self._connect(event, self._follow_layers)
        for event in (viewer.dims.events.current_step, viewer.dims.events.ndisplay, camera_of(viewer).events):
            self._connect(event, self._on_view_moved)
        self._connect(viewer.events.theme, self._follow_theme)
        viewer.mouse_drag_callbacks.append(self._on_mouse)
        for key, action in KEYS.items():
            viewer.bind_key(key, lambda _viewer, action=action: action(self.session), overwrite=True)

    def _connect(self, event: Any, callback: Callable[..., Any]) -> None:
        event.connect(callback)
        self._connections.append((event, callback))

    def close_session(self) -> None:
        """End all work and let go of the viewer; for when the dock is closed."""
        for event, callback in self._connections:
            event.disconnect(callback)
        self._connections.clear()
        if self._on_mouse in self.viewer.mouse_drag_callbacks:
            self.viewer.mouse_drag_callbacks.remove(self._on_mouse)
        self.session.close()

    def load(self, path: str | Path) -> bool:
        """Load an adapter's file; say whether it is loaded."""
        return self.session.load_adapter(Path(path))

    def _follow_layers(self, _event: Any = None) -> None:
        self.annotate.follow_layers()

    def _follow_theme(self, _event: Any = None) -> None:
        theme = get_theme(self.viewer.theme)
        self.train.plot.set_colors(theme.text.as_hex(), theme.background.as_hex())

    def _on_view_moved(self, _event: Any = None) -> None:
        self._settled.start()

    def _on_settled(self) -> None:
        """Follow the view, now that it rests."""
        self.session.recount_current()
        self.session.previewing.refresh()
        self.session.prompting.ready()

    def _on_mouse(self, viewer: Any, event: Any) -> Any:
        """Take a click as a point prompt and a drag as a box prompt, while prompts are on."""
        prompting, source = self.session.prompting, self.session.source
        if not prompting.active or source is None or viewer.dims.ndisplay != 2:
            return
        start = np.array(source.pixel_at(event.position))
        positive = "Alt" not in event.modifiers
        yield
        while event.type == "mouse_move":
            event.handled = True
            yield
        end = np.array(source.pixel_at(event.position))
        (top, left), (bottom, right) = np.minimum(start, end), np.maximum(start, end)
        height, width = source.stack.shape[1:3]
        if max(bottom - top, right - left) < DRAG_PIXELS:
            if 0 <= round(start[0]) < height and 0 <= round(start[1]) < width:
                prompting.add_point(float(start[0]), float(start[1]), positive=positive)
        else:
            prompting.set_box(
                max(0.0, float(top)),
                max(0.0, float(left)),
                min(height - 1.0, float(bottom)),
                min(width - 1.0, float(right)),
            )

    def _show_problem(self, text: str, control: str) -> None:
        """Notify, and mark the control at fault."""
        show_warning(text[:1].upper() + text[1:] + ("" if text.endswith(".") else "."))
        panels = {
            "image": self.annotate,
            "train": self.train,
            "rank": self.train,
            "segment": self.segment,
            "range": self.segment,
            "suggest": self.next,
            "adapter": self.model,
        }
        panel = panels.get(control)
        if panel is not None:
            panel.expand(animate=False)
            panel.tell(text)
            self.ensureWidgetVisible(panel)

    def _ask(self, text: str, answers: Sequence[str]) -> str | None:
        box = QMessageBox(self)
        box.setWindowTitle("napari-salt")
        box.setText(text)
        buttons = {box.addButton(answer, QMessageBox.ButtonRole.AcceptRole): answer for answer in answers}
        cancel = box.addButton(QMessageBox.StandardButton.Cancel)
        box.setEscapeButton(cancel)
        box.exec()
        clicked = box.clickedButton()
        return next((answer for button, answer in buttons.items() if button is clicked), None)
