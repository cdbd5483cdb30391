"""A thread's own loop, in the place of Qt's."""

import queue
import time

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
