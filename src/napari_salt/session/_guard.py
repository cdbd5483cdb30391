"""Connect our callbacks to events of napari, of layers and of Qt. No Qt, no torch.

An exception that leaves a callback breaks the sender of the event: a brush stroke with its undo history, or,
with PyQt, the whole program. So every callback is connected by `connect`, which reports its exceptions here.
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
from napari_salt.terms.text import printable, unmarked

__all__ = ["Connections", "Reports", "connect", "guarded"]

logger = logging.getLogger(__name__)

UNEXPECTED = (
    "napari-salt: {}; napari goes on, and this is not your fault: "
    "please report it with what napari's log says"
)


class Reports:
    """Shows the exceptions of some callbacks to the user, each once."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Suppress an exception of the block: show one sentence, and log the traceback."""
        try:
            yield
        except Exception as error:
            text = " ".join(f"{type(error).__name__}: {error}".split())
            if text not in self._told:
                self._told.add(text)
                logger.exception("an event's callback failed")
                told = str(error) if isinstance(error, SaltError) else UNEXPECTED.format(text)
                show_warning(unmarked(printable(told)))


def guarded(callback: Callable[..., Any], reports: Reports | None = None) -> Callable[..., Any]:
    """A function that calls `callback` and never raises.

    It takes any number of positional arguments and passes on as many as `callback` has positional parameters
    without a default (all, if `callback` takes ``*args`` or has no signature). Methods are held weakly: once
    their object is gone, a call does nothing.

    Parameters
    ----------
    callback
        A function or a bound method.
    reports
        Shows what `callback` raises; by default a new one.

    Returns
    -------
    callable
        Returns what `callback` returns, or None after an exception.
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
    """Call `callback`, guarded, at a signal of Qt, psygnal or napari.

    Returns
    -------
    callable
        What was connected; pass it to ``signal.disconnect``.
    """
    call = guarded(callback, reports)
    signal.connect(call)
    return call


class Connections:
    """Callbacks that are disconnected together.

    Parameters
    ----------
    reports
        Shows what they raise.
    """

    def __init__(self, reports: Reports | None = None) -> None:
        self._made: list[tuple[Any, Callable[..., Any]]] = []
        self._reports = reports or Reports()

    def add(self, callback: Callable[..., Any], *signals: Any) -> None:
        """Call `callback` at each of the signals until `cut`."""
        self._made += [(signal, connect(signal, callback, self._reports)) for signal in signals]

    def cut(self) -> None:
        """Disconnect all callbacks."""
        while self._made:
            signal, call = self._made.pop()
            with suppress(RuntimeError, TypeError):  # Qt has deleted the sender, or disconnected first
                signal.disconnect(call)


def _required(callback: Callable[..., Any]) -> int | None:
    """Number of positional parameters without a default; None (all) for a builtin or ``*args``."""
    try:
        parameters = inspect.signature(callback).parameters.values()
    except ValueError:  # a builtin
        return None
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return None
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in positional and p.default is p.empty for p in parameters)
