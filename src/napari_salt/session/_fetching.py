"""Getting adapters from a file or an address into the library, in the session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_salt.engine._news import Arrived
from napari_salt.engine._requests import Fetch
from napari_salt.session._job import SessionJob

if TYPE_CHECKING:
    from napari_salt.session._shelf import Shelf
    from napari_salt.session._state import SessionState

__all__ = ["Fetching"]


class Fetching(SessionJob):
    """Reads or downloads adapters in the engine, so that the window does not wait for a server.

    Parameters
    ----------
    session
        The session.
    shelf
        Where they are put.
    """

    def __init__(self, session: SessionState, shelf: Shelf) -> None:
        super().__init__(session, session.changed.library)
        self._shelf = shelf

    def start(self, source: str) -> None:
        """Get adapters from `source` (see `napari_salt.terms.fetching.fetched`)."""
        session = self._session
        if session.busy:
            session.problem.emit(session.busy, "library")
            return
        self._begin("SALT adapter")
        session.run("fetch", Fetch(source=source.strip()))

    def on_message(self, message: Any) -> None:
        """Handle a message of the engine."""
        if isinstance(message, Arrived):
            self._shelf.keep(message.name, message.content)
