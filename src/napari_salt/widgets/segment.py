"""The Segment panel: what to segment, where the result goes, and how it is cleaned."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QDoubleSpinBox, QFileDialog, QLineEdit, QProgressBar, QSpinBox

from napari_salt.widgets._panel import Fold, Panel, button, checkbox, choice, explain, row, words

if TYPE_CHECKING:
    from napari_salt._session import Session

__all__ = ["SegmentPanel"]

SLICE = "Segment the slice that is shown (Shift-S)."
STACK = "Segment all slices (Shift-D); they appear as they are done."
RANGE = "Segment the slices named on the left."
RESUME = "Go on with the slices that are left."
VIEWS = (("automatic", None), ("1 view (fast)", 1), ("2 views", 2), ("4 views (best)", 4))
GB = 1e9


class SegmentPanel(Panel):
    """Segmenting."""

    def __init__(self, session: Session) -> None:
        super().__init__("Segment", session, ("image", "adapter", "job", "segmenting"))
        segmenting = session.segmenting
        self.slice = button("Slice", SLICE, segmenting.current_slice)
        self.stack = button("Stack", STACK, segmenting.stack)
        self.stop = button("Stop", "End; the finished slices stay.", session.stop)
        self.range = QLineEdit()
        self.range.setPlaceholderText("0-9, 20")
        self.range.setToolTip("Slices to segment, such as 0-9, 20.")
        self.range.textChanged.connect(lambda text: setattr(session.options, "range_text", text))
        self.run_range = button("Range", RANGE, segmenting.chosen_range)
        self.resume = button("Resume", RESUME, segmenting.resume)
        self.bar = QProgressBar()
        self.bar.setToolTip("Slices done.")
        self.reason = words()
        self.form.addRow(row(self.slice, self.stack, self.stop))
        self.form.addRow(row(self.range, self.run_range))
        self.form.addRow(self.resume)
        self.form.addRow(self.reason)
        self.form.addRow(self.bar)
        self._make_options()
        self.refresh()

    def _make_options(self) -> None:
        options = self.session.options
        self.more = Fold("options")
        form = Panel.form_of(self.more)
        self.views = choice(
            "Turned and mirrored views that are averaged: better and slower.",
            VIEWS,
            lambda value: setattr(options, "views", value),
        )
        self.min_size = QSpinBox()
        self.min_size.setRange(0, 1_000_000)
        self.min_size.setSuffix(" pixels")
        self.min_size.setToolTip("Remove objects with fewer pixels in a slice.")
        self.min_size.valueChanged.connect(lambda v: setattr(options, "min_size", v))
        self.fill = checkbox(
            "fill holes", "Fill holes in objects.", lambda on: setattr(options, "fill_holes", on)
        )
        self.smooth = checkbox(
            "smooth across slices",
            "Average each slice's probabilities with its neighbours (1:2:1).",
            lambda on: setattr(options, "smooth", on),
        )
        self.probabilities = checkbox(
            "probability layers",
            "Also make an image layer of probabilities for each class.",
            lambda on: setattr(options, "probabilities", on),
        )
        self.limit = QDoubleSpinBox()
        self.limit.setRange(0.0, 1000.0)
        self.limit.setSuffix(" GB")
        self.limit.setValue(options.memory_limit / GB)
        self.limit.setToolTip("Larger results are written to disk (OME-Zarr) instead of memory.")
        self.limit.valueChanged.connect(self._set_limit)
        self.folder = button("Folder...", "Where results that go to disk are written.", self._choose_folder)
        self.place = words()
        form.addRow("views", self.views)
        form.addRow("smallest", self.min_size)
        form.addRow(self.fill)
        form.addRow(self.smooth)
        form.addRow(self.probabilities)
        form.addRow("in memory to", row(self.limit, self.folder))
        form.addRow(self.place)
        self.form.addRow(self.more)

    def refresh(self) -> None:
        """Show the session's state."""
        session, segmenting = self.session, self.session.segmenting
        for target, tooltip in ((self.slice, SLICE), (self.stack, STACK), (self.run_range, RANGE)):
            explain(target, segmenting.cannot, tooltip)
        running = session.job == "segment"
        explain(self.stop, "" if running else "nothing is being segmented", "End; the finished slices stay.")
        left = segmenting.left
        self.resume.setVisible(bool(left))
        self.resume.setText(f"Resume ({len(left)} left)")
        self.reason.setText("" if running else segmenting.cannot)
        self.reason.setVisible(not running and bool(segmenting.cannot))
        done, wanted = segmenting.progress
        self.bar.setVisible(running)
        self.bar.setRange(0, max(1, wanted))
        self.bar.setValue(done)
        self.bar.setFormat(segmenting.note or f"{done} of {wanted} slices")
        size = segmenting.bytes_needed / GB
        where = "disk (OME-Zarr)" if segmenting.on_disk else "memory"
        self.place.setText(f"The whole stack takes {size:.2g} GB and goes to {where}." if size else "")

    def _set_limit(self, value: float) -> None:
        self.session.options.memory_limit = round(value * GB)
        self.refresh()

    def _choose_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder for segmentations")
        if folder:
            self.session.options.folder = Path(folder)
            self.folder.setToolTip(folder)
