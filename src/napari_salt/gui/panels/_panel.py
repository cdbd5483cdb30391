"""Base class and controls of all panels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from html import escape
from typing import TYPE_CHECKING, Any

from psygnal import SignalInstance
from qtpy.QtCore import QEvent, QObject, QPointF, Qt
from qtpy.QtGui import QColor, QIcon, QPainter, QPixmap, QPolygonF, QShowEvent
from qtpy.QtWidgets import (
    QCheckBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QMenu,
    QPushButton,
    QSizePolicy,
    QWidget,
)
from superqt import QCollapsible, QElidingLabel

from napari_salt.session._guard import Connections, connect
from napari_salt.terms.text import printable

if TYPE_CHECKING:
    from napari_salt.session._session import Session

__all__ = ["Fold", "Panel", "button", "checkbox", "explain", "menu_button", "plain_tip", "row", "words"]

QWIDGETSIZE_MAX = 16_777_215
"""Qt's value for "no limit", which not all Python bindings define."""
ARROW = 12
LONGEST_TITLE = "4 Segment "


class Fold(QCollapsible):
    """A collapsible group of controls without animation, whose height follows its content.

    Its header has an arrow (right: folded, down: open), the title, and one line that says its state.
    """

    def __init__(self, title: str) -> None:
        super().__init__(title)
        self.setDuration(0)
        header = self.toggleButton()
        header.setObjectName("header")
        header.setStyleSheet("")  # the look is the dock's (see `_look`)
        self._state = QElidingLabel()
        self._state.setObjectName("state")
        self._state.setTextFormat(Qt.TextFormat.PlainText)  # names come from files
        self._state.setElideMode(Qt.TextElideMode.ElideMiddle)
        self._state.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._line = QHBoxLayout(header)
        self._line.addWidget(self._state)
        self.layout().setContentsMargins(0, 0, 0, 0)
        self.layout().setSpacing(0)
        self.content().layout().setContentsMargins(0, 0, 0, 0)
        connect(self.toggled, self._on_toggled)

    def set_state(self, text: str) -> None:
        """Say in the header how things stand."""
        self._state.setText(text)
        self.toggleButton().setToolTip(plain_tip(text))

    @property
    def state(self) -> str:
        """What the header says."""
        return str(self._state.text())

    def set_color(self, color: str) -> None:
        """Draw the arrow in `color`."""
        self.setCollapsedIcon(arrow(color, down=False))
        self.setExpandedIcon(arrow(color, down=True))

    def reveal(self) -> None:
        """Open this group and those that it is in."""
        fold: QWidget | None = self
        while fold is not None:
            if isinstance(fold, Fold) and not fold.isExpanded():
                fold.expand(animate=False)
            fold = fold.parentWidget()

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802 (Qt's name)
        """Let the states of all sections begin in one column."""
        letters = self.toggleButton().fontMetrics()
        self._line.setContentsMargins(ARROW + 20 + letters.horizontalAdvance(LONGEST_TITLE), 0, 6, 0)
        super().showEvent(event)

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

    Attributes
    ----------
    by_hand
        Whether the user has opened it; then it stays open.
    primary
        The button for what comes next, if that is here; it stands out then.
    """

    def __init__(self, title: str, session: Session, updates: Iterable[SignalInstance]) -> None:
        super().__init__(title)
        self.session = session
        self.by_hand = False
        self.primary: QPushButton | None = None
        self.form = self.form_of(self)
        self._next, self._problem = words(), words()
        for label, name in ((self._next, "next"), (self._problem, "problem")):
            label.setObjectName(name)
            label.hide()
            self.form.addRow(label)
        connect(self.toggleButton().clicked, self._on_clicked)
        self._connections = Connections()
        self._connections.add(self._forget, session.changed.image)
        self._connections.add(self._on_job, session.changed.job)
        self._connections.add(self._on_changed, *updates)

    def tell(self, problem: str) -> None:
        """Show a problem until a job starts or the image changes; "" hides it."""
        self._problem.setText(printable(problem))
        self._problem.setVisible(bool(problem))

    def show_next(self, sentence: str) -> None:
        """Show what to do next, if that is here; "" otherwise."""
        self._next.setText(sentence)
        self._next.setVisible(bool(sentence))
        self.stand_out(bool(sentence))

    def stand_out(self, on: bool) -> None:  # noqa: FBT001 (as Qt's)
        """Let the primary button stand out, or not."""
        if self.primary is not None and self.primary.property("primary") != on:
            self.primary.setProperty("primary", on)
            self.primary.style().unpolish(self.primary)  # Qt applies a style sheet again only then
            self.primary.style().polish(self.primary)

    @staticmethod
    def form_of(group: Fold) -> QFormLayout:
        """A form inside `group`."""
        body = QWidget()
        form = QFormLayout(body)
        form.setContentsMargins(8, 4, 4, 6)
        form.setHorizontalSpacing(6)
        form.setVerticalSpacing(4)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
        group.addWidget(body)
        return form

    def refresh(self) -> None:
        """Show the session's state."""
        raise NotImplementedError

    def _on_clicked(self) -> None:
        self.by_hand = self.isExpanded()

    def _on_changed(self) -> None:
        self.refresh()

    def _on_job(self) -> None:
        if self.session.job:  # the problem stays readable after the end of a job
            self._forget()

    def _forget(self) -> None:
        """Hide the last problem."""
        self.tell("")


def arrow(color: str, *, down: bool) -> QIcon:
    """A triangle to the right or down, sharp on screens of up to three times the usual resolution."""
    sharp = 3
    pixmap = QPixmap(ARROW * sharp, ARROW * sharp)
    pixmap.fill(Qt.GlobalColor.transparent)
    corners = ((2, 4), (10, 4), (6, 9)) if down else ((4, 2), (9, 6), (4, 10))
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(color))
    painter.drawPolygon(QPolygonF([QPointF(x * sharp, y * sharp) for x, y in corners]))
    painter.end()
    return QIcon(pixmap)


def button(text: str, tooltip: str, clicked: Callable[[], Any]) -> QPushButton:
    """A push button that may be narrower than its text."""
    made = QPushButton(text)
    made.setToolTip(tooltip)
    made.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
    connect(made.clicked, clicked)
    return made


def menu_button(text: str, tooltip: str, fill: Callable[[QMenu], Any]) -> QPushButton:
    """A button that opens a menu, which `fill` fills each time."""
    made = QPushButton(text)
    made.setToolTip(tooltip)
    made.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
    menu = QMenu(made)
    connect(menu.aboutToShow, lambda: fill(menu))
    made.setMenu(menu)
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
