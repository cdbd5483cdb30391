"""The Segment panel: what to segment, where the result goes, and how it is cleaned."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QDoubleSpinBox, QFileDialog, QLineEdit, QProgressBar

from napari_salt.gui.panels._options import OptionControls
from napari_salt.gui.panels._panel import Fold, Panel, button, checkbox, explain, row, words
from napari_salt.session._guard import connect

if TYPE_CHECKING:
    from napari_salt.session._session import Session
from napari_salt.terms.pace import short_duration
from napari_salt.terms.text import shown_size

__all__ = ["SegmentPanel"]

SLICE = "Segment the slice that is shown (Shift-S)."
STACK = "Segment all slices (Shift-D); they appear as they are done."
RANGE = "Segment the slices named on the left."
RESUME = "Go on with the slices that are left."
UNSURE = "Also make an image layer of where the model is unsure: dark is sure, bright could be another class."
GB = 1e9


class SegmentPanel(Panel):
    """Controls for segmenting, its options, and its progress."""

    def __init__(self, session: Session) -> None:
        changed = session.changed
        super().__init__(
            "4 Segment",
            session,
            (changed.image, changed.adapter, changed.options, changed.job, changed.segmenting),
        )
        segmenting = session.segmenting
        self.slice = button("Slice", SLICE, segmenting.current_slice)
        self.stack = button("Stack", STACK, segmenting.stack)
        self.primary = self.stack
        self.stop = button("Stop", "End; the finished slices stay.", session.stop)
        self.range = QLineEdit()
        self.range.setPlaceholderText("0-9, 20")
        self.range.setToolTip("Slices to segment, such as 0-9, 20.")
        connect(self.range.textChanged, lambda text: setattr(session.options, "range_text", text))
        self.run_range = button("Range", RANGE, segmenting.chosen_range)
        self.resume = button("Resume", RESUME, segmenting.resume)
        self.bar = QProgressBar()
        self.bar.setToolTip("Slices done.")
        self.reason = words()
        self.warnings = words()
        self.form.addRow(row(self.slice, self.stack, self.stop))
        self.form.addRow(self.resume)
        self.form.addRow(self.reason)
        self.form.addRow(self.bar)
        self.form.addRow(self.warnings)
        self._make_options()
        self.refresh()

    def _make_options(self) -> None:
        options = self.session.options
        self.more = Fold("options")
        form = Panel.form_of(self.more)
        self.cleaning = OptionControls(self.session, "segment", "segmenting")
        self.probabilities = checkbox(
            "probability layers",
            "Also make an image layer of probabilities for each class.",
            lambda on: setattr(options, "probabilities", on),
        )
        self.uncertainty = checkbox(
            "uncertainty layer", UNSURE, lambda on: setattr(options, "uncertainty", on)
        )
        self.limit = QDoubleSpinBox()
        self.limit.setRange(0.0, 1000.0)
        self.limit.setSuffix(" GB")
        self.limit.setValue(options.memory_limit / GB)
        self.limit.setToolTip("Larger results are written to disk (OME-Zarr) instead of memory.")
        connect(self.limit.valueChanged, self._set_limit)
        self.folder = button("Folder...", "Where results that go to disk are written.", self._choose_folder)
        self.place = words()
        form.addRow(row(self.range, self.run_range))
        self.cleaning.add_to(form)
        form.addRow(self.probabilities)
        form.addRow(self.uncertainty)
        form.addRow("in memory to", self.limit)
        form.addRow("beyond it in", self.folder)
        form.addRow(self.place)
        self.form.addRow(self.more)

    def refresh(self) -> None:
        """Show the session's state."""
        session, segmenting = self.session, self.session.segmenting
        self.cleaning.refresh()
        for target, tooltip in ((self.slice, SLICE), (self.stack, STACK), (self.run_range, RANGE)):
            explain(target, segmenting.cannot, tooltip)
        running = session.job == "segment"
        explain(self.stop, "" if running else "nothing is being segmented", "End; the finished slices stay.")
        left = segmenting.left
        self.resume.setVisible(bool(left))
        self.resume.setText(f"Resume ({len(left)} left)")
        self.reason.setText("" if running else segmenting.cannot)
        self.reason.setVisible(not running and bool(segmenting.cannot))
        self.warnings.setText("\n".join(segmenting.warnings))
        self.warnings.setVisible(bool(segmenting.warnings))
        done, wanted = segmenting.progress
        self.bar.setVisible(running)
        self.bar.setRange(0, max(1, wanted))
        self.bar.setValue(done)
        seconds = segmenting.seconds_left
        more = "" if seconds is None else f", {short_duration(seconds)} left"
        self.bar.setFormat((segmenting.note or f"{done} of {wanted} slices") + more)
        self.set_state(self._summary())
        size = segmenting.bytes_needed / GB
        where = "disk (OME-Zarr)" if segmenting.on_disk else "memory"
        taken = shown_size(segmenting.bytes_needed)
        self.place.setText(f"The whole stack takes {taken} and goes to {where}." if size else "")

    def _summary(self) -> str:
        session, segmenting = self.session, self.session.segmenting
        done, wanted = segmenting.progress
        if session.adapter is None:
            return "needs an adapter"
        if session.job == "segment":
            return f"{done} of {wanted} slices"
        if segmenting.finished:
            return "all slices done"
        if done == session.slice_count:
            return "made by an earlier adapter"
        return f"{done} slices done" if done else "nothing yet"

    def _set_limit(self, value: float) -> None:
        self.session.options.memory_limit = round(value * GB)
        self.refresh()

    def _choose_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder for segmentations")
        if folder:
            self.session.options.folder = Path(folder)
            self.folder.setToolTip(folder)
