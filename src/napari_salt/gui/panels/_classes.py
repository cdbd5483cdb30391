"""The list of classes: their colours, names and paint; adding, merging and deleting them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QColorDialog,
    QMenu,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_salt.gui.panels._panel import button, explain, menu_button, row
from napari_salt.session._guard import connect

if TYPE_CHECKING:
    from napari_salt.session._session import Session
    from napari_salt.terms.card import ClassInfo

__all__ = ["ClassList"]

COLUMNS = ("", "label", "name", "pixels", "slices")
WIDTHS = (22, 40, 110, 60, 40)
VALUE_ROLE = Qt.ItemDataRole.UserRole
TOOLTIP = (
    "Click on a class, or press its label's key (1 to 9), to paint with it; double-click on its name or "
    "colour to change them."
)
ADD = "Add a class with the next free label, and paint with it."
MERGE = "Let all paint of the selected class be another class's (Ctrl-Z on the canvas takes it back)."
DELETE = "Erase all paint of the selected class (Ctrl-Z on the canvas takes it back)."
ROW_HEIGHT, LEAST_ROWS, MOST_ROWS = 22, 2, 5


class ClassList(QWidget):
    """A table of the classes, and buttons that add, merge and delete them."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._filling = False
        self._make_table()
        self.add = button("Add class", ADD, self._add)
        self.merge = menu_button("Merge", MERGE, self._fill_merge)
        self.delete = button("Delete", DELETE, self._delete)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.table)
        layout.addWidget(row(self.add, self.merge, self.delete))

    def _make_table(self) -> None:
        self.table = QTableWidget(0, len(COLUMNS))
        self.table.setToolTip(TOOLTIP)
        self.table.setHorizontalHeaderLabels(COLUMNS)
        self.table.verticalHeader().hide()
        self.table.horizontalHeader().setStretchLastSection(True)
        self.table.verticalHeader().setDefaultSectionSize(ROW_HEIGHT)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        for column, width in enumerate(WIDTHS):
            self.table.setColumnWidth(column, width)
        connect(self.table.itemChanged, self._rename)
        connect(self.table.cellClicked, self._select)
        connect(self.table.cellDoubleClicked, self._recolor)

    def refresh(self) -> None:
        """Show the session's classes."""
        session = self._session
        self._filling = True
        try:
            self._fill()
            self._show_selected()
        finally:
            self._filling = False
        reason = "choose a labels layer, or press New" if session.labels is None else ""
        explain(self.add, reason, ADD)
        nothing = reason or ("" if self._selected() else "select a class first")
        explain(self.delete, nothing, DELETE)
        explain(self.merge, nothing or ("" if len(session.classes) > 1 else "there is one class only"), MERGE)

    def _fill(self) -> None:
        session, paint = self._session, self._session.paint
        self.table.setRowCount(len(session.classes))
        shown = min(max(len(session.classes), LEAST_ROWS), MOST_ROWS)
        self.table.setFixedHeight(self.table.horizontalHeader().sizeHint().height() + shown * ROW_HEIGHT + 4)
        for line, info in enumerate(session.classes):
            pixels = paint.pixels(info.value) if paint else 0
            slices = len(paint.slices_of(info.value)) if paint else 0
            for column, text in enumerate(("", str(info.value), info.name, f"{pixels:,}", str(slices))):
                item = QTableWidgetItem(text)
                item.setData(VALUE_ROLE, info.value)
                item.setToolTip(TOOLTIP)
                if column == 0:
                    item.setIcon(_swatch(info.color))
                if COLUMNS[column] != "name":
                    item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsEditable)
                self.table.setItem(line, column, item)

    def _show_selected(self) -> None:
        labels = self._session.labels
        values = [info.value for info in self._session.classes]
        if labels is not None and labels.selected_label in values:
            self.table.selectRow(values.index(labels.selected_label))
        else:
            self.table.clearSelection()

    def _selected(self) -> ClassInfo | None:
        labels = self._session.labels
        value = None if labels is None else labels.selected_label
        return next((info for info in self._session.classes if info.value == value), None)

    def _value(self, line: int) -> int:
        return int(self.table.item(line, 0).data(VALUE_ROLE))

    def _rename(self, item: QTableWidgetItem) -> None:
        if not self._filling and COLUMNS[item.column()] == "name":
            self._session.name_class(item.data(VALUE_ROLE), item.text())

    def _select(self, line: int, _column: int) -> None:
        self._session.painting.select(self._value(line))

    def _recolor(self, line: int, column: int) -> None:
        if column:
            return
        value = self._value(line)
        color = QColorDialog.getColor(QColor(self._session.classes[line].color), self, "Colour of the class")
        if color.isValid():
            self._session.painting.color(value, color.name())

    def _add(self) -> None:
        value = self._session.painting.add_class()
        lines = [line for line in range(self.table.rowCount()) if self._value(line) == value]
        for line in lines:  # its name can be typed at once
            self.table.editItem(self.table.item(line, COLUMNS.index("name")))

    def _delete(self) -> None:
        chosen = self._selected()
        if chosen is not None:
            self._session.painting.delete_class(chosen.value)

    def _fill_merge(self, menu: QMenu) -> None:
        menu.clear()
        chosen = self._selected()
        for info in self._session.classes if chosen else ():
            if chosen is not None and info.value != chosen.value:
                act = partial(self._session.painting.merge_class, chosen.value, info.value)
                connect(menu.addAction(f"into {info.name}".replace("&", "&&")).triggered, act)


def _swatch(color: str) -> QIcon:
    pixmap = QPixmap(16, 16)
    pixmap.fill(QColor(color))
    icon = QIcon(pixmap)
    icon.addPixmap(pixmap, QIcon.Mode.Selected)  # Qt would tint it
    return icon
