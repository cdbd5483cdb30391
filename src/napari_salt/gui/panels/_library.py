"""The library of adapters in the Model panel: a list with pictures, a search box, adding and removing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QColor, QIcon, QImageReader, QKeyEvent, QPainter, QPixmap
from qtpy.QtWidgets import QFileDialog, QInputDialog, QLineEdit, QListWidget, QListWidgetItem, QMenu

from napari_salt.gui.panels._panel import Fold, Panel, button, explain, menu_button, plain_tip, row, words
from napari_salt.gui.panels.share import CardDialog
from napari_salt.session._guard import Connections, connect
from napari_salt.terms.card import class_names
from napari_salt.terms.text import printable, shortened

if TYPE_CHECKING:
    from napari_salt.session._session import Session
    from napari_salt.session._shelf import Shown
    from napari_salt.terms.library import Entry

__all__ = ["LibraryFold"]

ADAPTER_FILES = "SALT adapters (*.safetensors)"
LIST = "The adapters of the library; click on one to load it."
SEARCH = "Only adapters with all these words in name, classes, base, author, licence or note."
ADD = "Put the adapter in use into the library, with its name, author and licence."
FROM = "Put adapters from elsewhere into the library."
REMOVE = "Delete the chosen adapter's file from the library."
ADDRESS = "https address, zenodo:NUMBER, or huggingface:OWNER/NAME"
EMPTY = "Nothing is here yet: add the adapter in use, a file, or an address."
ICON, ROW_HEIGHT, MOST_ROWS, LEAST_ROWS = 48, 54, 4, 2
MOST_SIDE = 1024
"""Pixels of a side of a picture that is still shown; those in the folder may be anybody's."""
MAX_TEXT, MAX_NOTE = 60, 600
NAME_ROLE = Qt.ItemDataRole.UserRole


class LibraryFold(Fold):
    """What is in the library; a click loads it."""

    def __init__(self, session: Session) -> None:
        super().__init__("library")
        self._session, self._shelf = session, session.shelf
        self.search = QLineEdit()
        self.search.setPlaceholderText("search")
        self.search.setToolTip(SEARCH)
        self.search.setClearButtonEnabled(True)
        connect(self.search.textChanged, self._shelf.search)
        self.list = _List()
        connect(self.list.itemClicked, self._use)
        connect(self.list.itemActivated, self._use)
        connect(self.list.currentItemChanged, self._show_chosen)
        self.about = words()
        self.add = button("Add to library", ADD, self._add)
        self.others = menu_button("Add from", FROM, self._fill_sources)
        self.remove = button("Remove...", REMOVE, self._remove)
        form = Panel.form_of(self)
        for line in (self.search, self.list, self.about, row(self.add, self.others), self.remove):
            form.addRow(line)
        connect(self.toggled, lambda on: self._shelf.look(on=on))
        self._connections = Connections()
        self._connections.add(
            self.refresh, session.changed.library, session.changed.adapter, session.changed.job
        )
        self.refresh()

    def refresh(self) -> None:
        """Show the library's state."""
        shelf, listed = self._shelf, self._shelf.listed if self.isExpanded() else []
        chosen = self._chosen
        self.list.blockSignals(True)
        self.list.clear()
        for shown in listed:
            self.list.addItem(_item(shown))
            if shown.entry.name == chosen:
                self.list.setCurrentRow(self.list.count() - 1)
        self.list.blockSignals(False)
        self.list.setFixedHeight(ROW_HEIGHT * max(LEAST_ROWS, min(len(listed), MOST_ROWS)) + 6)
        self.list.setVisible(bool(listed))
        self.list.setEnabled(not self._session.job)
        busy = self._session.busy
        explain(self.add, busy or shelf.cannot_add, ADD)
        explain(self.others, busy, FROM)
        self._show_state(len(listed))
        self._show_chosen()

    def _show_state(self, listed: int) -> None:
        shelf = self._shelf
        if not self.isExpanded():
            self.set_state("")
        elif shelf.comparing:
            self.set_state(f"{listed} adapters, comparing with the image")
        else:
            sorted_by = ", best fit first" if self._session.source and listed > 1 else ""
            self.set_state(f"{listed} of {shelf.count}{sorted_by}")

    def _show_chosen(self) -> None:
        """Say below the list what the chosen adapter is, and who has made it."""
        shown = next((each for each in self._shelf.listed if each.entry.name == self._chosen), None)
        explain(self.remove, self._session.busy or ("" if shown else "no adapter is chosen"), REMOVE)
        if shown is None:
            nothing = self.isExpanded() and not self.list.count()
            self.about.setText((EMPTY if not self._shelf.count else "No adapter has these words.") * nothing)
            self.about.setToolTip(plain_tip(self._shelf.folder))
        else:
            self.about.setText(_details(shown))
            self.about.setToolTip(plain_tip(str(shown.entry.path)))
        self.about.setVisible(bool(self.about.text()))

    @property
    def _chosen(self) -> str:
        item = self.list.currentItem()
        return "" if item is None else str(item.data(NAME_ROLE))

    def _use(self, item: QListWidgetItem) -> None:
        self._shelf.use(str(item.data(NAME_ROLE)))

    def _add(self) -> None:
        adapter = self._session.adapter
        if adapter is None:
            return
        dialog = CardDialog(self, adapter)
        if dialog.exec():
            self._shelf.add_current(**dialog.texts())

    def _fill_sources(self, menu: QMenu) -> None:
        menu.clear()
        connect(menu.addAction("File...").triggered, self._add_file)
        connect(menu.addAction("Address...").triggered, self._add_address)

    def _add_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Add an adapter to the library", "", ADAPTER_FILES)
        if path:
            self._session.fetching.start(str(Path(path)))

    def _add_address(self) -> None:
        address, given = QInputDialog.getText(self, "Add adapters to the library", ADDRESS)
        if given and address.strip():
            self._session.fetching.start(address)

    def _remove(self) -> None:
        if self._chosen:
            self._shelf.remove(self._chosen)


