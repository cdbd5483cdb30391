"""The Image panel: what is segmented, and how to get an image where there is none."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Image
from qtpy.QtWidgets import QComboBox, QFileDialog, QLabel, QLineEdit, QMenu, QSpinBox

from napari_salt.gui._opening import open_files
from napari_salt.gui.panels._layer_box import fill_layers, layer_box
from napari_salt.gui.panels._panel import Panel, button, menu_button, row
from napari_salt.session._guard import connect
from napari_salt.terms.errors import SaltError
from napari_salt.terms.slice_ranges import parse_slices
from napari_salt.terms.text import printable

if TYPE_CHECKING:
    from napari_salt.session._session import Session

__all__ = ["ImagePanel"]

SAMPLE = "napari-salt", "cells"
KEPT = "Paint and adapters that were kept automatically."
OTHERS = "File > Open Sample has the MRI of a brain as well."
OPEN = "Open a TIFF, an OME-Zarr or a NIfTI file, or anything else that napari opens."


class ImagePanel(Panel):
    """Controls for the image: which layer, which level, which channels."""

    def __init__(self, session: Session) -> None:
        changed = session.changed
        super().__init__("1 Image", session, (changed.image, changed.labels, changed.job))
        self._filling = False
        self.open = button("Open image...", OPEN, self._open)
        self.sample = button(
            "Open sample", f"Open nuclei of cells with two painted slices. {OTHERS}", self._sample
        )
        self.primary = self.sample
        self.empty = row(self.open, self.sample)
        self.image, self.channel_axis = layer_box("The image to segment."), QComboBox()
        connect(self.image.activated, lambda _index: self._choose_image())
        self.level, self.channels = QSpinBox(), QLineEdit("0")
        self.level.setToolTip("Level of a multiscale image; 0 is the finest.")
        connect(self.level.valueChanged, lambda _value: self._choose_image())
        self.channel_axis.setToolTip("Which axis of the image holds channels, if one does.")
        connect(self.channel_axis.activated, lambda _index: self._choose_axis())
        self.channels.setToolTip("One channel, or up to three that are seen as colour, such as 0,2.")
        connect(self.channels.editingFinished, self._choose_image)
        self.image_label, self.level_label = QLabel("image"), QLabel("level")
        self.channels_label = QLabel("channels")
        self.form.addRow(self.empty)
        self.form.addRow(self.image_label, self.image)
        self.form.addRow(self.level_label, self.level)
        self.form.addRow(self.channels_label, row(self.channel_axis, self.channels))
        self._make_restore()
        self.refresh()

    def _make_restore(self) -> None:
        self.restore = menu_button("Restore earlier work", KEPT, self._fill_restore)
        self.form.addRow(self.restore)

    def refresh(self) -> None:
        """Show the session's state."""
        source = self.session.source
        self._filling = True
        try:
            fill_layers(self.image, self.session.viewer.layers, Image, source.layer if source else None)
            self.empty.setVisible(not self.image.count())
            for widget in (self.image, self.image_label):
                widget.setVisible(bool(self.image.count()))
            multiscale = source is not None and bool(source.layer.multiscale)
            for widget in (self.level, self.level_label):
                widget.setVisible(multiscale)
            several = source is not None and not source.layer.rgb and source.layer.ndim > 2
            self.channels_label.setVisible(several)
            self.channel_axis.parentWidget().setVisible(several)
            if source is not None:
                self._fill_axes(source)
        finally:
            self._filling = False
        self.set_state(self._summary())

    def _summary(self) -> str:
        source, count = self.session.source, self.session.slice_count
        if source is None:
            return "none yet"
        return source.layer.name if count == 1 else f"{source.layer.name}, {count} slices"

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

    def _open(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Open an image")
        if path:
            open_files(self.session.viewer, [Path(path)])

    def _sample(self) -> None:
        self.session.viewer.open_sample(*SAMPLE)

    def _fill_restore(self, menu: QMenu) -> None:
        menu.clear()
        for saved in self.session.autosave.entries():
            text = f"{saved.kind} of {printable(saved.image)}, {saved.time:%d %b %H:%M}".replace("&", "&&")
            connect(menu.addAction(text).triggered, partial(self.session.restore, saved))
        if menu.isEmpty():
            menu.addAction("nothing has been kept yet").setEnabled(False)
