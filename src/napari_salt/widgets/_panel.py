"""What all panels are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QWidget,
)
from superqt import QCollapsible

if TYPE_CHECKING:
    from napari_salt._session import Session

__all__ = ["Fold", "Panel", "button", "checkbox", "explain", "row", "words"]

QWIDGETSIZE_MAX = 16_777_215
"""Qt's "no limit", which its Python bindings do not all name."""


class Fold(QCollapsible):
    """A group of controls that folds away at once, and grows with what is in it."""

    def __init__(self, title: str) -> None:
        super().__init__(title)
        self.setDuration(0)
        self.toggled.connect(self._on_toggled)

    def eventFilter(self, _watched: QObject, _event: QEvent) -> bool:  # noqa: N802 (Qt's name)
        """Leave the height alone when something inside changes its own."""
        return False

    def _on_toggled(self, opened: bool) -> None:  # noqa: FBT001 (Qt's signal)
        if opened:  # its height was fixed to what it was at that moment
            self.content().setMaximumHeight(QWIDGETSIZE_MAX)


class Panel(Fold):
    """A collapsible group of controls for one part of the session.

    Parameters
    ----------
    title
        What is written on it.
    session
        What it shows.
    updates
        Kinds of `Session.changed` at which `refresh` is called.
    """

    def __init__(self, title: str, session: Session, updates: tuple[str, ...]) -> None:
        super().__init__(title)
        self.session = session
        self._updates = updates
        self.form = self.form_of(self)
        self._problem = words()
        self._problem.setObjectName("problem")
        self._problem.setStyleSheet("color: #e5484d")
        self._problem.hide()
        self.form.addRow(self._problem)
        session.changed.connect(self._on_changed)

    def tell(self, problem: str) -> None:
        """Show what went wrong until something is started anew."""
        self._problem.setText(problem)
        self._problem.setVisible(bool(problem))

    @staticmethod
    def form_of(group: Fold) -> QFormLayout:
        """A form inside `group`."""
        body = QWidget()
        form = QFormLayout(body)
        form.setContentsMargins(4, 2, 4, 6)
        form.setHorizontalSpacing(6)
        form.setVerticalSpacing(4)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
        group.addWidget(body)
        return form

    def refresh(self) -> None:
        """Show the session's state."""
        raise NotImplementedError

    def _on_changed(self, what: str) -> None:
        if what == "image" or (what == "job" and self.session.job):
            self.tell("")
        if what in self._updates:
            self.refresh()


def button(text: str, tooltip: str, clicked: Callable[[], Any]) -> QPushButton:
    """A push button that may be narrower than its text would like."""
    made = QPushButton(text)
    made.setToolTip(tooltip)
    made.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
    made.clicked.connect(lambda _checked=False: clicked())
    return made


def choice(tooltip: str, entries: Iterable[tuple[str, Any]], chosen: Callable[[Any], Any]) -> QComboBox:
    """A combo box of (text, value) that tells the value that the user chooses."""
    made = QComboBox()
    made.setToolTip(tooltip)
    for text, value in entries:
        made.addItem(text, value)
    made.activated.connect(lambda position: chosen(made.itemData(position)))
    return made


def checkbox(text: str, tooltip: str, changed: Callable[[bool], Any], *, on: bool = False) -> QCheckBox:
    """A checkbox that tells of the user's clicks."""
    made = QCheckBox(text)
    made.setToolTip(tooltip)
    made.setChecked(on)
    made.toggled.connect(changed)
    return made


def row(*widgets: QWidget) -> QWidget:
    """Widgets side by side."""
    line = QWidget()
    layout = QHBoxLayout(line)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(4)
    for widget in widgets:
        layout.addWidget(widget, 1)
    return line


def words(text: str = "") -> QLabel:
    """A label of several lines."""
    label = QLabel(text)
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    return label


def explain(target: QPushButton, reason: str, tooltip: str) -> None:
    """Enable a button, or disable it and let its tooltip say why."""
    target.setEnabled(not reason)
    target.setToolTip(f"Not now: {reason}." if reason else tooltip)
