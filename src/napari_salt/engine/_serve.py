"""The engine's process: takes requests from napari, runs the core's generators, sends their events.

Run as ``python -m napari_salt.engine._serve``: requests come pickled on standard input, messages go to
standard output. A process of its own keeps torch out of napari: the GUI never waits for torch's imports or
locks, the LLVM of the graphics driver and that of torch are not in one process (which crashes on Mesa), and
when memory runs out, this process is killed and not napari with the user's paint.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import queue
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import numpy as np
from cachetools import LRUCache

from napari_salt.engine import _messages as messages
from napari_salt.engine._failures import failure
from napari_salt.engine._remote import RemoteStack
from napari_salt.terms.errors import SaltError
from napari_salt.terms.stopping import check_stop, stopping_by
from napari_salt.terms.text import PlainFormatter, printable

if TYPE_CHECKING:
    from napari_salt.core.adapt.adapter import Adapter
    from napari_salt.core.adapt.segmenter import Segmenter
    from napari_salt.core.paint.preprocess import SliceReader
    from napari_salt.core.paint.stacks import TrainingStack
    from napari_salt.core.segment.prompts import ImageEmbedding, PromptPredictor
    from napari_salt.terms.events import Preview
    from napari_salt.terms.preprocess import Preprocess

__all__ = ["Engine", "main"]

T = TypeVar("T")

PREVIEW_SHARE = 0.1
"""Share of a job's time that previews may take."""
UPDATE_SECONDS = 0.1
"""Seconds between messages about progress that bring no other news."""
NICENESS = 5
"""Added to the process's nice value (lower priority), so that the GUI comes first."""
KEPT_MODELS, KEPT_READERS, KEPT_EMBEDDINGS = 2, 4, 64


class StopRequested(Exception):  # noqa: N818 (no error)
    """The user pressed Stop."""


class Cache:
    """The last few results of a costly function, by key."""

    def __init__(self, size: int) -> None:
        self._entries: LRUCache[Any, Any] = LRUCache(size)

    def get(self, key: Any, make: Callable[[], T]) -> T:
        """The result for `key`; `make` is called if it is not kept."""
        if key not in self._entries:
            self._entries[key] = make()
        value: T = self._entries[key]
        return value


class LogSender(logging.Handler):
    """Sends log records of the core to napari."""

    def __init__(self, send: Callable[[Any], None]) -> None:
        super().__init__(logging.INFO)
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        """Forward the record."""
        self._send(
            messages.Logged(name=record.name, level=record.levelno, text=printable(record.getMessage(), "\n"))
        )


