"""How long a job that counts its parts still takes."""

import time

__all__ = ["Pace", "short_duration"]

TOLD_FROM = 10.0
"""Seconds below which a time left is not worth telling."""


class Pace:
    """Measures how fast parts of a job are done; the first, which holds preparations, does not count."""

    def __init__(self) -> None:
        self._first: tuple[float, float] | None = None
        self._last: tuple[float, float] | None = None

    def reached(self, done: float) -> None:
        """Note that `done` parts are done now; less than before is ignored."""
        if self._last is not None and done <= self._last[0]:
            return
        self._last = (done, time.monotonic())
        self._first = self._first or self._last

    def seconds_left(self, total: float) -> float | None:
        """Seconds to `total` parts; None if they are few, or nothing is known yet."""
        if self._first is None or self._last is None or self._last[0] <= self._first[0]:
            return None
        (start, began), (done, now) = self._first, self._last
        left = (now - began) / (done - start) * (total - done)
        return left if left >= TOLD_FROM else None


def short_duration(seconds: float) -> str:
    """Seconds as text, such as "2:13 min" or "45 s"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d} min" if minutes else f"{rest} s"
