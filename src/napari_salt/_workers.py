"""napari's end of the engine: starts its process, talks to it off the GUI thread, ends it cleanly."""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import subprocess
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from napari.qt.threading import create_worker
from psygnal import Signal
from qtpy.QtCore import QObject
from qtpy.QtCore import Signal as QtSignal

from napari_salt._messages import (
    Failed,
    Finished,
    Job,
    Logged,
    Looked,
    Mask,
    ReadSlice,
    Request,
    SliceRead,
    StackInfo,
)
from napari_salt.core.stack import StackLike

__all__ = ["ENGINE", "EngineProcess"]

ENGINE = (sys.executable, "-m", "napari_salt._engine")
HEARTBEAT_SECONDS = 0.2
KEPT_STACKS = 8
CRASHED = (
    "the engine stopped unexpectedly, most likely for lack of memory; your layers are untouched, and the "
    "best adapter so far is kept: close other programs and try again"
)


class _Bridge(QObject):
    """Carries messages from the reading thread to the GUI thread."""

    received = QtSignal(object)


class EngineProcess:
    """The engine in a process of its own, started at the first request.

    Parameters
    ----------
    command
        Program and arguments that start the engine.

    Attributes
    ----------
    message
        psygnal signal, on the GUI thread, with every message of the engine but `ReadSlice`.
    """

    message = Signal(object)

    def __init__(self, command: Sequence[str] = ENGINE) -> None:
        self._command = list(command)
        self._stacks: OrderedDict[int, StackLike] = OrderedDict()
        self._offered = 0
        self._writing = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._job_messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._worker: Any = None
        self._bridge = _Bridge()
        self._bridge.received.connect(self.message.emit)

    @property
    def working(self) -> bool:
        """Whether a job runs."""
        return self._worker is not None

    def offer(self, stack: StackLike) -> StackInfo:
        """Let the engine read `stack` slice by slice; the same object keeps its number."""
        key = next((k for k, known in self._stacks.items() if known is stack), None)
        if key is None:
            key = self._offered
            self._offered += 1
        self._stacks[key] = stack
        self._stacks.move_to_end(key)
        while len(self._stacks) > KEPT_STACKS:
            self._stacks.popitem(last=False)
        return StackInfo(key, tuple(int(n) for n in stack.shape), np.dtype(stack.dtype).str)

    def start(self, job: Job) -> None:
        """Run a job in a napari worker; `Finished` or `Failed` is its last message."""
        if self.working:
            raise RuntimeError("a job is running already")
        self.send(job)
        self._worker = create_worker(self._messages_of_job)
        self._worker.yielded.connect(self._on_job_message)
        self._worker.start()

    def send(self, request: Request) -> None:
        """Send `request`, starting the engine if need be."""
        process = self._process or self._launch()
        with self._writing, contextlib.suppress(OSError):  # a dead engine is told of by the reader
            pickle.dump(request, process.stdin, protocol=5)  # type: ignore[arg-type]
            process.stdin.flush()  # type: ignore[union-attr]

    def close(self) -> None:
        """End the engine's process, whatever it is doing, and the worker that waits for it."""
        worker, self._worker = self._worker, None
        if worker is not None:
            with contextlib.suppress(RuntimeError):  # Qt has deleted it already, as napari quits
                worker.yielded.disconnect(self._on_job_message)
                worker.quit()
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
        self._stacks.clear()

    def _launch(self) -> subprocess.Popen[bytes]:
        # Threads that wait must not spin: on few cores they would take them from the GUI and from each other.
        environment = {"GOMP_SPINCOUNT": "20000", **os.environ}
        process = subprocess.Popen(  # noqa: S603 (our own program)
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
        """Sort the engine's messages until it ends; runs in a thread of its own."""
        with contextlib.suppress(EOFError, OSError, pickle.UnpicklingError):
            while True:
                message = pickle.load(process.stdout)  # type: ignore[arg-type] # noqa: S301 (our own child)
                if isinstance(message, ReadSlice):
                    self._reply(process, message)
                elif isinstance(message, Looked | Mask | Logged) or _is_failed_aside(message):
                    self._bridge.received.emit(message)
                else:
                    self._job_messages.put(message)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]
        if self._process is process:  # nobody asked it to end
            self._process = None
            failure = Failed("", CRASHED)
            if self.working:
                self._job_messages.put(failure)
            else:
                self._bridge.received.emit(failure)

    def _reply(self, process: subprocess.Popen[bytes], wanted: ReadSlice) -> None:
        """Read a slice for the engine; whatever a layer's array raises is told there."""
        try:
            answer = SliceRead(np.ascontiguousarray(self._stacks[wanted.key][wanted.index]))
        except Exception as error:  # noqa: BLE001 (arrays of any plugin: what they raise is reported)
            text = " ".join(f"{type(error).__name__}: {error}".split())
            answer = SliceRead(None, f"slice {wanted.index} of the layer cannot be read ({text})")
        with self._writing, contextlib.suppress(OSError):
            pickle.dump(answer, process.stdin, protocol=5)  # type: ignore[arg-type]
            process.stdin.flush()  # type: ignore[union-attr]

    def _messages_of_job(self) -> Iterator[Any]:
        """What the engine says of the running job; runs in a napari worker."""
        worker = self._worker
        while not worker.abort_requested:
            with contextlib.suppress(queue.Empty):
                message = self._job_messages.get(timeout=HEARTBEAT_SECONDS)
                yield message
                if isinstance(message, Finished | Failed):
                    return

    def _on_job_message(self, message: Any) -> None:
        if isinstance(message, Finished | Failed):
            self._worker = None
        self.message.emit(message)


def _is_failed_aside(message: Any) -> bool:
    return isinstance(message, Failed) and message.request in ("Look", "Ask")
