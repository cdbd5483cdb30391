"""Base class and controls of all panels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from html import escape
from typing import TYPE_CHECKING, Any

from psygnal import SignalInstance
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QWidget,
)
from superqt import QCollapsible

from napari_salt._guard import Connections, connect
from napari_salt.terms.text import printable

if TYPE_CHECKING:
    from napari_salt.session._session import Session

__all__ = ["Fold", "Panel", "button", "checkbox", "explain", "plain_tip", "row", "words"]

QWIDGETSIZE_MAX = 16_777_215
"""Qt's value for "no limit", which not all Python bindings define."""


class Fold(QCollapsible):
    """A collapsible group of controls without animation, whose height follows its content."""

    def __init__(self, title: str) -> None:
        super().__init__(title)
        self.setDuration(0)
        connect(self.toggled, self._on_toggled)

    def eventFilter(self, _watched: QObject, _event: QEvent) -> bool:  # noqa: N802 (Qt's name)
        """Do not fix the height when a widget inside changes its own."""
        return False

    def _on_toggled(self, opened: bool) -> None:  # noqa: FBT001 (Qt's signal)
        if opened:  # QCollapsible has fixed the height
            self.content().setMaximumHeight(QWIDGETSIZE_MAX)


class Panel(Fold):
    """A collapsible group of controls for one part of the session.

    Parameters
    ----------
    title
        Title of the group.
    session
        The session that it shows.
    updates
        Signals at which `refresh` is called.
    """

    def __init__(self, title: str, session: Session, updates: Iterable[SignalInstance]) -> None:
        super().__init__(title)
        self.session = session
        self.form = self.form_of(self)
        self._problem = words()
        self._problem.setObjectName("problem")
        self._problem.setStyleSheet("color: #e5484d")
        self._problem.hide()
        self.form.addRow(self._problem)
        self._connections = Connections()
        self._connections.add(self._forget, session.changed.image)
        self._connections.add(self._on_job, session.changed.job)
        self._connections.add(self._on_changed, *updates)

    def tell(self, problem: str) -> None:
        """Show a problem until a job starts or the image changes; "" hides it."""
        self._problem.setText(printable(problem))
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

    def _on_changed(self) -> None:
        self.refresh()

    def _on_job(self) -> None:
        if self.session.job:  # the problem stays readable after the end of a job
            self._forget()

    def _forget(self) -> None:
        """Hide the last problem."""
        self.tell("")


def button(text: str, tooltip: str, clicked: Callable[[], Any]) -> QPushButton:
    """A push button that may be narrower than its text."""
    made = QPushButton(text)
    made.setToolTip(tooltip)
    made.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
    connect(made.clicked, clicked)
    return made


def checkbox(text: str, tooltip: str, changed: Callable[[bool], Any], *, on: bool = False) -> QCheckBox:
    """A checkbox that calls `changed` at each change of its state after the initial one (`on`)."""
    made = QCheckBox(text)
    made.setToolTip(tooltip)
    made.setChecked(on)
    connect(made.toggled, changed)
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
    """A label of plain text over several lines, which can be selected."""
    label = QLabel(text)
    label.setTextFormat(Qt.TextFormat.PlainText)  # the text may come from a file
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    return label


def explain(target: QPushButton, reason: str, tooltip: str) -> None:
    """Enable a button, or disable it and let its tooltip say why."""
    target.setEnabled(not reason)
    target.setToolTip(plain_tip(f"Not now: {reason}.") if reason else tooltip)


def plain_tip(text: str) -> str:
    """A tooltip that shows `text` literally, also if Qt would take it for markup."""
    text = printable(text, "\n")
    return f"<p style='white-space: pre-wrap'>{escape(text)}</p>" if Qt.mightBeRichText(text) else text
