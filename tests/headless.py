"""A session without a window."""

import queue
import time

from napari_salt.engine._client import ENGINE, EngineProcess
from napari_salt.session._session import Session

SECONDS = 120


class Loop:
    """A thread's own loop: other threads hand it functions."""

    def __init__(self):
        self._functions = queue.SimpleQueue()

    def __call__(self, function):
        self._functions.put(function)

    def run(self, until):
        """Call what was handed in until `until()`."""
        end = time.monotonic() + SECONDS
        while not until():
            self._functions.get(timeout=max(0.0, end - time.monotonic()))()


def session(viewer, loop=None, autosave=None, engine=ENGINE):
    """A session on a viewer or its model; nobody answers its questions."""
    return Session(viewer, lambda _question, _answers: None, EngineProcess(loop or Loop(), engine), autosave)
