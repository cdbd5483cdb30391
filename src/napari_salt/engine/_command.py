"""A command of napari-salt in a process of its own, as on a terminal: its lines as they come, and its end."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import IO

from psygnal import Signal

from napari_salt.terms.threads import SHORT_WAITS

__all__ = ["CommandProcess"]

NICENESS = 5
"""Added to the process's nice value (lower priority), so that the window comes first."""


class CommandProcess:
    """A running command.

    Parameters
    ----------
    call_soon
        Schedules a function on the thread that uses this object; it may be called from any thread, also while
        napari quits.
    arguments
        Arguments of ``napari-salt``.

    Attributes
    ----------
    line
        psygnal signal, emitted through `call_soon`, with each line of standard error.
    ended
        The same, with the exit code and all of standard output, after the last line.

    Raises
    ------
    OSError
        If the process cannot be started.
    """

    line = Signal(str)
    ended = Signal(int, str)

    def __init__(self, call_soon: Callable[[Callable[[], None]], None], arguments: Sequence[str]) -> None:
        self._call_soon = call_soon
        self._closed = self._asked = False
        self._printed: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (a pipe could fill; `_read` closes it)
        self._process = subprocess.Popen(  # noqa: S603 (our own program) # nosec B603
            [sys.executable, "-m", "napari_salt", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=self._printed,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            env={**SHORT_WAITS, **os.environ, "PYTHONIOENCODING": "utf-8"},
            creationflags=getattr(subprocess, "BELOW_NORMAL_PRIORITY_CLASS", 0)
            | getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        if hasattr(os, "setpriority"):
            with contextlib.suppress(OSError):  # it has ended
                own = os.getpriority(os.PRIO_PROCESS, 0)
                os.setpriority(os.PRIO_PROCESS, self._process.pid, own + NICENESS)
        threading.Thread(target=self._read, name="napari-salt command", daemon=True).start()

    def stop(self) -> None:
        """End it after the step that it is at, as Ctrl-C does; the second time, at once.

        Windows has no such signal: there it ends at once.
        """
        self._process.kill() if self._asked else self._process.terminate()
        self._asked = True

    def close(self) -> None:
        """End it at once; no signal is emitted after that."""
        self._closed = True
        self._process.kill()
        self._process.wait()

    def _read(self) -> None:
        """Pass on the lines until it ends; runs in its own thread."""
        with self._process.stderr as lines:  # type: ignore[union-attr]
            for line in lines:
                self._soon(partial(self.line.emit, line.rstrip()))
        code = self._process.wait()
        with self._printed as printed:
            printed.seek(0)
            text = printed.read().decode("utf-8", "replace")
        self._soon(partial(self.ended.emit, code, text))

    def _soon(self, function: Callable[[], None]) -> None:
        self._call_soon(lambda: None if self._closed else function())
