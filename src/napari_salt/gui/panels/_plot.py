"""The live plot of a training: loss, and Dice on held-out paint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

import pyqtgraph as pg

if TYPE_CHECKING:
    from napari_salt.session._training import History

__all__ = ["TrainingPlot"]

HEIGHT = 150
TOOLTIP = (
    "Over the steps. Grey: loss, mean of 10 steps, as a share of its highest. Colours: Dice of each class on "
    "held-out paint."
)
SMOOTHED = 10
"""The loss is drawn as a mean over this many steps: single crops differ a lot."""


class TrainingPlot(pg.PlotWidget):
    """Loss, as a share of its highest, in grey and held-out Dice in the classes' colours, over the steps."""

    def __init__(self) -> None:
        super().__init__(background=None)
        self.setFixedHeight(HEIGHT)
        self.setToolTip(TOOLTIP)
        self.setMenuEnabled(False)
        self.setMouseEnabled(x=False, y=False)
        self.hideButtons()
        self.setYRange(0, 1, padding=0.03)
        self._loss = self.plot([], [], pen=pg.mkPen("#8f8f8f", width=1))
        self._curves: dict[int, pg.PlotDataItem] = {}

    def show_history(self, history: History, names: Mapping[int, str], colors: Mapping[int, str]) -> None:
        """Draw the course of a training so far; `names` and `colors` ("#rrggbb") are by label value."""
        losses = _smooth(history.losses)
        highest = max(losses, default=1.0)
        self._loss.setData(history.steps, [loss / highest for loss in losses])
        scored = {value for _, dice in history.scores for value in dice}
        for value in set(self._curves) - scored:
            self.removeItem(self._curves.pop(value))
        for value in sorted(scored):
            if value not in self._curves:
                self._curves[value] = self.plot([], [], symbol="o", symbolSize=5)
            curve, color = self._curves[value], colors.get(value, "#e6194b")
            curve.setPen(pg.mkPen(color, width=2))
            curve.setSymbolBrush(color)
            curve.setData(*history.curve(value), name=escape(names.get(value, str(value))))

    def set_colors(self, text: str, background: str) -> None:
        """Set the colour of axes and their texts, and of the background."""
        self.setBackground(background)
        for side in ("left", "bottom"):
            axis = self.getAxis(side)
            axis.setPen(text)
            axis.setTextPen(text)


def _smooth(losses: Sequence[float]) -> list[float]:
    """Mean of each loss and up to nine before it."""
    total, means = 0.0, []
    for position, loss in enumerate(losses):
        total += loss - (losses[position - SMOOTHED] if position >= SMOOTHED else 0.0)
        means.append(total / min(position + 1, SMOOTHED))
    return means