class Engine:
    """Serves napari's process until the stream of requests ends.

    Parameters
    ----------
    requests, messages_out
        Binary streams of pickled messages: to read from and to write to.
    """

    def __init__(self, requests: BinaryIO, messages_out: BinaryIO) -> None:
        self._requests, self._messages_out = requests, messages_out
        self._jobs: queue.SimpleQueue[messages.Request] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._asides: queue.SimpleQueue[messages.Look | messages.Ask] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._sending, self._fetching = threading.Lock(), threading.Lock()  # a thread reads slices ahead
        self._working = False
        self._adapters, self._segmenters = Cache(KEPT_MODELS), Cache(KEPT_MODELS)
        self._readers = Cache(KEPT_READERS)
        self._predictors, self._embeddings = Cache(1), Cache(KEPT_EMBEDDINGS)
        self._look_allowed_at = 0.0

    def serve(self) -> None:
        """Answer requests until the process ends; this thread computes, another one reads the requests."""
        logger = logging.getLogger("napari_salt")
        logger.setLevel(logging.INFO)
        logger.propagate = False
        logger.addHandler(LogSender(self._send))
        threading.Thread(target=self._receive, daemon=True).start()
        while True:
            request = self._jobs.get()
            if isinstance(request, messages.Job):
                self._run(request)
            else:
                self._serve_asides(self._look, share=1.0)

    def _receive(self) -> None:
        """Put each request into its queue; the end of the stream ends the process, also during a job."""
        while True:
            try:
                request = pickle.load(self._requests)  # noqa: S301 (from who started us) # nosec B301
            except (EOFError, OSError):
                os._exit(0)
            if isinstance(request, messages.Answer):
                self._answers.put(request)
            elif isinstance(request, messages.Stop):
                self._stopped.set()
            elif isinstance(request, messages.Look | messages.Ask):
                self._asides.put(request)
                self._jobs.put(request)
            else:
                self._stopped.clear()
                self._jobs.put(request)

    def _run(self, job: messages.Job) -> None:
        runs: dict[type, Callable[[Any], None]] = {
            messages.Train: self._train,
            messages.Segment: self._segment,
            messages.Suggest: self._suggest,
            messages.Measure: self._measure,
            messages.Write: self._write,
        }
        self._working = True
        try:
            with stopping_by(self._check_stop):
                check_stop()
                runs[type(job)](job)
        except StopRequested:
            self._send(messages.Finished(stopped=True))
        except Exception as error:  # noqa: BLE001 (the process boundary: everything is reported)
            self._send(failure(job, error))
        else:
            self._send(messages.Finished())
        finally:
            self._working = False

    def _train(self, job: messages.Train) -> None:
        from napari_salt.core.paint.stacks import training_stacks
        from napari_salt.core.train.training import events_of
        from napari_salt.core.train.verdict import verdict_on

        images, labels = ([self._stack(getattr(s, side)) for s in job.stacks] for side in ("image", "labels"))
        sizes = [stack.pixel_size for stack in job.stacks]
        voxels = [stack.voxels for stack in job.stacks]
        marks = [stack.marks for stack in job.stacks]
        stacks = training_stacks(images, labels, sizes, job.config.plane, voxels, marks)
        init = self._adapter(job.init) if job.init else None
        self._fetch_base(init.base_model if init else job.config.base)
        if not job.strokes_known and self._strokes(stacks, job):
            self._send(messages.StrokesFound())
            return
        events = events_of(stacks, job.config, init=init, between=self._between_steps)
        told = 0.0
        best: Adapter | None = None
        for event in events:
            best = event.adapter or best
            news = event.adapter or event.held_out_dice or event.message or event.phase in ("start", "done")
            if news or time.monotonic() - told > UPDATE_SECONDS:
                told = time.monotonic()
                content = event.adapter.to_bytes() if event.adapter else None
                self._send(messages.Trained(event=replace(event, adapter=None), adapter=content))
        self._check_stop()
        if best is None:
            return
        verdict = verdict_on(best, stacks, job.config, init.values if init else ())
        worse = verdict.comparison if verdict.worse else ""
        self._send(messages.Judged(forest=verdict.forest, worse=worse, help=verdict.help))

    def _strokes(self, stacks: Sequence[TrainingStack], job: messages.Train) -> bool:
        from napari_salt.core.paint.stacks import read_paint

        return job.config.unpainted == "background" and read_paint(stacks, job.config).looks_like_strokes

    def _segment(self, job: messages.Segment) -> None:
        from napari_salt.core.segment.stack import segmentation_events

        self._fetch_base(self._adapter(job.adapter).base_model)
        events = segmentation_events(
            self._stack(job.image),
            self._adapter(job.adapter),
            job.config,
            pixel_size=job.pixel_size,
            voxels=job.voxels,
            between=self._between_tiles,
            segmenter=self._segmenter(job.adapter, job.config.device, adapted=job.adapted),
        )
        for result in events:
            kept = result if job.probabilities else replace(result, probabilities=result.probabilities[:0])
            self._send(messages.SliceSegmented(result=kept))
            self._check_stop()

    def _suggest(self, job: messages.Suggest) -> None:
        from napari_salt.core.segment.uncertainty import uncertainty_events
        from napari_salt.terms.ranking import MAX_CANDIDATES

        self._fetch_base(self._adapter(job.adapter).base_model)
        total = min(MAX_CANDIDATES, job.image.shape[0])
        events = uncertainty_events(
            self._stack(job.image),
            self._adapter(job.adapter),
            job.config,
            pixel_size=job.pixel_size,
            between=self._between_tiles,
            segmenter=self._segmenter(job.adapter, job.config.device, adapted=True),
        )
        for done, event in enumerate(events, start=1):
            self._send(
                messages.SliceScored(index=event.index, uncertainty=event.uncertainty, done=done, total=total)
            )
            self._check_stop()

    def _measure(self, job: messages.Measure) -> None:
        from napari_salt.results.measure import measure_events

        told = 0.0
        for event in measure_events(
            self._stack(job.labels),
            None if job.image is None else self._stack(job.image),
            by=job.by,
            pixel_size=job.pixel_size,
            unit=job.unit,
            class_names=job.class_names,
            independent=job.independent,
            group=job.group,
            to_world=job.to_world,
            numbered=job.numbered,
        ):
            news = event.table is not None or event.numbers is not None
            if news or time.monotonic() - told > UPDATE_SECONDS:
                told = time.monotonic()
                self._send(messages.MeasuredMore(event=event))
            self._check_stop()

    def _write(self, job: messages.Write) -> None:
        from napari_salt.io._write import write_planes

        labels = self._stack(job.labels)
        for done in write_planes(job.path, job.layout, (labels[index] for index in range(len(labels)))):
            self._send(messages.Written(done=done, total=len(labels)))
            self._check_stop()

    def _fetch_base(self, reference: str) -> None:
        """Download a base of the registry that is not on this machine yet."""
        from napari_salt.core.bases.download import download
        from napari_salt.terms.registry import BASES, base_spec, split_size

        if split_size(reference)[0] not in BASES:
            return
        spec = base_spec(reference)
        told = 0.0
        for progress in download(spec) if spec.checkpoint() is None else ():
            if time.monotonic() - told > UPDATE_SECONDS:
                told = time.monotonic()
                self._send(
                    messages.Downloading(name=spec.name, received=progress.received, total=progress.total)
                )
            self._check_stop()

    def _between_steps(self, look: Callable[[int, tuple[float, float]], Preview]) -> None:
        """Stop if asked to, and answer `Look` and `Ask`; previews show what has been learnt so far."""
        self._check_stop()
        self._serve_asides(lambda request: look(request.index, request.centre), PREVIEW_SHARE)

    def _between_tiles(self) -> None:
        self._check_stop()
        self._serve_asides(self._look, PREVIEW_SHARE)

    def _serve_asides(self, look: Callable[[messages.Look], Preview | None], share: float) -> None:
        """Answer all prompts, and the newest `Look`, which may take at most `share` of the time."""
        newest: messages.Look | None = None
        with contextlib.suppress(queue.Empty):
            while True:
                request = self._asides.get_nowait()
                if isinstance(request, messages.Look):
                    newest = request
                else:
                    self._answer(request, self._mask)
        if newest is None:
            return
        if share < 1 and time.monotonic() < self._look_allowed_at:
            self._asides.put(newest)
            return
        began = time.monotonic()
        self._answer(
            newest, lambda wish: messages.Looked(preview=look(wish), seconds=time.monotonic() - began)
        )
        self._look_allowed_at = time.monotonic() + (time.monotonic() - began) * (1 / share - 1)

    def _answer(self, request: T, answer: Callable[[T], Any]) -> None:
        try:
            self._send(answer(request))
        except StopRequested:
            raise
        except Exception as error:  # noqa: BLE001 (as in _run)
            self._send(failure(request, error))

    def _look(self, request: messages.Look) -> Preview | None:
        from napari_salt.core.segment.preview import preview

        if request.adapter is None:
            return None
        adapter = self._adapter(request.adapter)
        segmenter = self._segmenter(request.adapter, request.device, adapted=request.adapted)
        reader = self._reader(request.image, adapter.preprocess, request.pixel_size)
        return preview(segmenter, reader, adapter.shown_values, request.index, request.centre)

    def _mask(self, request: messages.Ask) -> messages.Mask:
        from napari_salt.terms.prompt_set import PromptSet

        began = time.monotonic()
        predictor = self._predictor(request.base, request.device)
        key = (request.image.key, request.index, request.base)
        embedding = self._embeddings.get(key, lambda: self._embed(predictor, request))
        mask = None
        if request.points or request.box:
            mask = predictor.mask(embedding, PromptSet(request.points, request.positive, request.box))
        return messages.Mask(
            number=request.number, index=request.index, mask=mask, seconds=time.monotonic() - began
        )

    def _embed(self, predictor: PromptPredictor, request: messages.Ask) -> ImageEmbedding:
        from napari_salt.terms.preprocess import Preprocess

        preprocess = Preprocess(channels=3 if len(request.image.shape) == 4 else 1)
        reader = self._reader(request.image, preprocess, None)
        return predictor.embed(reader.raw(request.index))

    def _predictor(self, base: str, device: str) -> PromptPredictor:
        from napari_salt.core.bases.load import load_base
        from napari_salt.core.devices import resolve_device
        from napari_salt.core.segment.prompts import PromptPredictor

        def make() -> PromptPredictor:
            return PromptPredictor(load_base(base, resolve_device(device)))

        return self._predictors.get((base, device), make)

    def _adapter(self, digest: str) -> Adapter:
        from napari_salt.core.adapt.adapter import Adapter

        def make() -> Adapter:
            return Adapter.from_bytes(self._asked(messages.ReadAdapter(digest=digest)).content)

        return self._adapters.get(digest, make)

    def _segmenter(self, digest: str, device: str, *, adapted: bool) -> Segmenter:
        from napari_salt.core.devices import resolve_device

        def make() -> Segmenter:
            return self._adapter(digest).build(resolve_device(device), adapted=adapted).merged()

        return self._segmenters.get((digest, device, adapted), make)

    def _reader(
        self, info: messages.StackInfo, preprocess: Preprocess, pixel_size: float | None
    ) -> SliceReader:
        from napari_salt.core.paint.preprocess import SliceReader

        key = (info.key, repr(preprocess), pixel_size)
        return self._readers.get(key, lambda: SliceReader(self._stack(info), preprocess, pixel_size))

    def _stack(self, info: messages.StackInfo) -> RemoteStack:
        return RemoteStack(info, self._fetch)

    def _fetch(self, key: int, index: int) -> np.ndarray:
        """One slice from napari's process."""
        answer: messages.SliceRead = self._asked(messages.ReadSlice(key=key, index=index))
        if answer.plane is None:
            raise SaltError(answer.error)
        return answer.plane

    def _asked(self, question: messages.ReadSlice | messages.ReadAdapter) -> Any:
        """Ask napari's process and wait for its answer."""
        with self._fetching:
            self._send(question)
            return self._answers.get()

    def _check_stop(self) -> None:
        if self._working and self._stopped.is_set():
            raise StopRequested

    def _send(self, message: Any) -> None:
        with self._sending:
            pickle.dump(message, self._messages_out, protocol=5)
            self._messages_out.flush()


def main() -> None:
    """Serve the process that started this one."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PlainFormatter("%(levelname)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # text that a library prints must not mix with the messages
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    Engine(sys.stdin.buffer, out).serve()


if __name__ == "__main__":
    main()
