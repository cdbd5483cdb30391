"""The dock widget: the panels from top to bottom, and their connections with the viewer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_warning
from napari.utils.theme import get_theme
from qtpy.QtCore import QEvent, Qt, QTimer
from qtpy.QtWidgets import QFrame, QLabel, QMessageBox, QScrollArea, QVBoxLayout, QWidget

from napari_salt.engine._client import ENGINE, EngineProcess
from napari_salt.gui._main_thread import MainThread
from napari_salt.gui._ties import Ties
from napari_salt.gui.panels._look import style_of
from napari_salt.gui.panels._panel import Fold, Panel
from napari_salt.gui.panels.image import ImagePanel
from napari_salt.gui.panels.model import ModelPanel
from napari_salt.gui.panels.paint import PaintPanel
from napari_salt.gui.panels.project import ProjectPanel
from napari_salt.gui.panels.results import ResultsPanel
from napari_salt.gui.panels.segment import SegmentPanel
from napari_salt.gui.panels.share import SharePanel
from napari_salt.gui.panels.train import TrainPanel
from napari_salt.session._autosave import Autosave
from napari_salt.session._guard import Reports, connect
from napari_salt.session._guide import Step, advise
from napari_salt.session._layers import camera_of
from napari_salt.session._session import Session
from napari_salt.terms.config import SegmentConfig, TrainConfig
from napari_salt.terms.options import options_of
from napari_salt.terms.text import printable, unmarked

if TYPE_CHECKING:
    import napari

__all__ = ["SaltWidget"]

WIDTH = 320
WORK = "image", "labels", "paint", "tool", "adapter", "job", "training", "segmenting", "results"
"""Changes that may bring the next step."""
SETTLE_MS = 100
"""Milliseconds from a move of the view to the new preview."""
COUNTING_SECONDS = 0.03
"""Seconds for counting paint at a time; the rest is counted after another `SETTLE_MS`."""
CALM_PERCENT = 4
"""Speed of napari's spinner during a job, in percent of the usual: about one frame a second."""


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
        self._reports = Reports()
        self.viewer = napari_viewer
        self.session = Session(napari_viewer, self._ask, EngineProcess(MainThread(), engine), autosave)
        self._make_panels()
        self._settled = QTimer(self)
        self._settled.setSingleShot(True)
        self._settled.setInterval(SETTLE_MS)
        connect(self._settled.timeout, self._on_settled)
        self.ties = Ties(self.session)
        self._connect_viewer()
        connect(self.session.problem, self._show_problem)
        connect(self.session.changed.touched, self._on_view_moved)
        connect(self.session.changed.job, self._on_job)
        work = [getattr(self.session.changed, name) for name in WORK]
        self.ties.connections.add(self._follow_work, *work)
        self.session.follow_layers()
        self._follow_theme()
        self._follow_work()
        connect(self.destroyed, self.ties.cut)

    def _make_panels(self) -> None:
        body = QWidget()
        layout = QVBoxLayout(body)
        layout.setContentsMargins(2, 2, 2, 2)
        layout.setSpacing(0)
        session = self.session
        self.image, self.paint = ImagePanel(session), PaintPanel(session)
        self.train, self.segment = TrainPanel(session), SegmentPanel(session)
        self.share, self.model = SharePanel(session), ModelPanel(session)
        self.results, self.project = ResultsPanel(session), ProjectPanel(session)
        self.steps: Mapping[Step, Panel] = {
            "image": self.image,
            "paint": self.paint,
            "train": self.train,
            "segment": self.segment,
            "share": self.share,
            "results": self.results,
        }
        self._shown: frozenset[Step] = frozenset()
        for panel in (*self.steps.values(), self.model, self.project):
            layout.addWidget(panel)
        layout.addStretch()
        self.setWidget(body)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMinimumWidth(WIDTH)

    def _connect_viewer(self) -> None:
        add, layers, dims = self.ties.connections.add, self.viewer.layers, self.viewer.dims
        add(self._on_inserted, layers.events.inserted)
        add(self.results.refresh, layers.events.inserted, layers.events.removed)
        add(self._on_view_moved, layers.events.removed)
        add(self._on_layers, layers.events.removed, *(layer.events.name for layer in layers))
        moves = (dims.events.current_step, dims.events.ndisplay, dims.events.order)
        add(self._on_view_moved, *moves, camera_of(self.viewer).events)
        add(self.session.swiping.follow, dims.events.ndisplay)
        add(self._follow_theme, self.viewer.events.theme)

    def load(self, path: str | Path) -> bool:
        """Load an adapter's file; True if it is loaded."""
        return self.session.load_adapter(Path(path))

    def open_project(self, path: str | Path) -> bool:
        """Open a project's file; True if it is opened."""
        return self.session.projects.open(Path(path))

    def event(self, event: QEvent) -> bool:
        """Clean up when the dock is closed; napari emits no signal for that."""
        if event.type() == QEvent.Type.ParentChange:
            with self._reports.caught():
                self._on_parent_changed()
        return bool(super().event(event))

    def _on_parent_changed(self) -> None:
        if self.parent() is None and self._docked:
            self.ties.cut()
            self.deleteLater()
        self._docked = self.parent() is not None

    def _on_job(self) -> None:
        self._set_spinner_speed(CALM_PERCENT if self.session.job else 100)

    def _set_spinner_speed(self, percent: int) -> None:
        """Set the speed of the spinner in napari's activity dock: every frame repaints the canvas.

        Without a graphics card that took nearly half of the training time (1.86 s a step; slowed down, 1.03).
        """
        for label in self.window().findChildren(QLabel):
            if label.movie() is not None:
                label.movie().setSpeed(percent)

    def _on_inserted(self, event: Any) -> None:
        self.ties.connections.add(self._on_layers, event.value.events.name)
        self._on_layers()

    def _on_layers(self) -> None:
        self.session.follow_layers()
        self.image.refresh()
        self.paint.refresh()

    def _follow_work(self) -> None:
        """Open the sections that come next, and fold the others but those that the user has opened."""
        advice = advise(self.session)
        for step, panel in self.steps.items():
            panel.show_next(advice.text if step == advice.step else "")
            if step in advice.shown - self._shown:
                panel.expand(animate=False)
            elif step in self._shown - advice.shown and not panel.by_hand:
                panel.collapse(animate=False)
        self._shown = advice.shown

    def _follow_theme(self) -> None:
        theme = get_theme(self.viewer.theme)
        self.setStyleSheet(style_of(theme))
        for fold in self.findChildren(Fold):
            fold.set_color(theme.text.as_hex())
        self.paint.strip.set_colors(*(getattr(theme, n).as_hex() for n in ("primary", "current", "text")))
        self.train.plot.set_colors(theme.text.as_hex(), theme.background.as_hex())

    def _on_view_moved(self) -> None:
        if not self._settled.isActive():
            self._settled.start()

    def _on_settled(self) -> None:
        """Update paint counts, preview and prompt for the present view, at most ten times a second."""
        self.session.recount(COUNTING_SECONDS)
        self.session.swiping.follow()
        self.paint.show_slices()
        self.session.previewing.refresh()
        self.session.prompting.ready()

    def _show_problem(self, text: str, control: str) -> None:
        """Notify the user, and show the problem on the panel of the control at fault."""
        text = printable(text)
        show_warning(unmarked(text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")))
        panels = {
            "base": self.model,
            "device": self.model,
            "adapter": self.model,
            "library": self.model,
            "fetch": self.model,
            "image": self.image,
            "channels": self.image,
            "restore": self.image,
            "labels": self.paint,
            "prompt": self.paint,
            "ask": self.paint,
            "train": self.train,
            "look": self.train,
            "segment": self.segment,
            "range": self.segment,
            "measure": self.results,
            "write": self.results,
            "report": self.results,
            "compare": self.results,
            "correct": self.results,
            "suggest": self.paint.next,
            "project": self.project,
        }
        of_group = {"paint": self.paint, "segmenting": self.segment}
        for config in (SegmentConfig, TrainConfig):
            for name, option in options_of(config).items():
                panels.setdefault(name, of_group.get(option.group, self.train))
        panel = panels.get(control)
        if panel is not None:
            panel.reveal()
            panel.tell(text)
            self.ensureWidgetVisible(panel)

    def _ask(self, text: str, answers: Sequence[str]) -> str | None:
        box = QMessageBox(self)
        box.setWindowTitle("napari-salt")
        box.setTextFormat(Qt.TextFormat.PlainText)
        box.setText(printable(text, "\n"))
        buttons = {box.addButton(answer, QMessageBox.ButtonRole.AcceptRole): answer for answer in answers}
        cancel = box.addButton(QMessageBox.StandardButton.Cancel)
        box.setEscapeButton(cancel)
        box.exec()
        clicked = box.clickedButton()
        return next((answer for button, answer in buttons.items() if button is clicked), None)
