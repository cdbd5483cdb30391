"""What the engine answers beside a job: previews of the slice that is shown, prompts, comparisons."""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from napari_salt.engine import _news as told
from napari_salt.engine import _requests as asked
from napari_salt.engine._failures import failure
from napari_salt.engine._kept import Kept
from napari_salt.engine._link import Link
from napari_salt.terms.stopping import StopRequested, check_stop

if TYPE_CHECKING:
    from napari_salt.core.paint.preprocess import SliceReader
    from napari_salt.core.train.training import Look as PreviewSoFar
    from napari_salt.terms.events import Preview
    from napari_salt.terms.preprocess import Preprocess

__all__ = ["Asides"]

T = TypeVar("T")

PREVIEW_SHARE = 0.1
"""Share of a job's time that previews may take."""


class Asides:
    """Answers prompts and comparisons at once, and previews as far as a job leaves time.

    Parameters
    ----------
    link
        To napari's process.
    kept
        What was loaded.
    """

    def __init__(self, link: Link, kept: Kept) -> None:
        self._link, self._kept = link, kept
        self._waiting: queue.SimpleQueue[asked.Aside] = queue.SimpleQueue()
        self._look_allowed_at = 0.0

    def put(self, request: asked.Aside) -> None:
        """Keep a request until it is its turn; from any thread."""
        self._waiting.put(request)

    def between_jobs(self) -> None:
        """Answer all."""
        self._serve(self._look, share=1.0)

    def between_steps(self, look: PreviewSoFar, first: asked.StackInfo) -> None:
        """Stop if asked to, else answer; previews that want it show what has been learnt so far.

        Parameters
        ----------
        look
            The training's.
        first
            The image that it previews by itself.
        """
        check_stop()

        def answer(request: asked.Look) -> Preview | None:
            if not request.learnt:
                return self._look(request)

            def read(rule: Preprocess) -> SliceReader:
                return self._kept.reader(request.image, rule, request.pixel_size)

            other = request.image.key != first.key
            return look(request.index, request.centre, read if other else None)

        self._serve(answer, PREVIEW_SHARE)

    def between_tiles(self) -> None:
        """Stop segmenting if asked to, else answer."""
        check_stop()
        self._serve(self._look, PREVIEW_SHARE)

    def _serve(self, look: Callable[[asked.Look], Preview | None], share: float) -> None:
        """Answer all but `Look`, and the newest of these, which may take at most `share` of the time."""
        newest: asked.Look | None = None
        with contextlib.suppress(queue.Empty):
            while True:
                request = self._waiting.get_nowait()
                if isinstance(request, asked.Look):
                    newest = request
                elif isinstance(request, asked.Ask):
                    self._answer(request, self._mask)
                else:
                    self._answer(request, self._compare)
        if newest is None:
            return
        if share < 1 and time.monotonic() < self._look_allowed_at:
            self._waiting.put(newest)
            return
        began = time.monotonic()
        self._answer(newest, lambda wish: told.Looked(preview=look(wish), seconds=time.monotonic() - began))
        self._look_allowed_at = time.monotonic() + (time.monotonic() - began) * (1 / share - 1)

    def _answer(self, request: T, answer: Callable[[T], Any]) -> None:
        try:
            self._link.send(answer(request))
        except StopRequested:
            raise
        except Exception as error:  # noqa: BLE001 (reported as a job's are)
            self._link.send(failure(request, error))

    def _look(self, request: asked.Look) -> Preview | None:
        from napari_salt.core.segment.preview import preview

        if request.adapter is None:
            return None
        adapter = self._kept.adapter(request.adapter)
        segmenter = self._kept.segmenter(request.adapter, request.device, request.strength)
        reader = self._kept.reader(request.image, adapter.preprocess, request.pixel_size)
        return preview(segmenter, reader, adapter.shown_values, request.index, request.centre)

    def _compare(self, request: asked.Compare) -> told.Compared:
        from napari_salt.core.paint.likeness import misfit

        found, words = misfit(request.card, self._link.stack(request.image), request.pixel_size)
        return told.Compared(name=request.name, misfit=found, words=words)

    def _mask(self, request: asked.Ask) -> told.Mask:
        from napari_salt.terms.prompt_set import PromptSet

        began = time.monotonic()
        embedding = self._kept.embedding(request)
        mask = None
        if request.points or request.box:
            predictor = self._kept.predictor(request.base, request.device)
            mask = predictor.mask(embedding, PromptSet(request.points, request.positive, request.box))
        return told.Mask(
            number=request.number, index=request.index, mask=mask, seconds=time.monotonic() - began
        )
