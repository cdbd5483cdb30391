"""The Project panel: many images at once, as a file that this window and the command line carry out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QApplication, QFileDialog, QProgressBar

from napari_salt.gui.panels._panel import Panel, button, explain, row, words
from napari_salt.terms.text import printable

if TYPE_CHECKING:
    from napari_salt.session._session import Session

__all__ = ["ProjectPanel"]

FILES = "Projects (*.toml)"
OPEN = "Open a project's images and labels, its settings and its adapter (or drop the file on napari)."
SAVE = "Save what is learnt from, what is segmented, and the settings as one file, for many images at once."
RUN = "Train and segment all that the file names, with a table and a report; what is done is not made again."
STOP = "End after this step; the next run goes on from there. Press again to end at once."
COPY = "Copy the command that does the same in a terminal, on this machine or another one."
REPORT = "Open the report in the browser."
WHAT_FOR = "A project is for many images: one adapter, a segmentation of each, one table and one report."


class ProjectPanel(Panel):
    """Opens and saves project files, and carries them out."""

    def __init__(self, session: Session) -> None:
        changed = session.changed
        updates = (
            changed.project,
            changed.image,
            changed.labels,
            changed.paint,
            changed.adapter,
            changed.job,
        )
        super().__init__("Project", session, updates)
        self.open = button("Open project...", OPEN, self._open)
        self.save = button("Save project...", SAVE, self._save)
        self.what = words()
        self.run = button("Run", RUN, session.projects.run)
        self.stop = button("Stop", STOP, session.stop)
        self.bar = QProgressBar()
        self.bar.setRange(0, 100)
        self.doing, self.said = words(), words()
        self.report = button("Show the report", REPORT, self._show_report)
        self.command = words()
        self.copy = button("Copy the command", COPY, self._copy)
        self.form.addRow(row(self.open, self.save))
        self.form.addRow(self.what)
        self.form.addRow(row(self.run, self.stop))
        for widget in (self.bar, self.doing, self.said, self.report, self.command, self.copy):
            self.form.addRow(widget)
        self.refresh()

    def refresh(self) -> None:
        """Show the session's project."""
        session, projects, job = self.session, self.session.projects, self.session.carrying_out
        running = session.job == "run"
        explain(self.open, session.busy, OPEN)
        explain(self.save, projects.cannot_save, SAVE)
        explain(self.run, projects.cannot_run, RUN)
        explain(self.stop, "" if running else "no project is being carried out", STOP)
        self.what.setText(printable("\n".join(projects.words), "\n") or WHAT_FOR)
        self.bar.setValue(round(100 * job.fraction))
        self.doing.setText(printable(job.note))
        self.said.setText(printable("\n".join(job.said), "\n"))
        self.command.setText(printable(projects.command))
        for widget in (self.bar, self.doing):
            widget.setVisible(running)
        self.said.setVisible(bool(job.said))
        self.report.setVisible(bool(job.result.get("report")))
        for control in (self.run, self.stop, self.command, self.copy):
            control.setVisible(bool(projects.command))
        self.set_state("none" if projects.path is None else projects.path.name)

    def _open(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Open a project", "", FILES)
        if path:
            self.session.projects.open(Path(path))

    def _save(self) -> None:
        known = self.session.projects.path
        name = "project.toml" if known is None else str(known)
        path, _ = QFileDialog.getSaveFileName(self, "Save the project", name, FILES)
        if path:
            self.session.projects.save(Path(path))

    def _show_report(self) -> None:
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(self.session.carrying_out.result["report"])))

    def _copy(self) -> None:
        QApplication.clipboard().setText(self.session.projects.command)
