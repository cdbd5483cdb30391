"""The engine's end of the two streams: what is asked comes in, news and answers go out."""

from __future__ import annotations

import logging
import pickle
import queue
import threading
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

from napari_salt.engine import _news as told
from napari_salt.engine import _requests as asked
from napari_salt.engine._remote import RemoteStack
from napari_salt.terms.errors import SaltError
from napari_salt.terms.text import printable

__all__ = ["Link", "LogSender"]


class Link:
    """Talks with napari's process; any thread may send and ask.

    Parameters
    ----------
    requests, messages_out
        Binary streams of pickled messages: to read from and to write to.
    """

    def __init__(self, requests: BinaryIO, messages_out: BinaryIO) -> None:
        self._requests, self._messages_out = requests, messages_out
        self._answers: queue.SimpleQueue[asked.Answer] = queue.SimpleQueue()
        self._sending, self._asking = threading.Lock(), threading.Lock()  # a thread reads slices ahead

    def receive(self) -> asked.Request:
        """The next request; answers on the way there go to who waits for them.

        Raises
        ------
        EOFError, OSError
            At the end of the stream.
        """
        while True:
            request: asked.Request = pickle.load(self._requests)  # noqa: S301 (from who started us) # nosec B301
            if not isinstance(request, asked.Answer):
                return request
            self._answers.put(request)

    def send(self, message: Any) -> None:
        """Send one of `messages`."""
        with self._sending:
            pickle.dump(message, self._messages_out, protocol=5)
            self._messages_out.flush()

    def stack(self, info: asked.StackInfo) -> RemoteStack:
        """Slices that lie in napari's process, read one by one."""
        return RemoteStack(info, self._slice)

    def adapter_file(self, digest: str) -> bytes:
        """Content of the adapter's file."""
        answer: asked.AdapterRead = self._ask(told.ReadAdapter(digest=digest))
        if answer.content is None:
            raise SaltError("the adapter is no longer in use; choose it again")
        return answer.content

    def _slice(self, key: int, index: int) -> np.ndarray:
        answer: asked.SliceRead = self._ask(told.ReadSlice(key=key, index=index))
        if answer.plane is None:
            raise SaltError(answer.error)
        return answer.plane

    def _ask(self, question: told.ReadSlice | told.ReadAdapter) -> Any:
        with self._asking:
            self.send(question)
            return self._answers.get()


class LogSender(logging.Handler):
    """Sends log records of the core to napari."""

    def __init__(self, send: Callable[[Any], None]) -> None:
        super().__init__(logging.INFO)
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        """Forward the record."""
        self._send(
            told.Logged(name=record.name, level=record.levelno, text=printable(record.getMessage(), "\n"))
        )
