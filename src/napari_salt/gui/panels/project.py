"""The Project panel: many images at once, as a file that the command line carries out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QApplication, QFileDialog

from napari_salt.gui.panels._panel import Panel, button, explain, row, words
from napari_salt.terms.text import printable

if TYPE_CHECKING:
    from napari_salt.session._session import Session

__all__ = ["ProjectPanel"]

FILES = "Projects (*.toml)"
OPEN = "Open a project's images and labels, its settings and its adapter (or drop the file on napari)."
SAVE = "Save what is learnt from, what is segmented, and the settings as one file, for many images at once."
COPY = "Copy the command that carries the project out; what is done already is not made again."
WHAT_FOR = "A project is for many images: one adapter, a segmentation of each, one table and one report."
HOW = "To train and segment all of it, type this in a terminal:"


class ProjectPanel(Panel):
    """Opens and saves project files, and says how to carry them out."""

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
        self.how = words(HOW)
        self.command = words()
        self.copy = button("Copy the command", COPY, self._copy)
        self.form.addRow(row(self.open, self.save))
        for widget in (self.what, self.how, self.command, self.copy):
            self.form.addRow(widget)
        self.refresh()

    def refresh(self) -> None:
        """Show the session's project."""
        session, projects = self.session, self.session.projects
        explain(self.open, session.busy, OPEN)
        explain(self.save, projects.cannot_save, SAVE)
        self.what.setText(printable("\n".join(projects.words), "\n") or WHAT_FOR)
        self.command.setText(printable(projects.command))
        for widget in (self.how, self.command, self.copy):
            widget.setVisible(bool(projects.command))
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

    def _copy(self) -> None:
        QApplication.clipboard().setText(self.session.projects.command)
