"""Progress on the terminal, and interruption by Ctrl-C or SIGTERM."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import chain, islice
from types import FrameType
from typing import Any, Self, TypeVar

from napari_salt.terms.pace import Pace
from napari_salt.terms.text import printable

__all__ = [
    "Interruption",
    "begun",
    "duration",
    "is_quiet",
    "progress_bar",
    "say",
    "tell",
    "telling",
    "terminable",
]

T = TypeVar("T")

_QUIET: ContextVar[bool] = ContextVar("quiet", default=False)


class Interruption:
    """Whether Ctrl-C was pressed, or SIGTERM came; the second time raises KeyboardInterrupt."""

    def __init__(self) -> None:
        self.requested = False

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Note a Ctrl-C or SIGTERM in the body instead of raising at once."""
        if threading.current_thread() is not threading.main_thread():  # which alone hears of signals
            yield
            return
        before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        sys.stderr.write("\nstopping after this step (Ctrl-C again: at once)\n")


@contextmanager
def telling(*, quiet: bool) -> Iterator[None]:
    """In the body, if `quiet`, show no progress and tell nothing; results, warnings and errors stay."""
    token = _QUIET.set(quiet)
    try:
        yield
    finally:
        _QUIET.reset(token)


def is_quiet() -> bool:
    """Whether nothing but results, warnings and errors is wanted."""
    return _QUIET.get()


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM, which ends jobs on clusters and in containers, do what Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def begun(events: Iterator[T]) -> Iterator[T]:
    """Compute the first event eagerly, so that input errors are raised before the progress bar appears."""
    return chain(list(islice(events, 1)), events)


def progress_bar(total: int | None, text: str, unit: str, done: int = 0, **options: Any) -> Any:
    """Give a progress bar on stderr; without a terminal, one that writes a line for every tenth.

    Parameters
    ----------
    total
        Steps in all; None if not known.
    text
        What runs.
    unit
        Of a step, such as "slice".
    done
        Steps that are done at the start.
    options
        Further arguments of `tqdm.tqdm`; without a terminal ``disable`` alone counts.

    Returns
    -------
    tqdm.tqdm or alike
        A context manager with ``n``, ``update``, ``set_postfix``, ``write`` and ``close``.
    """
    if is_quiet() or not sys.stderr.isatty():
        return _Lines(total, text, done, silent=is_quiet() or bool(options.get("disable")))
    from tqdm import tqdm

    return tqdm(
        total=total, desc=text, unit=unit, initial=done, file=sys.stderr, dynamic_ncols=True, **options
    )


def say(text: str) -> None:
    """Print a line that may hold text from a file."""
    sys.stdout.write(printable(text) + "\n")


def tell(text: str) -> None:
    """Print a line for the user on stderr, apart from the output."""
    if not is_quiet():
        sys.stderr.write(printable(text) + "\n")


def duration(seconds: float) -> str:
    """A time in seconds as text, such as "2 min 13 s"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


class _Lines:
    """Replaces the bar where stderr is no terminal: writes a line for every tenth, and messages."""

    def __init__(self, total: int | None, text: str, done: int, *, silent: bool = False) -> None:
        self.total, self.n, self._silent = total, done, silent
        self._text, self._tenths = text, -1
        self._pace = Pace()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        """Leave the lines as they are."""

    def update(self, more: float = 1) -> None:
        """Advance by `more` steps."""
        self.n = round(self.n + more)
        self._pace.reached(self.n)
        self.set_postfix()

    def set_postfix(self, **_values: object) -> None:
        """Write a line if another tenth is done; the values are ignored."""
        tenths = 10 * self.n // self.total if self.total else 0
        if tenths > self._tenths and not self._silent:
            self._tenths = tenths
            left = self._pace.seconds_left(self.total or 0)
            tell(f"{self._text}: {10 * tenths} %" + ("" if left is None else f", {duration(left)} left"))

    def write(self, text: str, file: Any = None) -> None:
        """Write a line of text."""
        if not self._silent:
            (file or sys.stderr).write(text + "\n")

    def close(self) -> None:
        """Leave the lines as they are."""
