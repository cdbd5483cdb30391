"""The Annotate panel: image, labels, classes, painted slices, and prompts that paint faster."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from napari.layers import Image, Labels
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QComboBox,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QMenu,
    QSpinBox,
    QTableWidget,
    QTableWidgetItem,
    QToolButton,
)

from napari_salt._guard import connect
from napari_salt.gui.panels._options import OptionControls
from napari_salt.gui.panels._panel import Fold, Panel, button, explain, row, words
from napari_salt.session._layers import made_by_us
from napari_salt.terms.errors import SaltError
from napari_salt.terms.slice_ranges import parse_slices
from napari_salt.terms.text import printable

if TYPE_CHECKING:
    from napari_salt.session._session import Session

__all__ = ["AnnotatePanel"]

COLUMNS = ("", "label", "name", "pixels", "slices")
VALUE_ROLE = Qt.ItemDataRole.UserRole
PROMPT = (
    "Click on an object to see its mask (Alt-click: not this), or drag a box around it; Shift-M paints the "
    "mask as the selected label, Clear forgets it. Undo with Ctrl-Z."
)
KEEP = "Learn from this image and its labels also when others are chosen: one training from several stacks."
ROW_HEIGHT = 22
TABLE_HEIGHT, LIST_HEIGHT = 96, 60


class AnnotatePanel(Panel):
    """Controls for image, labels, classes, painted slices and prompts."""

    def __init__(self, session: Session) -> None:
        changed = session.changed
        super().__init__(
            "Annotate",
            session,
            (
                changed.image,
                changed.labels,
                changed.paint,
                changed.options,
                changed.adapter,
                changed.prompt,
                changed.job,
            ),
        )
        self._filling = False
        self._make_layer_boxes()
        self._make_tables()
        self._make_settings()
        self._make_prompts()
        self.refresh()

    def _make_layer_boxes(self) -> None:
        session = self.session
        self.image, self.labels = QComboBox(), QComboBox()
        self.image.setToolTip("The image to segment.")
        self.labels.setToolTip("The labels layer that you paint on; it is never written to behind your back.")
        for box in (self.image, self.labels):
            box.setMinimumContentsLength(8)
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        connect(self.image.activated, lambda _index: self._choose_image())
        connect(self.labels.activated, lambda i: session.set_labels(self.labels.itemData(i)))
        self.new = button("New", "Make an empty labels layer that fits the image.", session.make_labels)
        self.new.setMaximumWidth(48)
        self.level, self.channel_axis, self.channels = QSpinBox(), QComboBox(), QLineEdit("0")
        self.level.setToolTip("Level of a multiscale image; 0 is the finest.")
        connect(self.level.valueChanged, lambda _value: self._choose_image())
        self.channel_axis.setToolTip("Which axis of the image holds channels, if one does.")
        connect(self.channel_axis.activated, lambda _index: self._choose_axis())
        self.channels.setToolTip("One channel, or up to three that are seen as colour, such as 0,2.")
        connect(self.channels.editingFinished, self._choose_image)
        self.form.addRow("image", self.image)
        self.level_label, self.channels_label = QLabel("level"), QLabel("channels")
        self.form.addRow(self.level_label, self.level)
        self.form.addRow(self.channels_label, row(self.channel_axis, self.channels))
        self.form.addRow("labels", row(self.labels, self.new))
        self.problem = words()
        self.form.addRow(self.problem)
        self.align = button("Align", "Lay the labels layer on the image.", session.align_labels)
        self.form.addRow(self.align)
        self.keep = button("Keep pair", KEEP, session.keep_pair)
        self.drop = button("Drop pair", "Learn from the selected pair no more.", self._drop)
        self.pairs = QListWidget()
        self.pairs.setToolTip("Image and labels that training learns from as well.")
        self.pairs.setFixedHeight(LIST_HEIGHT)
        self.several = Fold("several stacks")
        form = Panel.form_of(self.several)
        form.addRow(row(self.keep, self.drop))
        form.addRow(self.pairs)
        self.form.addRow(self.several)

    def _make_tables(self) -> None:
        self.table = QTableWidget(0, len(COLUMNS))
        self.table.setToolTip("The classes: colour, label value, name (double-click to change), paint.")
        self.table.setHorizontalHeaderLabels(COLUMNS)
        self.table.verticalHeader().hide()
        self.table.horizontalHeader().setStretchLastSection(True)
        self.table.verticalHeader().setDefaultSectionSize(ROW_HEIGHT)
        self.table.setFixedHeight(TABLE_HEIGHT)
        for column, width in enumerate((22, 40, 92, 58, 40)):
            self.table.setColumnWidth(column, width)
        connect(self.table.itemChanged, self._rename)
        connect(self.table.cellClicked, self._select_label)
        self.slices = QListWidget()
        self.slices.setToolTip("Painted slices; click to go there.")
        self.slices.setFlow(QListWidget.Flow.LeftToRight)
        self.slices.setWrapping(True)
        self.slices.setResizeMode(QListWidget.ResizeMode.Adjust)
        self.slices.setFixedHeight(LIST_HEIGHT)
        connect(self.slices.itemClicked, lambda item: self.session.go_to(*item.data(VALUE_ROLE)))
        self.form.addRow(self.table)
        self.form.addRow("painted", self.slices)

    def _make_settings(self) -> None:
        self.settings = OptionControls(self.session, "train", "paint")
        self.settings.add_to(self.form)

    def _make_prompts(self) -> None:
        prompting = self.session.prompting
        self.prompt = button("Prompt", PROMPT, lambda: prompting.activate(not prompting.active))
        self.prompt.setCheckable(True)
        self.accept = button("Accept", "Paint the mask as the selected label (Shift-M).", prompting.accept)
        self.forget = button("Clear", "Forget the prompt.", prompting.clear)
        self.restore = QToolButton()
        self.restore.setText("Restore")
        self.restore.setToolTip("Paint and adapters that were kept automatically.")
        self.restore.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(self.restore)
        connect(menu.aboutToShow, lambda: self._fill_restore(menu))
        self.restore.setMenu(menu)
        self.form.addRow(row(self.prompt, self.accept, self.forget, self.restore))
        self.prompt_words = words()
        self.form.addRow(self.prompt_words)

    def refresh(self) -> None:
        """Show the session's state."""
        self._filling = True
        try:
            self._fill_layers()
            self._fill_table()
            self._fill_slices()
            self._show_settings()
        finally:
            self._filling = False

    def follow_layers(self) -> None:
        """Follow added and removed layers; if nothing is chosen, choose the last image and fitting labels."""
        session = self.session
        layers = session.viewer.layers
        if session.labels is not None and session.labels not in layers:
            session.set_labels(None)
        if session.source is not None and session.source.layer not in layers:
            session.set_image(None)
        for pair in session.pairs:
            if pair.labels not in layers or pair.source.layer not in layers:
                session.drop_pair(pair.labels)
        if session.source is None:
            images = [layer for layer in layers if isinstance(layer, Image)]
            if images:
                session.set_image(images[-1])
        if session.labels is None and session.source is not None:
            fitting = [layer for layer in layers if self._fits(layer)]
            if fitting:
                session.set_labels(fitting[-1])
        self.refresh()

    def _fits(self, layer: Any) -> bool:
        source = self.session.source
        if source is None or made_by_us(layer) or not isinstance(layer, Labels) or layer.multiscale:
            return False
        return tuple(layer.data.shape) == source.label_shape

    def _fill_layers(self) -> None:
        session = self.session
        source = session.source
        chosen = (source.layer if source else None, session.labels)
        for box, kind, current in zip((self.image, self.labels), (Image, Labels), chosen, strict=True):
            box.clear()
            for layer in session.viewer.layers:
                if type(layer) is kind and made_by_us(layer) != "overlay":
                    box.addItem(printable(layer.name), layer)
                    if layer is current:
                        box.setCurrentIndex(box.count() - 1)
            if current is None:
                box.setCurrentIndex(-1)
        multiscale = source is not None and bool(source.layer.multiscale)
        for widget in (self.level, self.level_label):
            widget.setVisible(multiscale)
        several = source is not None and not source.layer.rgb and source.layer.ndim > 2
        self.channels_label.setVisible(several)
        self.channel_axis.parentWidget().setVisible(several)
        if source is not None:
            self._fill_axes(source)
        explain(self.new, session.no_image, "Make an empty labels layer that fits the image.")
        self.problem.setText(printable(session.misfit))
        self.problem.setVisible(bool(session.misfit))
        self.align.setVisible(session.misplaced)
        self._fill_pairs()

    def _fill_pairs(self) -> None:
        session = self.session
        chosen = self.pairs.currentRow()
        self.pairs.clear()
        for pair in session.pairs:
            item = QListWidgetItem(printable(pair.name))
            item.setData(VALUE_ROLE, pair.labels)
            self.pairs.addItem(item)
        self.pairs.setCurrentRow(min(max(chosen, 0), len(session.pairs) - 1))
        for widget in (self.pairs, self.drop):
            widget.setVisible(bool(session.pairs))
        explain(self.keep, "" if session.paint else "choose an image and labels that fit it first", KEEP)

    def _drop(self) -> None:
        item = self.pairs.currentItem()
        if item is not None:
            self.session.drop_pair(item.data(VALUE_ROLE))

    def _fill_axes(self, source: Any) -> None:
        self.level.setMaximum(len(source.layer.data) - 1 if source.layer.multiscale else 0)
        self.level.setValue(source.level)
        self.channel_axis.clear()
        self.channel_axis.addItem("no channels", None)
        for axis, length in enumerate(source.data.shape[:-2] if not source.layer.rgb else ()):
            self.channel_axis.addItem(f"axis {axis} ({length})", axis)
        self.channel_axis.setCurrentIndex(0 if source.channel_axis is None else source.channel_axis + 1)
        self.channels.setVisible(source.channel_axis is not None)
        self.channels.setText(", ".join(map(str, source.channels)) or "0")

    def _fill_table(self) -> None:
        session, paint = self.session, self.session.paint
        self.table.setRowCount(len(session.classes))
        for line, info in enumerate(session.classes):
            pixels = paint.pixels(info.value) if paint else 0
            slices = len(paint.slices_of(info.value)) if paint else 0
            for column, text in enumerate(("", str(info.value), info.name, f"{pixels:,}", str(slices))):
                item = QTableWidgetItem(text)
                item.setData(VALUE_ROLE, info.value)
                item.setToolTip(self.table.toolTip())
                if column == 0:
                    item.setBackground(QColor(info.color))
                if COLUMNS[column] != "name":
                    item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsEditable)
                self.table.setItem(line, column, item)

    def _fill_slices(self) -> None:
        self.slices.clear()
        plane = self.session.plane
        for index in self.session.painted_places:
            item = QListWidgetItem(str(index) if plane == "z" else f"{plane} = {index}")
            item.setData(VALUE_ROLE, (index, plane))
            self.slices.addItem(item)

    def _show_settings(self) -> None:
        session, prompting = self.session, self.session.prompting
        self.settings.refresh()
        self.settings.set_visible("background_label", session.options.background_label is not None)
        explain(self.prompt, prompting.cannot, PROMPT)
        self.prompt.setChecked(prompting.active)
        explain(self.accept, "" if prompting.has_mask else "there is no mask", "Paint the mask (Shift-M).")
        explain(self.forget, "" if prompting.has_mask else "there is no mask", "Forget the prompt.")
        self.prompt_words.setVisible(prompting.active)
        took = "" if prompting.seconds is None else f" Last mask: {prompting.seconds:.2f} s."
        self.prompt_words.setText(PROMPT + took if prompting.active else "")

    def _choose_axis(self) -> None:
        self.channels.setText("0")
        self._choose_image()

    def _choose_image(self) -> None:
        if self._filling:
            return
        layer = self.image.currentData()
        axis = self.channel_axis.currentData() if self.channel_axis.isVisibleTo(self) else None
        try:
            channels = parse_slices(self.channels.text()) if axis is not None else ()
        except SaltError as error:
            self.refresh()
            self.session.problem.emit(str(error), "channels")
            return
        current = self.session.source.layer if self.session.source else None
        level = self.level.value() if layer is current else 0
        if layer is not current:
            axis, channels = None, ()
        self.session.set_image(layer, level=level, channel_axis=axis, channels=channels)

    def _rename(self, item: QTableWidgetItem) -> None:
        if not self._filling and COLUMNS[item.column()] == "name":
            self.session.name_class(item.data(VALUE_ROLE), item.text())

    def _select_label(self, line: int, _column: int) -> None:
        item = self.table.item(line, 0)
        if self.session.labels is not None and item is not None:
            self.session.labels.selected_label = item.data(VALUE_ROLE)

    def _fill_restore(self, menu: QMenu) -> None:
        menu.clear()
        for saved in self.session.autosave.entries():
            text = f"{saved.kind} of {printable(saved.image)}, {saved.time:%d %b %H:%M}".replace("&", "&&")
            connect(menu.addAction(text).triggered, partial(self.session.restore, saved))
        if menu.isEmpty():
            menu.addAction("nothing has been kept yet").setEnabled(False)
