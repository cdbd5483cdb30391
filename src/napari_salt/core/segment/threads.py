"""Reading ahead and writing behind, so that neither waits for the computing between them. Needs no torch."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

__all__ = ["Behind", "ahead"]

T = TypeVar("T")
R = TypeVar("R")
P = ParamSpec("P")


def ahead(read: Callable[[T], R], items: Iterable[T]) -> Generator[tuple[T, R], None, None]:
    """Give each item and what `read` makes of it, in order; a thread reads the next one meanwhile.

    At most two results are held: the one yielded last, and the next. An exception of `read` is raised at
    the item's turn. The thread ends with the generator.
    """
    pool = ThreadPoolExecutor(1, "napari-salt reading")
    begun: deque[tuple[T, Future[R]]] = deque()
    try:
        for item in items:
            begun.append((item, pool.submit(read, item)))
            if len(begun) > 1:
                yield _taken(begun)
        while begun:
            yield _taken(begun)
    finally:
        pool.shutdown(cancel_futures=True)


def _taken(begun: deque[tuple[T, Future[R]]]) -> tuple[T, R]:
    item, future = begun.popleft()
    return item, future.result()


class Behind:
    """Call functions in a thread, one after the other; a context manager.

    At most one call is pending; adding another blocks until that one has finished. An error is raised when
    the next call is added, or at the end. If the body raises, the calls added before are still made.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "napari-salt writing")
        self._last: Future[object] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool.shutdown()
        if error_type is None:
            self._wait()

    def do(self, thing: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Call `thing` with these arguments in the thread, as soon as the call before has finished."""
        self._wait()
        self._last = self._pool.submit(thing, *args, **kwargs)

    def _wait(self) -> None:
        if self._last is not None:
            self._last.result()
