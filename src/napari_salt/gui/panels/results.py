"""The Results panel: what was found, as tables and files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QComboBox, QFileDialog, QProgressBar, QTreeWidget, QTreeWidgetItem

from napari_salt.gui.panels._compare import CompareFold, fill_sides
from napari_salt.gui.panels._panel import Panel, button, checkbox, explain, plain_tip, row, words
from napari_salt.io._table import offered
from napari_salt.session._guard import connect
from napari_salt.terms.text import printable, unpathed

if TYPE_CHECKING:
    from napari_salt.results.kinds import By
    from napari_salt.results.table import Table
    from napari_salt.session._session import Session

__all__ = ["ResultsPanel"]

CLASSES = "Volume, share and mean intensity of each class."
OBJECTS = "Number, volume, place and intensity of each object, also as features of a layer."
TABLE = "Save the tables as CSV, which any spreadsheet opens."
LABELS = "Save the labels as {}, where the image lies."
NUMBERS = "On: each value is an object. Off: values are classes, and their connected pieces are objects."
CSV, HTML = "Table (*.csv)", "Report (*.html)"
REPORT = "Write one HTML file for a paper: settings, versions, learning curves, slices and volumes."
LEARN = "Paint what you have changed in the result on the layer of 2 Paint, so that training learns it."
EDITED = "You have painted on the result {}."
SHOWN = {"share": "share", "mean_intensity": "mean"}
"""Columns of the table of classes that the panel shows after the size, and their titles."""
SIZES = ("volume_ml", "volume_um3", "area_mm2", "area_um2", "voxels", "pixels")
"""Columns of sizes; the first that there is is shown."""
ROW_HEIGHT, MOST_ROWS = 22, 10


class ResultsPanel(Panel):
    """Tables of classes and objects of a labels layer, and the layer as a file."""

    def __init__(self, session: Session) -> None:
        changed = session.changed
        updates = (changed.image, changed.labels, changed.adapter, changed.job, changed.results)
        super().__init__("Results", session, updates)
        measuring = session.measuring
        self.layer = QComboBox()
        self.layer.setToolTip("The labels layer that is measured and saved.")
        self.layer.setMinimumContentsLength(8)
        connect(self.layer.activated, self._choose)
        self.numbers = checkbox("values are numbers of objects", NUMBERS, measuring.take_as_numbers)
        self.classes = button("Measure classes", CLASSES, lambda: measuring.start("classes"))
        self.objects = button("Measure objects", OBJECTS, lambda: measuring.start("objects"))
        self.stop = button("Stop", "End; nothing is kept of this run.", session.stop)
        self.bar = QProgressBar()
        self.bar.setRange(0, 100)
        self.reason = words()
        self.table = QTreeWidget()
        self.table.setRootIsDecorated(False)
        self.table.setToolTip("The classes of the layer.")
        self.found = words()
        self.save_table = button("Save table...", TABLE, self._save_table)
        self.save_labels = button("Save labels...", LABELS.format(", ".join(offered())), self._save_labels)
        self.learn = button("Learn from this", LEARN, session.correcting.take)
        self.primary = self.learn
        self.edited = words()
        self.form.addRow(self.edited)
        self.form.addRow(self.learn)
        self.form.addRow("of layer", self.layer)
        self.form.addRow(self.numbers)
        self.form.addRow(row(self.classes, self.objects, self.stop))
        for widget in (self.reason, self.bar, self.table, self.found):
            self.form.addRow(widget)
        self.report = button("Report...", REPORT, self._report)
        self.form.addRow(row(self.save_table, self.save_labels, self.report))
        self.compare = CompareFold(session)
        self.form.addRow(self.compare)
        self.refresh()

    def refresh(self) -> None:
        """Show the session's state."""
        session, measuring = self.session, self.session.measuring
        self._show_layers()
        running = session.job in ("measure", "write")
        explain(self.classes, measuring.cannot_classes, CLASSES)
        explain(self.objects, measuring.cannot, OBJECTS)
        self.stop.setVisible(running)
        self.bar.setVisible(running)
        self.bar.setValue(round(100 * (measuring if session.job == "measure" else session.saving).fraction))
        reason = "" if session.job else measuring.cannot
        self.reason.setText(reason)
        self.reason.setVisible(bool(reason))
        tables = measuring.classes or measuring.objects
        self.set_state("measured" if tables else "nothing measured yet")
        explain(self.save_table, "" if tables else "nothing is measured yet", TABLE)
        explain(self.save_labels, measuring.cannot, LABELS.format(", ".join(offered())))
        explain(self.report, session.reporting.cannot, REPORT)
        self._show_classes(measuring.classes)
        self._show_corrections()
        self.compare.refresh()
        written = session.reporting.path
        told = [*measuring.words, *measuring.warnings, *session.saving.words]
        told += [] if written is None else [f"report: {written}"]
        self.found.setText("\n".join(told))
        self.found.setVisible(bool(told))

    def _show_layers(self) -> None:
        measuring = self.session.measuring
        fill_sides(self.layer, measuring.layers, measuring.layer)
        self.numbers.blockSignals(True)
        self.numbers.setChecked(self.session.measuring.numbers)
        self.numbers.blockSignals(False)

    def _show_corrections(self) -> None:
        """Offer to learn from a result that was painted on, and say what was taken from it."""
        correcting = self.session.correcting
        layer = correcting.layer
        self.learn.setVisible(layer is not None)
        explain(self.learn, correcting.cannot, LEARN)
        text = correcting.words if layer is None else EDITED.format(printable(layer.name))
        self.edited.setText(text)
        self.edited.setVisible(bool(text))

    def _show_classes(self, table: Table | None) -> None:
        self.table.setVisible(table is not None and len(table) > 0)
        self.table.clear()
        if table is None:
            return
        size = next(name for name in SIZES if name in table.columns)
        shown = [size, *(name for name in SHOWN if name in table.columns)]
        self.table.setHeaderLabels(["class", _unit(size), *(SHOWN[name] for name in shown[1:])])
        for line in table.rows():
            time = f"{line['time']}: " if "time" in line else ""
            item = QTreeWidgetItem([time + line["class_name"], *(_text(name, line[name]) for name in shown)])
            item.setToolTip(0, plain_tip(f"{line['class_name']}: on {line['slices']} slices"))
            item.setIcon(0, _patch(self.session.measuring.color(line["class"])))
            for column in range(1, len(shown) + 1):
                item.setTextAlignment(column, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            self.table.addTopLevelItem(item)
        for column in range(len(shown) + 1):
            self.table.resizeColumnToContents(column)
        self.table.setFixedHeight(ROW_HEIGHT * (min(len(table), MOST_ROWS) + 2))

    def _choose(self, position: int) -> None:
        self.session.measuring.choose(self.layer.itemData(position))

    def _save_table(self) -> None:
        measuring = self.session.measuring
        tables: dict[By, Table | None] = {"classes": measuring.classes, "objects": measuring.objects}
        for by in (by for by, table in tables.items() if table is not None):
            name = f"{unpathed(measuring.title)} {by}.csv"
            path, _ = QFileDialog.getSaveFileName(self, f"Save the table of {by}", name, CSV)
            if path:
                measuring.save(by, Path(path))

    def _save_labels(self) -> None:
        layer = self.session.measuring.layer
        if layer is None:
            return
        kinds = ";;".join(f"Labels (*{suffix})" for suffix in offered())
        name = f"{unpathed(layer.name)}{offered()[0]}"
        path, kind = QFileDialog.getSaveFileName(self, "Save the labels", name, kinds)
        if path:
            self.session.saving.start(layer, _with_suffix(path, kind))

    def _report(self) -> None:
        adapter = self.session.adapter
        if adapter is None:
            return
        path, _ = QFileDialog.getSaveFileName(self, "Write the report", f"{adapter.layer_title}.html", HTML)
        if path:
            self.session.reporting.start(Path(path))


def _with_suffix(path: str, kind: str) -> Path:
    """The path, with the suffix of the chosen kind of file if it has none that can be written."""
    known = any(path.lower().endswith(suffix) for suffix in offered())
    return Path(path if known else path + kind[kind.find("*") + 1 : -1])


def _unit(column: str) -> str:
    """The unit of a column of sizes, as people write it."""
    unit = column.rpartition("_")[2]
    return {"ml": "mL"}.get(unit, unit.replace("um", "µm").replace("2", "²").replace("3", "³"))


def _text(column: str, value: Any) -> str:
    if value is None:
        return "-"
    if column == "share":
        return f"{100 * value:.3g} %"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def _patch(color: str) -> QIcon:
    patch = QPixmap(12, 12)
    patch.fill(QColor(color))
    return QIcon(patch)
