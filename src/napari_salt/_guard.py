"""The gate between napari's, a layer's or Qt's events and our code. No Qt, no torch.

An exception that leaves a callback breaks the sender of the event: a brush stroke with its undo history, or,
with PyQt, the whole program. So every callback is connected by `connect`, and what it raises ends here.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from weakref import WeakMethod

from napari.utils.notifications import show_warning

from napari_salt.terms.errors import SaltError
from napari_salt.terms.text import unmarked

__all__ = ["Connections", "Reports", "connect", "guarded"]

logger = logging.getLogger(__name__)

UNEXPECTED = (
    "napari-salt: {}; napari goes on, and this is not your fault: "
    "please report it with what napari's log says"
)


class Reports:
    """What some callbacks have raised, each told once."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Tell what the block raises in one sentence, with a traceback in the log, and go on after it."""
        try:
            yield
        except Exception as error:
            text = " ".join(f"{type(error).__name__}: {error}".split())
            if text not in self._told:
                self._told.add(text)
                logger.exception("an event's callback failed")
                show_warning(
                    unmarked(str(error) if isinstance(error, SaltError) else UNEXPECTED.format(text))
                )


def guarded(callback: Callable[..., Any], reports: Reports | None = None) -> Callable[..., Any]:
    """A function that calls `callback` and never raises.

    It takes any number of positional arguments and hands on as many as `callback` has parameters without a
    default. Methods are held weakly: after their object is gone, nothing happens.
    """
    reports = reports or Reports()
    taken = _required(callback)
    find = WeakMethod(callback) if inspect.ismethod(callback) else lambda: callback

    def call(*args: Any) -> Any:
        found = find()
        if found is None:
            return None
        with reports.caught():
            return found(*args[:taken])
        return None

    return call


def connect(signal: Any, callback: Callable[..., Any], reports: Reports | None = None) -> Callable[..., Any]:
    """Call `callback` at `signal` (Qt's, psygnal's or napari's); give what `signal.disconnect` takes."""
    call = guarded(callback, reports)
    signal.connect(call)
    return call


class Connections:
    """Callbacks that are connected together and let go of together.

    Parameters
    ----------
    reports
        Where what they raise is told.
    """

    def __init__(self, reports: Reports | None = None) -> None:
        self._made: list[tuple[Any, Callable[..., Any]]] = []
        self._reports = reports or Reports()

    def add(self, callback: Callable[..., Any], *signals: Any) -> None:
        """Call `callback` at each of the signals until `cut`."""
        self._made += [(signal, connect(signal, callback, self._reports)) for signal in signals]

    def cut(self) -> None:
        """Let go of all signals."""
        while self._made:
            signal, call = self._made.pop()
            with suppress(RuntimeError, TypeError):  # Qt has deleted the sender, or let go first
                signal.disconnect(call)


def _required(callback: Callable[..., Any]) -> int | None:
    """Number of positional parameters without a default; None where it cannot be told, or any will do."""
    try:
        parameters = inspect.signature(callback).parameters.values()
    except ValueError:  # a builtin
        return None
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return None
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in positional and p.default is p.empty for p in parameters)
