"""The live plot of a training: loss, and Dice on held-out paint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pyqtgraph as pg

if TYPE_CHECKING:
    from napari_salt._training import History

__all__ = ["TrainingPlot"]

HEIGHT = 150
SMOOTHED = 10
"""The loss is drawn as a mean over this many steps: single crops differ a lot."""


class TrainingPlot(pg.PlotWidget):
    """Loss in grey and held-out Dice in the classes' colours over the steps; both from 0 to 1."""

    def __init__(self) -> None:
        super().__init__(background=None)
        self.setFixedHeight(HEIGHT)
        self.setToolTip("Grey: loss (mean of 10 steps). Colours: Dice of each class on held-out paint.")
        self.setMenuEnabled(False)
        self.setMouseEnabled(x=False, y=False)
        self.hideButtons()
        self.setLabel("bottom", "steps")
        self._loss = self.plot([], [], pen=pg.mkPen("#8f8f8f", width=1))
        self._curves: dict[int, pg.PlotDataItem] = {}

    def show_history(self, history: History, names: Mapping[int, str], colors: Mapping[int, str]) -> None:
        """Draw the course of a training so far."""
        self._loss.setData(history.steps, _smooth(history.losses))
        for value in set(self._curves) - set(history.scores):
            self.removeItem(self._curves.pop(value))
        for value, dice in history.scores.items():
            if value not in self._curves:
                self._curves[value] = self.plot([], [], symbol="o", symbolSize=5)
            curve, color = self._curves[value], colors.get(value, "#e6194b")
            curve.setPen(pg.mkPen(color, width=2))
            curve.setSymbolBrush(color)
            curve.setData(history.scored_steps[-len(dice) :], dice, name=names.get(value, str(value)))
        top = max([1.0, *_smooth(history.losses)[-1:]])
        self.setYRange(0, top, padding=0.02)

    def set_text_color(self, color: str) -> None:
        """Draw axes and their texts in `color`, that of napari's theme."""
        for side in ("left", "bottom"):
            axis = self.getAxis(side)
            axis.setPen(color)
            axis.setTextPen(color)


def _smooth(losses: Sequence[float]) -> list[float]:
    """Mean of each loss and up to nine before it."""
    total, means = 0.0, []
    for position, loss in enumerate(losses):
        total += loss - (losses[position - SMOOTHED] if position >= SMOOTHED else 0.0)
        means.append(total / min(position + 1, SMOOTHED))
    return means
