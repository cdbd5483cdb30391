"""The dock widget: the panels from top to bottom, and what ties them to the viewer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_warning
from napari.utils.theme import get_theme
from qtpy.QtCore import QEvent, Qt, QTimer
from qtpy.QtWidgets import QFrame, QLabel, QMessageBox, QScrollArea, QVBoxLayout, QWidget

from napari_salt._autosave import Autosave
from napari_salt._layers import camera_of
from napari_salt._session import Session
from napari_salt._ties import Ties
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
"""How long after the view moves the preview follows."""
CALM_PERCENT = 4
"""Speed of napari's spinner while a job runs: about one frame a second."""


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
        self._docked = False
        self.viewer = napari_viewer
        self.session = Session(napari_viewer, self._ask, engine, autosave)
        self._make_panels()
        self._settled = QTimer(self)
        self._settled.setSingleShot(True)
        self._settled.setInterval(SETTLE_MS)
        self._settled.timeout.connect(self._on_settled)
        self.ties = Ties(self.session)
        self._connect_viewer()
        self.session.problem.connect(self._show_problem)
        self.session.changed.connect(self._on_session_changed)
        self.annotate.follow_layers()
        self._follow_theme()
        self.destroyed.connect(self.ties.cut)

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
        for event in (viewer.layers.events.inserted, viewer.layers.events.removed):
            self.ties.connect(event, self._follow_layers)
        for layer in viewer.layers:
            layer.events.name.connect(self._follow_layers)
        for event in (viewer.dims.events.current_step, viewer.dims.events.ndisplay, camera_of(viewer).events):
            self.ties.connect(event, self._on_view_moved)
        self.ties.connect(viewer.events.theme, self._follow_theme)

    def load(self, path: str | Path) -> bool:
        """Load an adapter's file; say whether it is loaded."""
        return self.session.load_adapter(Path(path))

    def event(self, event: QEvent) -> bool:
        """Notice that the dock has let go of the widget: napari tells of its x in no other way."""
        if event.type() == QEvent.Type.ParentChange:
            if self.parent() is None and self._docked:
                self.ties.cut()
                self.deleteLater()
            self._docked = self.parent() is not None
        return bool(super().event(event))

    def _on_session_changed(self, what: str) -> None:
        if what == "touched":
            self._on_view_moved()
        elif what == "job":
            self._set_spinner_speed(CALM_PERCENT if self.session.job else 100)

    def _set_spinner_speed(self, percent: int) -> None:
        """Slow down the spinner of napari's activity dock: every frame repaints the canvas.

        Without a graphics card that took nearly half of the training's time (1.03 against 1.86 s a step).
        """
        for label in self.window().findChildren(QLabel):
            if label.movie() is not None:
                label.movie().setSpeed(percent)

    def _follow_layers(self, event: Any = None) -> None:
        if getattr(event, "type", "") == "inserted":
            event.value.events.name.connect(self._follow_layers)
        self.annotate.follow_layers()

    def _follow_theme(self, _event: Any = None) -> None:
        theme = get_theme(self.viewer.theme)
        self.train.plot.set_colors(theme.text.as_hex(), theme.background.as_hex())

    def _on_view_moved(self, _event: Any = None) -> None:
        if not self._settled.isActive():
            self._settled.start()

    def _on_settled(self) -> None:
        """Follow the view and the paint, at most ten times a second."""
        self.session.recount()
        self.session.previewing.refresh()
        self.session.prompting.ready()

    def _show_problem(self, text: str, control: str) -> None:
        """Notify, and mark the control at fault."""
        show_warning(text[:1].upper() + text[1:] + ("" if text.endswith(".") else "."))
        panels = {
            "base": self.model,
            "device": self.model,
            "adapter": self.model,
            "image": self.annotate,
            "channels": self.annotate,
            "prompt": self.annotate,
            "ask": self.annotate,
            "restore": self.annotate,
            "train": self.train,
            "rank": self.train,
            "look": self.train,
            "segment": self.segment,
            "range": self.segment,
            "suggest": self.next,
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
