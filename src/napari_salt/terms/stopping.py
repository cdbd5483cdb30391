"""How long work that gives no events, such as decomposing a large base's weights, can be stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["check_stop", "stopping_by"]


def _go_on() -> None:
    """Stop nothing."""


_check: ContextVar[Callable[[], None]] = ContextVar("check", default=_go_on)


@contextmanager
def stopping_by(check: Callable[[], None]) -> Iterator[None]:
    """Let `check` be called by `check_stop` in the body; what it raises ends the work."""
    token = _check.set(check)
    try:
        yield
    finally:
        _check.reset(token)


def check_stop() -> None:
    """End the work here if its caller wants that."""
    _check.get()()
