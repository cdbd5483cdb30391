"""Carrying out a project: the command line does it, in a process of its own. No Qt, no torch."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_salt.session._guard import connect
from napari_salt.session._job import SessionJob

if TYPE_CHECKING:
    from napari_salt.engine._command import CommandProcess
    from napari_salt.session._state import SessionState

__all__ = ["ProjectJob"]

IMAGE = re.compile(r"image (?P<number>\d+) of (?P<count>\d+), ")
PROGRESS = re.compile(r"[^:]+: (?P<percent>\d{1,3}) %(, .+ left)?")
DETAIL, PROGRAM = re.compile(r"INFO: |step \d+, "), "napari-salt: "
"""Beginnings of lines: notes on the way, and the sentence that says why nothing could be done."""
ENDED = 0, 3, 130
"""Exit codes of a run that has a result: done, done but for some files, stopped."""


class ProjectJob(SessionJob):
    """Runs ``napari-salt run``, and keeps what it says.

    Attributes
    ----------
    said
        What the last run has said, without its progress: how it has ended, where the results are, which files
        cannot be used.
    result
        What it prints with ``--json``; empty before its end.
    """

    def __init__(self, session: SessionState) -> None:
        super().__init__(session, session.changed.project)
        self._process: CommandProcess | None = None
        self._image = ""
        self._number, self._count = 0, 0
        self._stopping = False
        self.said: list[str] = []
        self.result: dict[str, Any] = {}

    def start(self, path: Path) -> None:
        """Carry out a project's file."""
        session = self._session
        self.said, self.result, self._stopping = [], {}, False
        self._image, self._number, self._count = "", 0, 0
        self._begin("SALT project")
        self.note = "starting"
        try:
            self._process = session.engine.command(["run", str(path.absolute()), "--json"])
        except OSError as error:
            self.end()
            session.problem.emit(f"the run cannot be started ({error.strerror})", "project")
            return
        connect(self._process.line, self._on_line)
        connect(self._process.ended, self._on_ended)
        session.job = "run"
        session.changed.job.emit()

    def stop(self) -> None:
        """End it after the step that it is at; the next run goes on."""
        if self._process is not None:
            self._process.stop()
            self._stopping = True
            self.on_note("stopping after this step", self.fraction)

    def end(self) -> None:
        """Kill the process if it runs, and close the progress bar."""
        super().end()
        if self._process is not None:
            self._process.close()
            self._process = None

    def _on_line(self, line: str) -> None:
        image, progress = IMAGE.match(line), PROGRESS.fullmatch(line)
        if image:
            self._image, self._number, self._count = line, int(image["number"]), int(image["count"])
        if progress or image:
            self._show_progress(line, int(progress["percent"]) / 100 if progress else 0.0)
        elif DETAIL.match(line):
            self.on_note(line, self.fraction)
        elif line and line not in self.said:
            self.said.append(line)
            self._changed.emit()

    def _show_progress(self, line: str, share: float) -> None:
        """Show how far it is: in the training, or in all images."""
        if not self._count:
            self.on_note(line, share)
            return
        done = (self._number - 1 + share) / self._count
        self.on_note(self._image if line == self._image else f"{self._image}: {line}", done)

    def _on_ended(self, code: int, printed: str) -> None:
        session, fault = self._session, ""
        lines = printed.splitlines()
        if code in ENDED and lines:
            self.result = json.loads(lines[-1])
            self.said = [*self.said[-1:], *self.said[:-1]]  # how it has ended comes first
        elif self._stopping:
            self.said.append("stopped; the next run goes on")
        else:
            told = self.said.pop() if self.said else "nothing was said"
            known = told.startswith(PROGRAM)
            fault = told.removeprefix(PROGRAM) if known else f"the run ended with code {code}: {told}"
        self._process = None
        session.job = ""
        self.end()
        self._changed.emit()
        session.changed.job.emit()
        if fault:
            session.problem.emit(fault, "project")
