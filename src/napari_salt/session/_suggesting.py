"""The job that finds slices to paint next: those that the adapter is least sure of."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_salt.engine._news import SliceScored
from napari_salt.engine._requests import Suggest
from napari_salt.session._job import SessionJob
from napari_salt.terms.errors import SaltError
from napari_salt.terms.ranking import rank_slices

if TYPE_CHECKING:
    from napari_salt.session._state import SessionState

__all__ = ["Suggesting"]

SHOWN = 8


class Suggesting(SessionJob):
    """Scores slices over the stack and ranks them."""

    def __init__(self, session: SessionState) -> None:
        super().__init__(session, session.changed.suggestions)
        self._scores: dict[int, float] = {}

    @property
    def cannot(self) -> str:
        """Why the search cannot start now, or ""."""
        session = self._session
        reason = session.busy or session.no_image or session.no_adapter
        if not reason and session.adapter and session.adapter.card.preprocess.plane != "z":
            return "slices are suggested for adapters of plane z"
        return reason

    @property
    def ranked(self) -> tuple[tuple[int, float], ...]:
        """Slices with their uncertainty (from 0, sure), best to paint first; at most `SHOWN`."""
        session = self._session
        if session.source is None or not self._scores:
            return ()
        painted = session.paint.slices if session.paint else ()
        return tuple((i, self._scores[i]) for i in rank_slices(self._scores, painted, SHOWN))

    def start(self) -> None:
        """Score slices spread over the stack."""
        session = self._session
        if self.cannot or session.source is None or session.adapter is None:
            session.problem.emit(self.cannot, "suggest")
            return
        try:
            # What is suggested is a slice as it is stored, however the stack is segmented.
            config = replace(session.options.segment_config(None, session.source.group), plane="z")
        except SaltError as error:
            session.problem.emit(str(error), "suggest")
            return
        self._scores = {}
        self._begin("SALT: slices to paint next")
        job = Suggest(
            image=session.engine.offer(session.source.stack),
            adapter=session.engine.offer_adapter(session.adapter.digest, session.adapter.content),
            config=config,
            pixel_size=session.source.pixel_size,
        )
        session.run("suggest", job)

    def go_to_next(self) -> None:
        """Show the slice to paint next, or start the search if none is known."""
        if self.ranked:
            self._session.go_to(self.ranked[0][0])
        else:
            self.start()

    def on_message(self, message: Any) -> None:
        """Handle a message of the engine."""
        if isinstance(message, SliceScored):
            self._scores[message.index] = message.uncertainty
            self._show(message.done / message.total)
        self._changed.emit()

    def clear(self) -> None:
        """Forget the scores, since the adapter or the image is another."""
        self._scores = {}
        self._changed.emit()
