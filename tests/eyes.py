"""What a person sees of a napari window, found by what is written on it, beside it, in it or about it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from napari._qt.utils import QImg2array
from qtpy.QtCore import QPoint, QRect
from qtpy.QtTest import QTest
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSpinBox,
    QComboBox,
    QDockWidget,
    QLabel,
    QLineEdit,
    QListView,
    QMainWindow,
    QProgressBar,
    QScrollArea,
    QTableWidget,
    QWidget,
)
from superqt import QCollapsible

from napari_salt.terms.slice_ranges import parse_slices

SECONDS = 300
LAYOUT_SECONDS = 10
"""How long a control may take to appear where it belongs."""
LOOK_SECONDS = 0.1
"""Between two looks while waiting: the engine needs the processor."""


class Eyes:
    """Two eyes for one viewer.

    Parameters
    ----------
    viewer
        A napari viewer whose window is shown.
    """

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer

    @property
    def window(self) -> QMainWindow:
        """The window of napari; nothing here keeps it alive."""
        return self._viewer.window._qt_window

    # What differs between versions of napari ----------------------------------------------------------

    @property
    def canvas(self) -> QWidget:
        """The widget that napari draws on."""
        return self._viewer.window._qt_viewer.canvas.native

    def pixel(self, world: Sequence[float]) -> QPoint:
        """Where on the canvas the eye sees a position of the world (all axes of the viewer)."""
        view = self._viewer.window._qt_viewer.canvas.view
        shown = [world[axis] for axis in self._viewer.dims.displayed][::-1]
        x, y, _, w = (view.transform * view.scene.transform).map([*shown, *[0.0] * (3 - len(shown)), 1.0])
        return QPoint(round(x / w), round(y / w))

    # Waiting ------------------------------------------------------------------------------------------

    def wait(self, until: Callable[[], Any], seconds: float = SECONDS) -> Any:
        """Look on until `until()`; give what it gives."""
        end = time.monotonic() + seconds
        while not (found := until()):
            self.rest(LOOK_SECONDS)
            assert time.monotonic() < end, f"waited {seconds} s; shown: {self.texts()}"
        return found

    def rest(self, seconds: float = 0.01) -> None:
        """Let the window do what it has to do."""
        QTest.qWait(max(1, round(1000 * seconds)))

    # Looking ------------------------------------------------------------------------------------------

    def texts(self, within: str = "") -> list[str]:
        """What stands in visible labels and on visible buttons, from the top of the tree to its leaves."""
        shown = QLabel, QAbstractButton, QComboBox, QProgressBar
        return [text for kind in shown for w in self._seen(kind, within) for text in texts(w)]

    def reads(self, text: str, within: str = "") -> bool:
        """Whether `text` can be read somewhere."""
        return any(text in seen for seen in self.texts(within))

    def table(self, within: str = "SALT") -> list[tuple[str, ...]]:
        """The texts in the cells of a table, row by row."""
        table = self._table(within)
        columns = range(table.columnCount())
        return [tuple(table.item(r, c).text() for c in columns) for r in range(table.rowCount())]

    def entries(self, what: str, within: str = "") -> list[str]:
        """Texts in the list that `what` names; the painted slices are written below their strip."""
        if what == "painted":
            return self._painted_slices()
        model = self.find(QAbstractItemView, what, within).model()
        return [str(model.index(row, 0).data()) for row in range(model.rowCount())]

    def docks(self) -> list[str]:
        """Titles of the open docks."""
        return [dock.windowTitle() for dock in self._seen(QDockWidget)]

    def layers(self) -> list[str]:
        """Names in napari's list of layers, the top one first."""
        model = self._layer_list().model()
        return [str(model.index(row, 0).data()) for row in range(model.rowCount())]

    def enabled(self, text: str, within: str = "") -> bool:
        """Whether a button can be pressed."""
        return self.find(QAbstractButton, text, within).isEnabled()

    def ticked(self, text: str, within: str = "") -> bool:
        """Whether a checkbox is on."""
        return self.find(QAbstractButton, text, within).isChecked()

    def scrolls(self, within: str = "SALT") -> bool:
        """Whether a part has more than it shows."""
        (area,) = (w for w in self._seen(QScrollArea) if ancestors(w)[0].windowTitle().startswith(within))
        return bool(area.verticalScrollBar().isVisible())

    def value(self, what: str, within: str = "") -> str:
        """What stands in the line, number or box that `what` names."""
        return texts(self.find(Line, what, within))[0]

    def tooltip(self, text: str, within: str = "") -> str:
        """What is shown when the mouse rests on a button."""
        return self.find(QAbstractButton, text, within).toolTip()

    def picture(self) -> np.ndarray:
        """What the canvas shows, (height, width, 3) uint8."""
        return QImg2array(self.canvas.grab().toImage())[..., :3]

    def screenshot(self, path: Path) -> None:
        """Write what the screen shows, dialogs and menus included."""
        self.rest(0.05)
        self.window.screen().grabWindow(0).save(str(path))

    def find(self, kind: type, what: str, within: str = "") -> Any:
        """The one visible widget of `kind` that `what` is written on, in, beside or about."""
        end = time.monotonic() + LAYOUT_SECONDS
        while not (found := named(self._seen(kind, within), what) or self._folded(kind, what, within)):
            seen = self._seen(kind, within)
            names = [[*texts(w), *label] for w, label in zip(seen, beside(seen), strict=True)]
            assert time.monotonic() < end, f"no {what!r} in {within or 'the window'}, but {names}"
            self.rest()
        assert len(found) == 1, f"{len(found)} times {what!r}: {[texts(w) for w in found]}"
        return found[0]

    # How it is done -----------------------------------------------------------------------------------

    def _seen(self, kind: type, within: str = "") -> list[Any]:
        scope: QWidget = self.window
        if within:
            parts = [w for w in self._seen(QDockWidget) if w.windowTitle().startswith(within)]
            parts += self._folds(within)
            assert parts, f"there is no part {within!r}"
            scope = parts[0]
            if isinstance(scope, QCollapsible):
                self._open(scope)
        found = scope.findChildren(QWidget if kind is Line else kind)
        return [w for w in found if w.isVisible() and not is_folded(w) and (kind is not Line or is_line(w))]

    def _folds(self, title: str = "") -> list[QCollapsible]:
        """The groups of controls, open or folded; those with a title, which a number may precede."""
        folds = [w for w in self.window.findChildren(QCollapsible) if w.isVisible()]
        return [w for w in folds if title in ("", w.text().lstrip("0123456789 "))]

    def _open(self, fold: QCollapsible) -> None:
        """Open a group, and those that it is in."""
        raise NotImplementedError

    def _close(self, fold: QCollapsible) -> None:
        """Fold a group again."""
        raise NotImplementedError

    def _folded(self, kind: type, what: str, within: str) -> list[QWidget]:
        """Look for it in the folded groups, one by one; leave that one open."""
        for fold in self._folds():
            if within and not self._is_in(fold, within):
                continue
            if not fold.isExpanded():
                self._open(fold)
                self.rest(LOOK_SECONDS)  # for the layout
                found = named(self._seen(kind, within), what)
                if not any(fold in ancestors(w) for w in found):
                    self._close(fold)  # also where it has appeared elsewhere meanwhile
                if found:
                    return found
        return []

    def _is_in(self, fold: QCollapsible, within: str) -> bool:
        above = [w for w in ancestors(fold) if isinstance(w, QCollapsible | QDockWidget)]
        titles = [w.windowTitle() if isinstance(w, QDockWidget) else w.text() for w in above]
        return any(title.lstrip("0123456789 ").startswith(within) for title in titles)

    def _table(self, within: str = "SALT") -> QTableWidget:
        if not self._seen(QTableWidget, within):
            (hidden,) = (w for w in self.window.findChildren(QTableWidget) if w.isVisible() and is_folded(w))
            self._open(next(w for w in ancestors(hidden) if isinstance(w, QCollapsible)))
        (table,) = self._seen(QTableWidget, within)
        return table

    def _painted_slices(self) -> list[str]:
        """What is written below the strip of slices, one by one."""
        text = self.find(QLabel, "painted: ").text().removeprefix("painted: ").partition(";")[0]
        if text == "nothing yet":
            return []
        parts = [part.strip() for part in text.split(",")]
        if not text[0].isdigit():
            return parts
        return [str(i) for part in parts for i in parse_slices(part)]

    def _layer_list(self) -> QListView:
        return next(w for w in self._seen(QListView) if type(w).__name__ == "QtLayerList")


