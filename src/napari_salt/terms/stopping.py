"""Stopping long work that yields no events, such as decomposing a large base's weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["StopRequested", "check_stop", "stopping_by"]


class StopRequested(Exception):  # noqa: N818 (no error)
    """The user pressed Stop."""


def _go_on() -> None:
    """Stop nothing."""


_check: ContextVar[Callable[[], None]] = ContextVar("check", default=_go_on)


@contextmanager
def stopping_by(check: Callable[[], None]) -> Iterator[None]:
    """Have `check_stop` call `check` while the body runs; an exception of `check` ends the work."""
    token = _check.set(check)
    try:
        yield
    finally:
        _check.reset(token)


def check_stop() -> None:
    """Raise the caller's exception if the work is to stop here (see `stopping_by`)."""
    _check.get()()
