"""How the command line shows that something goes on, and notices that it should not."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, islice
from types import FrameType
from typing import Any, TypeVar

from tqdm import tqdm

__all__ = ["Interruption", "begun", "progress_bar"]

T = TypeVar("T")


class Interruption:
    """Whether Ctrl-C was pressed; a second press is not held back."""

    def __init__(self) -> None:
        self.requested = False

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Note a Ctrl-C in the body instead of raising at once."""
        before = signal.signal(signal.SIGINT, self._note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        sys.stderr.write("\nstopping after this step (Ctrl-C again: at once)\n")


def begun(events: Iterator[T]) -> Iterator[T]:
    """Give the same events, the first computed: bad input is told before a progress bar is drawn."""
    return chain(list(islice(events, 1)), events)


def progress_bar(total: int, text: str, unit: str, done: int = 0) -> tqdm[Any]:
    """Give a bar on stderr."""
    return tqdm(total=total, desc=text, unit=unit, initial=done, file=sys.stderr, dynamic_ncols=True)
