"""The live plot of a training: loss, and Dice on held-out paint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

import pyqtgraph as pg
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_salt.terms.text import shortened

if TYPE_CHECKING:
    from napari_salt.session._history import History

__all__ = ["TrainingPlot"]

HEIGHT = 132
LOSS, OTHER = "#8f8f8f", "#a97b3f"
TOOLTIP = (
    "Dice of each class on held-out paint, in the class's colour (dashed: a random forest on the same "
    "paint); the loss, a mean of 10 steps as a share of its highest, in grey; the mean Dice of other "
    "trainings, dotted."
)
SMOOTHED = 10
"""The loss is drawn as a mean over this many steps: single crops differ a lot."""
MAX_NAME = 24
LEAST_STEPS = 10
"""Steps along the axis at least, so that its numbers are whole."""


class TrainingPlot(QWidget):
    """Held-out Dice in the classes' colours, a random forest's dashed, and the loss, with a legend."""

    def __init__(self) -> None:
        super().__init__()
        self.setToolTip(TOOLTIP)
        self.graph = pg.PlotWidget(background=None)
        self.graph.setFixedHeight(HEIGHT)
        self.graph.setMenuEnabled(False)
        self.graph.getPlotItem().setContentsMargins(0, 6, 4, 5)  # below: the label's descenders
        self.graph.setLimits(xMin=0, minXRange=LEAST_STEPS)
        self.graph.setMouseEnabled(x=False, y=False)
        self.graph.hideButtons()
        self.graph.setYRange(0, 1, padding=0.08)
        self._loss = self.graph.plot([], [], pen=pg.mkPen(LOSS, width=1))
        self._curves: dict[int, pg.PlotDataItem] = {}
        self._forests: list[pg.InfiniteLine] = []
        self._others: list[pg.PlotDataItem] = []
        self.legend = QLabel()
        self.legend.setTextFormat(Qt.TextFormat.RichText)
        self.legend.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.graph)
        layout.addWidget(self.legend)

    def show_history(
        self,
        history: History,
        names: Mapping[int, str],
        colors: Mapping[int, str],
        others: Sequence[History] = (),
    ) -> None:
        """Draw the course of a training so far.

        Parameters
        ----------
        names, colors
            Name and colour ("#rrggbb") by label value.
        others
            Earlier trainings to compare with; their mean Dice is drawn dotted.
        """
        losses = _smooth(history.losses)
        highest = max(losses, default=1.0)
        self._loss.setData(history.steps, [loss / highest for loss in losses])
        scored = {value for _, dice in history.scores for value in dice}
        for value in set(self._curves) - scored:
            self.graph.removeItem(self._curves.pop(value))
        for value in sorted(scored):
            self._draw(value, history, colors.get(value, "#e6194b"))
        self._draw_forests(history.forest, colors)
        self._draw_others(others)
        self.legend.setText(_legend(history, scored, names, colors, bool(others)))

    def curves(self) -> list[pg.PlotDataItem]:
        """The loss, the Dice of each class, and other trainings."""
        return list(self.graph.listDataItems())

    def _draw(self, value: int, history: History, color: str) -> None:
        if value not in self._curves:
            self._curves[value] = self.graph.plot([], [], symbol="o", symbolSize=5)
        curve = self._curves[value]
        curve.setPen(pg.mkPen(color, width=2))
        curve.setSymbolBrush(color)
        curve.setData(*history.curve(value))

    def _draw_forests(self, forest: Mapping[int, float], colors: Mapping[int, str]) -> None:
        while self._forests:
            self.graph.removeItem(self._forests.pop())
        for value, dice in forest.items():
            pen = pg.mkPen(colors.get(value, "#e6194b"), width=1, style=Qt.PenStyle.DashLine)
            self._forests.append(pg.InfiniteLine(dice, angle=0, pen=pen))
            self.graph.addItem(self._forests[-1])

    def _draw_others(self, others: Sequence[History]) -> None:
        while self._others:
            self.graph.removeItem(self._others.pop())
        for other in others:
            pen = pg.mkPen(OTHER, width=1, style=Qt.PenStyle.DotLine)
            steps = [step for step, dice in other.scores if dice]
            means = [sum(dice.values()) / len(dice) for _, dice in other.scores if dice]
            self._others.append(self.graph.plot(steps, means, pen=pen))

    def set_colors(self, text: str, background: str) -> None:
        """Set the colour of axes and their texts, and of the background."""
        self.graph.setBackground(background)
        for side, name in (("left", "Dice, loss"), ("bottom", "steps")):
            axis = self.graph.getAxis(side)
            axis.setPen(text)
            axis.setTextPen(text)
            axis.setLabel(name, color=text)
            axis.enableAutoSIPrefix(False)


def _legend(
    history: History,
    scored: set[int],
    names: Mapping[int, str],
    colors: Mapping[int, str],
    others: bool,  # noqa: FBT001
) -> str:
    parts = []
    for value in sorted(scored):
        dice = history.curve(value)[1][-1]
        forest = history.forest.get(value)
        beside = "" if forest is None else f" (forest {forest:.2f}, dashed)"
        name = escape(shortened(names.get(value, str(value)), MAX_NAME))
        parts.append(f"{_mark(colors.get(value, '#e6194b'))} {name} {dice:.2f}{beside}")
    parts.append(f"{_mark(LOSS)} loss")
    if others:
        parts.append(f"{_mark(OTHER)} other trainings")
    return " &nbsp; ".join(parts)


def _mark(color: str) -> str:
    return f"<span style='color: {color}'>\u25cf</span>"


def _smooth(losses: Sequence[float]) -> list[float]:
    """Mean of each loss and up to nine before it."""
    total, means = 0.0, []
    for position, loss in enumerate(losses):
        total += loss - (losses[position - SMOOTHED] if position >= SMOOTHED else 0.0)
        means.append(total / min(position + 1, SMOOTHED))
    return means
