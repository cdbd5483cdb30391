"""Comparing two results: where they differ, and one beside the other with a line that moves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QSlider

from napari_salt.gui.panels._layer_box import layer_box
from napari_salt.gui.panels._panel import Fold, Panel, button, explain, row, words
from napari_salt.session._comparing import Side, name_of
from napari_salt.session._guard import Connections, connect

if TYPE_CHECKING:
    from napari_salt.session._session import Session

__all__ = ["CompareFold", "fill_sides"]

DIFFERENCE = "Show where two labels layers differ (Shift-C)."
SWIPE = "Show both, divided by a line that moves (Shift-X: all of the one, then of the other)."
END = "Take the comparison away and show the layers again."
SLIDER = "The line; it can also be moved on the picture."
STEPS = 1000


class CompareFold(Fold):
    """What is compared with what, and how it is shown."""

    def __init__(self, session: Session) -> None:
        super().__init__("compare")
        self._session = session
        swiping = session.swiping
        self.left = layer_box("What is on the left of the line.")
        self.right = layer_box("What is on the right of the line.")
        connect(self.left.activated, lambda n: self._choose(left=self.left.itemData(n)))
        connect(self.right.activated, lambda n: self._choose(right=self.right.itemData(n)))
        self.swipe = button("Swipe", SWIPE, swiping.toggle)
        self.difference = button("Difference", DIFFERENCE, session.comparing.start)
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(0, STEPS)
        self.slider.setToolTip(SLIDER)
        self.slider.setAccessibleName("line")
        connect(self.slider.valueChanged, lambda value: swiping.move(value / STEPS))
        self.about = words()
        form = Panel.form_of(self)
        form.addRow("left", self.left)
        form.addRow("right", self.right)
        form.addRow(row(self.swipe, self.difference))
        form.addRow(self.slider)
        form.addRow(self.about)
        self._connections = Connections()
        self._connections.add(self.refresh, session.changed.comparing)

    def refresh(self) -> None:
        """Show the session's state."""
        comparing, swiping = self._session.comparing, self._session.swiping
        sides = comparing.sides
        fill_sides(self.left, sides, comparing.left)
        fill_sides(self.right, sides, comparing.right)
        self.swipe.setText("End" if swiping.on else "Swipe")
        explain(self.swipe, "" if swiping.on else swiping.cannot, END if swiping.on else SWIPE)
        explain(self.difference, comparing.cannot, DIFFERENCE)
        self.slider.setVisible(swiping.on)
        self.slider.blockSignals(True)
        self.slider.setValue(round(STEPS * swiping.place))
        self.slider.blockSignals(False)
        self.about.setText(swiping.words)
        self.about.setVisible(swiping.on)
        self.set_state("one beside the other" if swiping.on else "")

    def _choose(self, left: Side | None = None, right: Side | None = None) -> None:
        self._session.comparing.choose(left, right)
        self._session.swiping.restart()


def fill_sides(box: QComboBox, sides: Sequence[Side], chosen: Side | None) -> None:
    """Let the user choose one of the sides, such as labels layers."""
    if [box.itemData(n) for n in range(box.count())] != [*sides] or any(
        box.itemText(n) != name_of(side) for n, side in enumerate(sides)
    ):
        box.clear()
        for side in sides:
            box.addItem(name_of(side), side)
    box.setCurrentIndex(next((n for n, side in enumerate(sides) if side is chosen or side == chosen), -1))
