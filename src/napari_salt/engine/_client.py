"""napari's side of the engine: starts its process, reads its messages in a thread, and ends it."""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from cachetools import Cache, LRUCache
from psygnal import Signal

from napari_salt.engine._command import CommandProcess
from napari_salt.engine._news import Failed, Finished, ReadAdapter, ReadSlice
from napari_salt.engine._requests import ASIDES, AdapterRead, Answer, Job, Request, SliceRead, StackInfo
from napari_salt.terms.stack import StackLike
from napari_salt.terms.threads import SHORT_WAITS

__all__ = ["ENGINE", "EngineProcess"]

ENGINE = (sys.executable, "-m", "napari_salt.engine._serve")
KEPT_STACKS = KEPT_ADAPTERS = 8
CRASHED = (
    "the engine stopped unexpectedly, most likely for lack of memory; your layers are untouched, and the "
    "best adapter so far is kept: close other programs and try again"
)


class EngineProcess:
    """The engine in a process of its own, started at the first request.

    Parameters
    ----------
    call_soon
        Schedules a function on the thread that uses this object; it may be called from any thread.
    command
        Program and arguments that start the engine.

    Attributes
    ----------
    message
        psygnal signal, emitted through `call_soon`, with every message of the engine except its questions
        (`ReadSlice`, `ReadAdapter`), and with a `Failed` if the engine's process ends by itself.
    """

    message = Signal(object)

    def __init__(
        self, call_soon: Callable[[Callable[[], None]], None], command: Sequence[str] = ENGINE
    ) -> None:
        self._call_soon = call_soon
        self._command = list(command)
        self._stacks: LRUCache[int, StackLike] = LRUCache(KEPT_STACKS)
        self._adapters: LRUCache[str, bytes] = LRUCache(KEPT_ADAPTERS)
        self._offered = 0
        self._writing = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._working = False
        self._waiting: deque[Any] = deque()
        self._handing_on = False

    @property
    def working(self) -> bool:
        """Whether a job runs."""
        return self._working

    def offer(self, stack: StackLike) -> StackInfo:
        """Let the engine read `stack`, (Z, Y, X) or (Z, Y, X, 3), slice by slice.

        The same object keeps its number while it is among the `KEPT_STACKS` used last.
        """
        look = Cache.__getitem__  # looking through them is no use of them
        key = next((k for k in self._stacks if look(self._stacks, k) is stack), None)
        if key is None:
            key = self._offered
            self._offered += 1
        self._stacks[key] = stack
        return StackInfo(key=key, shape=tuple(int(n) for n in stack.shape), dtype=np.dtype(stack.dtype).str)

    def offer_adapter(self, digest: str, content: bytes) -> str:
        """Let the engine ask for the bytes of an adapter's file by their digest; give the digest."""
        self._adapters[digest] = content
        return digest

    def start(self, job: Job) -> None:
        """Run a job; `Finished` or `Failed` is its last message.

        Raises
        ------
        RuntimeError
            If a job is running.
        """
        if self._working:
            raise RuntimeError("a job is running already")
        self._working = True
        self.send(job)

    def send(self, request: Request) -> None:
        """Send `request`; start the engine first if it is not running."""
        process = self._process or self._launch()
        with (
            self._writing,
            contextlib.suppress(OSError),
        ):  # the reading thread reports an engine that has died
            pickle.dump(request, process.stdin, protocol=5)  # type: ignore[arg-type]
            process.stdin.flush()  # type: ignore[union-attr]

    def command(self, arguments: Sequence[str]) -> CommandProcess:
        """Run a command of napari-salt in a process of its own."""
        return CommandProcess(self._soon, arguments)

    def close(self) -> None:
        """Kill the engine's process, also during a job; no message is emitted after that."""
        self._working = False
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
        self._stacks.clear()
        self._adapters.clear()
        self._waiting.clear()

    def _launch(self) -> subprocess.Popen[bytes]:
        environment = {**SHORT_WAITS, **os.environ}
        process = subprocess.Popen(  # noqa: S603 (our own program) # nosec B603
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            creationflags=getattr(subprocess, "BELOW_NORMAL_PRIORITY_CLASS", 0),
        )
        self._process = process
        threading.Thread(target=self._read, args=(process,), name="napari-salt", daemon=True).start()
        return process

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        """Answer the engine's questions and pass on its messages until it ends; runs in its own thread."""
        with contextlib.suppress(EOFError, OSError, pickle.UnpicklingError):
            while True:
                message = pickle.load(process.stdout)  # type: ignore[arg-type] # noqa: S301 (our own child) # nosec B301
                if isinstance(message, ReadSlice):
                    self._reply(process, self._slice(message))
                elif isinstance(message, ReadAdapter):
                    self._reply(process, AdapterRead(content=self._adapters.get(message.digest)))
                else:
                    self._soon(partial(self._on_received, process, message))
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]
        self._soon(lambda: self._on_ended(process))

    def _slice(self, wanted: ReadSlice) -> SliceRead:
        """Read a slice for the engine; an exception of the layer's array is sent as text."""
        try:
            return SliceRead(plane=np.ascontiguousarray(self._stacks[wanted.key][wanted.index]))
        except Exception as error:  # noqa: BLE001 (arrays of any plugin: what they raise is reported)
            text = " ".join(f"{type(error).__name__}: {error}".split())
            return SliceRead(plane=None, error=f"slice {wanted.index} of the layer cannot be read ({text})")

    def _reply(self, process: subprocess.Popen[bytes], answer: Answer) -> None:
        with self._writing, contextlib.suppress(OSError):
            pickle.dump(answer, process.stdin, protocol=5)  # type: ignore[arg-type]
            process.stdin.flush()  # type: ignore[union-attr]

    def _soon(self, function: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # napari is quitting, and Qt is shut down
            self._call_soon(function)

    def _on_ended(self, process: subprocess.Popen[bytes]) -> None:
        if process is self._process:  # it ended by itself
            self._process = None
            self._hand_on(Failed(request="", message=CRASHED))

    def _on_received(self, process: subprocess.Popen[bytes], message: Any) -> None:
        if process is not self._process:  # asked to end
            return
        if isinstance(message, Failed) and message.lost:  # the next request starts another
            self._process = None
            process.kill()
            message = replace(message, request="")  # also a running job is at its end
        self._hand_on(message)

    def _hand_on(self, message: Any) -> None:
        """Emit messages one after the other.

        A receiver may run Qt's event loop, through a dialog or napari's progress bar; messages that arrive
        meanwhile are queued until it returns.
        """
        self._waiting.append(message)
        if self._handing_on:
            return
        self._handing_on = True
        try:
            while self._waiting:
                message = self._waiting.popleft()
                if isinstance(message, Finished | Failed) and not _is_failed_aside(message):
                    self._working = False
                self.message.emit(message)
        finally:
            self._handing_on = False


def _is_failed_aside(message: Any) -> bool:
    return isinstance(message, Failed) and message.request in ASIDES
