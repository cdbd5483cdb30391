"""An adapter of another strength, in the session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_salt.engine._news import Rescaled
from napari_salt.engine._requests import Rescale
from napari_salt.session._job import SessionJob
from napari_salt.terms.card import AdapterCard
from napari_salt.terms.errors import SaltError

if TYPE_CHECKING:
    from napari_salt.session._state import SessionState
    from napari_salt.session._training import Training

__all__ = ["Rescaling", "strength_words"]


class Rescaling(SessionJob):
    """Makes the adapter with the chosen strength the session's own.

    Parameters
    ----------
    session
        The session.
    training
        It knows the adapters that can be brought back.
    """

    def __init__(self, session: SessionState, training: Training) -> None:
        super().__init__(session, session.changed.adapter)
        self._training = training

    @property
    def cannot(self) -> str:
        """Why it cannot be done now, or ""."""
        session = self._session
        if session.adapter is None:
            return "there is no adapter"
        same = "the adapter is used as it is" if session.strength == 1 else ""
        return session.busy or same or ("" if session.strength else "this is the base model alone")

    def start(self) -> None:
        """Make it; an adapter that is neither saved nor listed is asked about first."""
        session = self._session
        if self.cannot or session.adapter is None:
            session.problem.emit(self.cannot, "adapter")
            return
        if self._training.lists_the_adapter or session.may_discard_adapter():
            digest = session.engine.offer_adapter(session.adapter.digest, session.adapter.content)
            self._begin("SALT adapter")
            session.run("rescale", Rescale(adapter=digest, strength=session.strength))

    def on_message(self, message: Any) -> None:
        """Handle a message of the engine."""
        if not isinstance(message, Rescaled):
            return
        session = self._session
        name = session.source.layer.name if session.source else "image"
        try:
            session.autosave.adapter(message.adapter, name, None)
            card = AdapterCard.from_bytes(message.adapter)
        except SaltError as error:
            session.problem.emit(str(error), "adapter")
            return
        session.adopt(message.adapter, card)


def strength_words(strength: float) -> str:
    """What is put behind a name: nothing for the adapter as it is."""
    if strength == 1:
        return ""
    return f" (strength {strength:g})" if strength else " (base alone)"
