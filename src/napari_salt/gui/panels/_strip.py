"""The slices of the stack as a strip: which are painted, which are complete, and which one is shown."""

from __future__ import annotations

from collections.abc import Callable, Collection

from qtpy.QtCore import QPointF, QRectF, QSize
from qtpy.QtGui import QColor, QHelpEvent, QMouseEvent, QPainter, QPaintEvent
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from napari_salt.session._guard import guarded

__all__ = ["SliceStrip"]

HEIGHT, LEAST_WIDTH = 22, 3.0
REACH = 6.0
"""Pixels from a painted slice within which a click goes there, where slices are narrower."""


class SliceStrip(QWidget):
    """One column for each slice.

    Parameters
    ----------
    go_to
        Called with the slice that is clicked on.
    """

    def __init__(self, go_to: Callable[[int], None]) -> None:
        super().__init__()
        self._go_to = guarded(go_to)
        self._count, self._shown = 0, 0
        self._painted: frozenset[int] = frozenset()
        self._complete: frozenset[int] = frozenset()
        self._colors = QColor("#2e333e"), QColor("#4560c4"), QColor("#f0f1f2")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("painted slices")

    def set_colors(self, ground: str, painted: str, shown: str) -> None:
        """Set the colours of the strip, of painted slices, and of the mark of the shown one."""
        self._colors = QColor(ground), QColor(painted), QColor(shown)
        self.update()

    def show_slices(
        self, count: int, shown: int, painted: Collection[int], complete: Collection[int]
    ) -> None:
        """Show `count` slices: the `shown` one, the `painted` ones, and those that are `complete`."""
        self._count, self._shown = count, shown
        self._painted, self._complete = frozenset(painted), frozenset(complete)
        self.update()

    def sizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """A strip of any width."""
        return QSize(120, HEIGHT)

    def place_of(self, index: int) -> float:
        """Middle of a slice's column, in pixels from the left."""
        return float((index + 0.5) * self.width() / max(1, self._count))

    def slice_at(self, x: float) -> int:
        """The slice at `x`; a painted one that is near comes first where slices are narrower than a click."""
        width = self.width() / max(1, self._count)
        near = [index for index in self._painted if abs(self.place_of(index) - x) <= REACH]
        if width < REACH and near:
            return min(near, key=lambda index: abs(self.place_of(index) - x))
        return min(max(int(x / width), 0), self._count - 1)

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        """Draw the strip: strokes fill the lower half of a column, complete slices all of it."""
        ground, painted, shown = self._colors
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        height, width = self.height() - 6.0, self.width() / max(1, self._count)
        painter.fillRect(QRectF(0, 4, self.width(), height), ground)
        column = max(width - (1.0 if width > LEAST_WIDTH else 0.0), LEAST_WIDTH)
        for index in self._painted | self._complete:
            top = 4.0 if index in self._complete else 4.0 + height / 2
            left = self.place_of(index) - column / 2
            painter.fillRect(QRectF(left, top, column, 4.0 + height - top), painted)
        if self._count:
            self._draw_shown(painter, shown, max(width, LEAST_WIDTH + 2))
        painter.end()

    def _draw_shown(self, painter: QPainter, color: QColor, width: float) -> None:
        middle = self.place_of(self._shown)
        painter.setPen(color)
        painter.setBrush(QColor(0, 0, 0, 0))
        painter.drawRect(QRectF(middle - width / 2, 2.5, width - 1, self.height() - 4.0))

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802 (Qt's name)
        """Go to the slice under the mouse."""
        if self._count:
            self._go_to(self.slice_at(_place(event).x()))

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802 (Qt's name)
        """Go along with the mouse."""
        if self._count:
            self._go_to(self.slice_at(_place(event).x()))

    def tip_at(self, x: float) -> str:
        """What is known of the slice at `x`."""
        index = self.slice_at(x)
        state = "painted completely" if index in self._complete else "painted with strokes"
        return f"slice {index}: {state if index in self._painted | self._complete else 'not painted'}"

    def event(self, event: QHelpEvent) -> bool:
        """Say which slice is under the mouse."""
        if event.type() == event.Type.ToolTip and self._count:
            QToolTip.showText(event.globalPos(), self.tip_at(event.pos().x()), self)
            return True
        return bool(super().event(event))


def _place(event: QMouseEvent) -> QPointF:
    return QPointF(event.position() if hasattr(event, "position") else event.pos())
