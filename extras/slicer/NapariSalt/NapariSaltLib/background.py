"""A run of napari-salt in the background: progress, result, errors, cancelling. Without Slicer."""

from __future__ import annotations

import json
import os
import queue
import re
import subprocess
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

__all__ = ["Run", "State", "environment_for"]

PROGRESS = re.compile(r"(?P<what>[^:]+): (?P<percent>\d{1,3}) %(?:, (?P<left>.+) left)?")
"""A line of progress, such as "training: 30 %, 1 min 5 s left"."""
PROGRAM = "napari-salt: "
"""Begins the sentence that says what was wrong."""
MISSING = "No module named napari_salt"
KEPT_LINES = 200
OF_SLICER = ("PYTHONHOME", "PYTHONPATH", "PYTHONNOUSERSITE")
"""Variables by which Slicer's own Python finds its packages, which another Python must not see."""


@dataclass(frozen=True)
class State:
    """How far a run is.

    Parameters
    ----------
    fraction
        Share that is done, 0 to 1.
    text
        What was said last.
    is_over
        Whether the process has ended.
    result
        What the command prints with ``--json``; empty before the end, and after an error.
    error
        What went wrong, in one sentence; "" if nothing.
    is_cancelled
        Whether it has ended because of `Run.cancel`; what was finished is kept.
    """

    fraction: float = 0.0
    text: str = ""
    is_over: bool = False
    result: Mapping[str, Any] | None = None
    error: str = ""
    is_cancelled: bool = False


class Run:
    """A process of napari-salt.

    Parameters
    ----------
    command
        Its command line.
    environment
        Its environment variables (see `environment_for`); None: those of this process.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self._told: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._printed: deque[str] = deque(maxlen=KEPT_LINES)
        self._fraction, self._text, self._stopping, self._error = 0.0, "starting", 0, ""
        self._python = command[0]
        self._process: subprocess.Popen[str] | None = None
        self._readers: list[threading.Thread] = []
        try:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                env={**(os.environ if environment is None else environment), "PYTHONIOENCODING": "utf-8"},
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except OSError as error:
            self._error = (
                f"{self._python} cannot be started ({error.strerror}): choose a Python with napari-salt"
            )
            return
        for name, stream in (("out", self._process.stdout), ("err", self._process.stderr)):
            reader = threading.Thread(target=self._read, args=(name, stream), daemon=True)
            reader.start()
            self._readers.append(reader)

    @property
    def log(self) -> str:
        """The last lines that were said."""
        return "\n".join(self._lines)

    def poll(self) -> State:
        """Say how far it is, at once; call it again and again, such as by a timer."""
        process = self._process
        if process is None:
            return State(is_over=True, error=self._error)
        code = process.poll()
        if code is not None:
            for reader in self._readers:
                reader.join()
        self._take()
        if code is None:
            return State(self._fraction, self._text)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
        if code == 0:
            return State(1.0, "done", is_over=True, result=self._result())
        if self._stopping:
            return State(self._fraction, "cancelled", is_over=True, is_cancelled=True)
        return State(self._fraction, self._text, is_over=True, error=self._sentence(code))

    def wait(self) -> State:
        """Wait for the end, and say how it was."""
        if self._process is not None:
            self._process.wait()
        return self.poll()

    def cancel(self) -> None:
        """End it after the step that it is at; the second time, at once.

        A training keeps its best adapter so far. On Windows it ends at once, with the adapter that was
        scored last.
        """
        if self._process is None or self._process.poll() is not None:
            return
        self._stopping += 1
        self._text = "stopping after this step"
        if self._stopping == 1:
            self._process.terminate()
        else:
            self._process.kill()

    def _read(self, name: str, stream: IO[str]) -> None:
        for line in stream:
            self._told.put((name, line.rstrip()))

    def _take(self) -> None:
        """Take what was said since the last time."""
        while not self._told.empty():
            name, line = self._told.get()
            if name == "out":
                self._printed.append(line)
            elif line:
                self._lines.append(line)
                self._follow(line)

    def _follow(self, line: str) -> None:
        if self._stopping:
            return
        self._text = line
        found = PROGRESS.fullmatch(line)
        if found is not None:
            self._fraction = min(1.0, int(found["percent"]) / 100)

    def _result(self) -> Mapping[str, Any]:
        """The object that the last line holds, if it holds one."""
        try:
            result = json.loads(self._printed[-1])
        except (IndexError, ValueError):
            return {}
        return result if isinstance(result, dict) else {}

    def _sentence(self, code: int) -> str:
        """What was wrong, in one sentence."""
        if any(MISSING in line for line in self._lines):
            how = "choose another Python, or install it there: pip install napari-salt"
            return f"{self._python} has no napari-salt: {how}"
        told = [line[len(PROGRAM) :] for line in self._lines if line.startswith(PROGRAM)]
        last = self._lines[-1] if self._lines else "nothing was said"
        return told[-1] if told else f"napari-salt ended with code {code}: {last}"


def environment_for(environment: Mapping[str, str]) -> dict[str, str]:
    """`environment` without what only Slicer's own Python needs."""
    return {name: value for name, value in environment.items() if name not in OF_SLICER}
