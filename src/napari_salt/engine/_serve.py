"""The engine's process: takes requests from napari, runs the core's generators, sends their events.

Run as ``python -m napari_salt.engine._serve``: requests come pickled on standard input, messages go to
standard output. A process of its own keeps torch out of napari: the GUI never waits for torch's imports or
locks, the LLVM of the graphics driver and that of torch are not in one process (which crashes on Mesa), and
when memory runs out, this process is killed and not napari with the user's paint.
"""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
from typing import BinaryIO

from napari_salt.engine import _news as told
from napari_salt.engine import _requests as asked
from napari_salt.engine._asides import Asides
from napari_salt.engine._failures import failure
from napari_salt.engine._jobs import Jobs
from napari_salt.engine._kept import Kept
from napari_salt.engine._link import Link, LogSender
from napari_salt.terms.stopping import StopRequested, check_stop, stopping_by
from napari_salt.terms.text import PlainFormatter

__all__ = ["Engine", "main"]

NICENESS = 5
"""Added to the process's nice value (lower priority), so that the GUI comes first."""


class Engine:
    """Serves napari's process until the stream of requests ends.

    Parameters
    ----------
    requests, messages_out
        Binary streams of pickled messages: to read from and to write to.
    """

    def __init__(self, requests: BinaryIO, messages_out: BinaryIO) -> None:
        self._link = Link(requests, messages_out)
        kept = Kept(self._link)
        self._asides = Asides(self._link, kept)
        self._jobs = Jobs(self._link, kept, self._asides)
        self._queue: queue.SimpleQueue[asked.Request] = queue.SimpleQueue()
        self._stopped = threading.Event()

    def serve(self) -> None:
        """Answer requests until the process ends; this thread computes, another one reads the requests."""
        logger = logging.getLogger("napari_salt")
        logger.setLevel(logging.INFO)
        logger.propagate = False
        logger.addHandler(LogSender(self._link.send))
        threading.Thread(target=self._receive, daemon=True).start()
        while True:
            request = self._queue.get()
            if isinstance(request, asked.Job):
                self._run(request)
            else:
                self._asides.between_jobs()

    def _receive(self) -> None:
        """Put each request into its queue; the end of the stream ends the process, also during a job."""
        while True:
            try:
                request = self._link.receive()
            except (EOFError, OSError):
                os._exit(0)
            if isinstance(request, asked.Stop):
                self._stopped.set()
                continue
            if isinstance(request, asked.Aside):
                self._asides.put(request)
            else:
                self._stopped.clear()
            self._queue.put(request)

    def _run(self, job: asked.Job) -> None:
        try:
            with stopping_by(self._check_stop):
                check_stop()
                self._jobs.run(job)
        except StopRequested:
            self._link.send(told.Finished(stopped=True))
        except Exception as error:  # noqa: BLE001 (the process boundary: everything is reported)
            self._link.send(failure(job, error))
        else:
            self._link.send(told.Finished())

    def _check_stop(self) -> None:
        if self._stopped.is_set():
            raise StopRequested


def main() -> None:
    """Serve the process that started this one."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PlainFormatter("%(levelname)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # text that a library prints must not mix with the messages
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    Engine(sys.stdin.buffer, out).serve()


if __name__ == "__main__":
    main()