class _List(QListWidget):
    """Rows of a picture and three lines of plain text."""

    def __init__(self) -> None:
        super().__init__()
        self.setToolTip(LIST)
        self.setIconSize(QSize(ICON, ICON))
        self.setUniformItemSizes(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTextElideMode(Qt.TextElideMode.ElideRight)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 (Qt's name)
        """Return loads the chosen adapter; not every style says so by itself."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.currentItem() is not None:
            self.itemActivated.emit(self.currentItem())
            return
        super().keyPressEvent(event)


def _item(shown: Shown) -> QListWidgetItem:
    entry, card = shown.entry, shown.entry.card
    used, known = " - in use" if shown.in_use else "", card.preprocess.pixel_size is not None
    facts = (
        shortened(entry.name, MAX_TEXT) + used,
        f"{entry.score}, {shortened(class_names(card.shown_classes), MAX_TEXT)}",
        ", ".join(text for text in (shown.fit, card.base_model, entry.scale if known else "") if text),
    )
    item = QListWidgetItem(_icon(entry), "\n".join(map(printable, facts)))
    item.setData(NAME_ROLE, entry.name)
    item.setSizeHint(QSize(ICON, ROW_HEIGHT))
    item.setToolTip(plain_tip(_details(shown)))
    return item


def _details(shown: Shown) -> str:
    entry, card = shown.entry, shown.entry.card
    lines = (
        card.name if card.name != entry.name else "",
        card.description,
        f"{entry.scale}, base {card.base_model}",
        ", ".join(text for text in (card.author and f"by {card.author}", card.license) if text),
        shown.why,
    )
    return "\n".join(shortened(printable(line, "\n"), MAX_NOTE) for line in lines if line)


def _icon(entry: Entry) -> QIcon:
    """The adapter's picture, or squares in the colours of its classes."""
    if entry.picture is not None:
        reader = QImageReader(str(entry.picture), b"png")
        size = reader.size()
        if size.isValid() and max(size.width(), size.height()) <= MOST_SIDE:
            picture = reader.read()
            if not picture.isNull():
                return QIcon(QPixmap.fromImage(picture))
    pixmap = QPixmap(ICON, ICON)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    colors = [info.color for info in entry.card.shown_classes[:4]]
    for number, color in enumerate(colors):
        height = ICON // len(colors)
        painter.fillRect(8, number * height + 8 // len(colors), ICON - 16, height - 2, QColor(color))
    painter.end()
    return QIcon(pixmap)
