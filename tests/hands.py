"""A person in front of a napari window: acts by mouse, wheel and keys, and knows only what is shown.

Controls are found by what is written on them, beside them, in them or in their tooltip. Mouse and keys
go to the window, so that what covers a control, or disables it, stops the hand as well.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QTimer, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent, QWheelEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QApplication,
    QComboBox,
    QDialogButtonBox,
    QLabel,
    QLineEdit,
    QScrollArea,
    QSlider,
    QWidget,
)
from superqt import QCollapsible

from eyes import LAYOUT_SECONDS, Eyes, Line, ancestors, beside, is_line, named, texts

SIZE = 1300, 950
"""Of the window: napari with a dock on each side and a canvas of some size."""
CLOSING_SECONDS = 0.2
"""What a dialog may take to close; a click may only have closed its list of suggestions."""
CLICKS = 5
"""On a layer that moves in the list because another one comes or goes."""
MOVE_SECONDS = 0.007
"""napari follows the mouse at most every 5 ms."""
LEFT, NONE = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
CTRL, SHIFT, ALT = (getattr(Qt.KeyboardModifier, f"{key}Modifier") for key in ("Control", "Shift", "Alt"))
KEYS = Qt.Key


class Hands(Eyes):
    """Two hands and two eyes for one viewer.

    Parameters
    ----------
    viewer
        A napari viewer whose window is shown.
    """

    def __init__(self, viewer: Any) -> None:
        super().__init__(viewer)
        self.window.resize(*SIZE)
        self._acts: list[Callable[[], Any]] = []
        self._faults: list[BaseException] = []
        self._acting: list[QWidget] = []
        self._dialogs = QTimer()
        self._dialogs.timeout.connect(self._on_dialog)
        self._dialogs.start(20)
        QTest.qWaitForWindowExposed(self.window)
        self.focus()

    def clicked(self, widget: QWidget) -> None:
        """Called at each click, for who counts them."""

    def leave(self) -> None:
        """Take the hands off; the window may be closed."""
        self._dialogs.stop()

    def rest(self, seconds: float = 0.01) -> None:
        """Let the window do what it has to do; tell what a dialog was not able to take."""
        super().rest(seconds)
        if self._faults:
            raise self._faults.pop(0)

    # Controls -----------------------------------------------------------------------------------------

    def press(self, text: str, within: str = "", *then: Callable[[], Any]) -> None:
        """Press a button, and do `then` in the dialogs that come, one by one."""
        self._acts += then
        self.click(self.find(QAbstractButton, text, within))
        assert not (then and self._acts), "a dialog did not come"

    def tick(self, text: str, within: str = "", *, on: bool) -> None:
        """Click on a checkbox if it is not as wanted."""
        box = self.find(QAbstractButton, text, within)
        if box.isChecked() != on:
            self.click(box, QPoint(8, box.height() // 2))
        assert box.isChecked() == on

    def type(self, what: str, text: str, within: str = "") -> None:
        """Write `text` into the line or the number that `what` names, and press Return."""
        line = self.find(Line, what, within)
        self.click(line, QPoint(line.width() // 2, line.height() // 2))
        self._typed(text)

    def choose(self, what: str, entry: str, within: str = "", *then: Callable[[], Any]) -> None:
        """Open the box that `what` names and take the entry that starts with `entry`, by the keys."""
        box = self.find(QComboBox, what, within)
        self.click(box)
        self.key(KEYS.Key_Home, to=box.view())
        for _ in range(box.count()):
            if str(box.view().currentIndex().data()).startswith(entry):
                break
            self.key(KEYS.Key_Down, to=box.view())
        else:
            raise AssertionError(f"{entry!r} is not among {[box.itemText(i) for i in range(box.count())]}")
        self._acts += then
        self.key(KEYS.Key_Return, to=box.view())
        self.rest()
        assert not (then and self._acts), "a dialog did not come"

    def unfold(self, title: str) -> None:
        """Open or close a group of controls by its title."""
        (fold,) = self._folds(title)
        for above in ancestors(fold):
            if isinstance(above, QCollapsible):
                self._open(above)
        self.click(fold.toggleButton())

    def cell(self, view: QAbstractItemView, row: int, column: int = 0, *, double: bool = False) -> None:
        """Click on a cell of a table or list."""
        index = view.model().index(row, column)
        view.scrollTo(index)
        self.click(view.viewport(), view.visualRect(index).center(), double=double)

    def write(self, text: str) -> None:
        """Write into the line that has the keys."""
        self._typed(text)

    def name_class(self, row: int, name: str) -> None:
        """Give a class its name by a double click in the table."""
        self.cell(self._table(), row, 2, double=True)
        self._typed(name)

    def take(self, what: str, entry: str, within: str = "") -> None:
        """Click on an entry of the list that `what` names."""
        if what == "painted":
            self._take_slice(int(entry))
            return
        self.cell(self.find(QAbstractItemView, what, within), self.entries(what, within).index(entry))

    def layer(self, name: str) -> Any:
        """Select a layer in napari's list; give it, for its numbers."""
        layers = self._layer_list()
        for _ in range(CLICKS):
            self.cell(layers, self.layers().index(name))
            if str(layers.currentIndex().data()) == name:
                break
        return self._viewer.layers[name]

    def pick(self, button: str, entry: str, within: str = "") -> None:
        """Press a button that opens a menu, and take the entry that starts with `entry`."""

        taken = []

        def act() -> None:
            menu = QApplication.activePopupWidget()
            if menu is None:
                QTimer.singleShot(50, act)
                return
            action = next((a for a in menu.actions() if a.text().startswith(entry)), None)
            if action is None:
                self._faults.append(AssertionError(f"no {entry!r} in {[a.text() for a in menu.actions()]}"))
                menu.close()
            else:
                self.click(menu, menu.actionGeometry(action).center())
            taken.append(entry)

        QTimer.singleShot(0, act)  # where the button's click ends only with the menu
        self.click(self.find(QAbstractButton, button, within))
        self.wait(lambda: taken)  # where it does not
        self.rest()

    def menu(self, *path: str, then: Sequence[Callable[[], Any]] = ()) -> None:
        """Go through the menu bar, such as ``"File", "Open File(s)..."``."""
        self._acts += then
        place: Any = self.window.menuBar()
        for text in path:
            action = next(a for a in place.actions() if a.text().replace("&", "") == text and a.isVisible())
            rect = place.actionGeometry(action)
            self.click(place, rect.center())
            if action.menu() is not None:
                place = self.wait(lambda action=action: action.menu().isVisible() and action.menu(), 5)
        self.rest()
        assert not (then and self._acts), "a dialog did not come"

    # Dialogs ------------------------------------------------------------------------------------------

    def expect(self, *then: Callable[[], Any]) -> None:
        """Do `then`, one by one, in dialogs that will come by themselves."""
        self._acts += then

    def answered(self) -> bool:
        """Whether all dialogs that were expected have come."""
        return not self._acts

    def answer(self, button: str) -> Callable[[], None]:
        """Press a button of the dialog that will come."""
        return lambda: self.click(self._in_dialog(QAbstractButton, button))

    def fill(self, button: str, **texts: str) -> Callable[[], None]:
        """Fill in lines of the dialog that will come, named by what stands beside them; press a button."""

        def act() -> None:
            for what, text in texts.items():
                line = self._in_dialog(QLineEdit, what)
                self.click(line)
                self.key(KEYS.Key_A, CTRL, to=line)
                QTest.keyClicks(line, text)
            self.click(self._in_dialog(QAbstractButton, button))

        return act

    def folder(self, path: Path | str) -> Callable[[], None]:
        """Type a folder into the dialog for folders that will come."""
        return self.file(path, "Directory")

    def file(self, path: Path | str, label: str = "File name") -> Callable[[], None]:
        """Type a path into the file dialog that will come, and press its button."""

        def act() -> None:
            line = self._in_dialog(QLineEdit, label)
            box = line.window().findChild(QDialogButtonBox)
            accept = next(b for b in box.buttons() if box.buttonRole(b) == box.ButtonRole.AcceptRole)
            end = time.monotonic() + LAYOUT_SECONDS
            while line.isVisible():
                assert time.monotonic() < end, f"the dialog stays open, with {line.text()!r}"
                if line.text() == str(path):
                    self.click(accept)
                else:  # not typed yet, or the dialog has put something else there when it had read a folder
                    self.key(KEYS.Key_A, CTRL, to=line)
                    QTest.keyClicks(line, str(path))
                    suggestions = QApplication.activePopupWidget()
                    if suggestions is not None:
                        self.key(KEYS.Key_Escape, to=suggestions)
                self.rest(CLOSING_SECONDS)

        return act

    # The canvas ---------------------------------------------------------------------------------------

    def stroke(self, *world: Sequence[float], keys: Any = NONE, button: Any = LEFT) -> None:
        """Press at the first position of the world, go along the others, and release."""
        places = [self.pixel(place) for place in world]
        self._on_canvas(QTest.mouseMove, places[0])
        self._on_canvas(QTest.mousePress, button, keys, places[0])
        for start, end in itertools.pairwise(places):
            for share in (0.25, 0.5, 0.75, 1.0):
                self._on_canvas(QTest.mouseMove, start + (end - start) * share)
        self._on_canvas(QTest.mouseRelease, button, keys, places[-1])

    def point(self, world: Sequence[float]) -> None:
        """Move the mouse to a position of the world, from a little beside it."""
        place = self.pixel(world)
        self._on_canvas(QTest.mouseMove, place + QPoint(3, 3))
        self._on_canvas(QTest.mouseMove, place)

    def double_click(self, world: Sequence[float]) -> None:
        """Double click on the canvas."""
        place = self.pixel(world)
        self._on_canvas(QTest.mouseMove, place)
        self.click(self.canvas, place, double=True)

    def wheel(self, notches: int, keys: Any = NONE) -> None:
        """Turn the wheel over the middle of the canvas; with Ctrl, slices go by."""
        middle = self.canvas.rect().center()
        for _ in range(abs(notches)):
            turned = QPoint(0, 120 if notches > 0 else -120)
            buttons, phase = Qt.MouseButton.NoButton, Qt.ScrollPhase.NoScrollPhase
            place = QPointF(middle), QPointF(self.canvas.mapToGlobal(middle))
            event = QWheelEvent(*place, QPoint(), turned, buttons, keys, phase, False)
            QApplication.sendEvent(self.canvas, event)
            self.rest()

    def focus(self) -> None:
        """Bring the window to the front, with the keys going to the canvas."""
        self._front(self.canvas)
        self.canvas.setFocus()
        self.rest()

    def key(self, key: Any, keys: Any = NONE, *, to: QWidget | None = None) -> None:
        """Strike a key; it goes to the widget with the focus."""
        QTest.keyClick(to or QApplication.focusWidget() or self.canvas, key, keys)
        self.rest()

    def slide(self, what: str, *struck: Any) -> None:
        """Strike keys on the slider that `what` names."""
        for key in struck:
            self.key(key, to=self.find(QSlider, what))

    def drop(self, path: Path) -> None:
        """Drop a file from the file manager on the canvas."""
        about = QMimeData()
        about.setUrls([QUrl.fromLocalFile(str(path))])
        target: Any = self.canvas
        while not target.acceptDrops():
            target = target.parentWidget()
        middle = target.rect().center()
        how = Qt.DropAction.CopyAction, about, LEFT, NONE
        enter = QDragEnterEvent(middle, *how)
        QApplication.sendEvent(target, enter)
        assert enter.isAccepted(), "the window takes no such file"
        QApplication.sendEvent(target, QDropEvent(QPointF(middle), *how))
        self.rest()

    # How it is done -----------------------------------------------------------------------------------

    def click(self, widget: QWidget, place: QPoint | None = None, *, double: bool = False) -> None:
        """Click in the middle of a widget, or elsewhere in it, where it can be seen and is not covered."""
        self._front(widget)
        place = self._reach(widget, place)
        act = QTest.mouseDClick if double else QTest.mouseClick
        self.clicked(widget)
        top = widget.window()
        act(top.windowHandle(), LEFT, NONE, widget.mapTo(top, place))
        self.rest()

    def _front(self, widget: QWidget) -> QWidget:
        """The widget's window, brought to the front as a window manager does it at a click."""
        top = widget.window()
        if not top.isActiveWindow() and top.windowType() != Qt.WindowType.Popup:
            top.raise_()
            top.activateWindow()
            QTest.qWaitForWindowActive(top)
        return top

    def _reach(self, widget: QWidget, place: QPoint | None) -> QPoint:
        """Scroll until the place is seen; what was just unfolded takes a moment to lie where it belongs."""
        end = time.monotonic() + LAYOUT_SECONDS
        while True:
            for area in ancestors(widget):
                if isinstance(area, QScrollArea):
                    area.ensureWidgetVisible(widget)
            self.rest()
            spot = widget.rect().center() if place is None else place
            under = QApplication.widgetAt(widget.mapToGlobal(spot))
            if under is widget or (under is not None and widget.isAncestorOf(under)):
                break
            assert time.monotonic() < end, f"{texts(widget)} cannot be seen, but {under}"
        assert widget.isEnabled(), f"{texts(widget)} cannot be pressed: {widget.toolTip()}"
        return spot

    def _open(self, fold: QCollapsible) -> None:
        """Open a group and those that it is in, by clicks on their headers."""
        for each in (*reversed(ancestors(fold)), fold):
            if isinstance(each, QCollapsible) and not each.isExpanded():
                self.click(each.toggleButton())

    def _close(self, fold: QCollapsible) -> None:
        if fold.isExpanded():
            self.click(fold.toggleButton())

    def _take_slice(self, index: int) -> None:
        """Click on a slice in the strip of slices."""
        (strip,) = (w for w in self._seen(QWidget, "Paint") if w.accessibleName() == "painted slices")
        self.click(strip, QPoint(round(strip.place_of(index)), strip.height() // 2))

    def _on_canvas(self, act: Callable[..., None], *arguments: Any) -> None:
        *how, place = arguments
        assert self.canvas.rect().contains(place), f"{place} is not on the canvas"
        act(self._front(self.canvas).windowHandle(), *how, self.canvas.mapTo(self.window, place))
        self.rest(MOVE_SECONDS)

    def _typed(self, text: str) -> None:
        line = self.wait(QApplication.focusWidget, 5)
        assert is_line(line), f"{line} takes no text"
        self.key(KEYS.Key_A, CTRL, to=line)
        QTest.keyClicks(line, text)
        self.key(KEYS.Key_Return, to=line)

    def _in_dialog(self, kind: type, what: str) -> Any:
        seen = [w for w in QApplication.activeModalWidget().findChildren(kind) if w.isVisible()]
        found = named(seen, what)
        assert found, f"the dialog has no {what!r}, but {list(map(texts, seen)), beside(seen)}"
        return found[0]

    def _on_dialog(self) -> None:
        """Do the next act in the dialog that is open; one that nobody expects is closed."""
        dialog = QApplication.activeModalWidget()
        if dialog is None or not dialog.isVisible() or dialog in self._acting:
            return
        if dialog.parentWidget() is not None and dialog.parentWidget().window() is not self.window:
            return  # another window's
        self._acting.append(dialog)
        try:
            said = [label.text() for label in dialog.findChildren(QLabel)]
            assert self._acts, f"a dialog that nobody expected: {said}"
            self._acts.pop(0)()
        except BaseException as fault:  # noqa: BLE001 (told when the dialog is gone)
            self._faults.append(fault)
            self._acts.clear()
            dialog.close()
        finally:
            self._acting.remove(dialog)