class Line:
    """Takes text: a line, or a number with its arrows."""


def is_line(widget: QWidget) -> bool:
    inner = isinstance(widget.parent(), QAbstractSpinBox | QComboBox)
    return isinstance(widget, QAbstractSpinBox) or (isinstance(widget, QLineEdit) and not inner)


def is_folded(widget: QWidget) -> bool:
    """Whether the widget is the title of a group, or in a group that is folded away."""
    return isinstance(widget.parent(), QCollapsible) or not all(w.height() for w in ancestors(widget))


def ancestors(widget: QWidget) -> list[QWidget]:
    parent = widget.parentWidget()
    return [] if parent is None else [parent, *ancestors(parent)]


def named(widgets: Sequence[QWidget], what: str) -> list[QWidget]:
    """Those that bear the name; those that begin so, if none does."""
    for looks in (_written, beside, lambda seen: [[w.toolTip()] for w in seen]):
        names = [[text.strip().rstrip(":") for text in found] for found in looks(widgets)]
        for fits in (lambda words: what in words, lambda words: any(t.startswith(what) for t in words)):
            found = [w for w, words in zip(widgets, names, strict=True) if fits(words)]
            if found:
                return found
    return []


def _written(widgets: Sequence[QWidget]) -> list[list[str]]:
    return [texts(widget) for widget in widgets]


def texts(widget: QWidget) -> list[str]:
    """What is written on a widget or in it."""
    names = "text", "currentText", "placeholderText"
    texts = (str(getattr(widget, name)()) for name in names if hasattr(widget, name))
    return [text.replace("&", "") for text in texts if text]


def beside(widgets: Sequence[QWidget]) -> list[list[str]]:
    """The nearest label to the left of each, on the same line."""
    windows = {w.window() for w in widgets}
    seen = [w for window in windows for w in window.findChildren(QLabel) if w.isVisible() and w.text()]
    labels = [(w.window(), w.text().replace("&", ""), place(w)) for w in seen]
    found = []
    for widget in widgets:
        here, window = place(widget), widget.window()
        line = [
            (there.right(), text)
            for where, text, there in labels
            if where is window
            and there.right() <= here.left() + 4
            and there.top() <= here.center().y() <= there.bottom()
        ]
        found.append([max(line, key=lambda label: label[0])[1]] if line else [])
    return found


def place(widget: QWidget) -> QRect:
    """Where it is on the screen."""
    return QRect(widget.mapToGlobal(QPoint(0, 0)), widget.size())
