"""What the jobs of a session have in common: the bar in the activity dock, from begin to end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_salt._progress import JobProgress

if TYPE_CHECKING:
    from napari_salt._session import Session

__all__ = ["SessionJob"]


class SessionJob:
    """A kind of long work of `session`, of which one can run at a time.

    Attributes
    ----------
    note
        What goes on before the work itself, or "".
    what
        What `Session.changed` emits when this changes.
    """

    what: str

    def __init__(self, session: Session) -> None:
        self._session = session
        self.note = ""
        self._progress: JobProgress | None = None

    def on_note(self, text: str, fraction: float = 0.0) -> None:
        """Say what goes on before the work itself, and how far it is."""
        self.note = text
        self._show(fraction, text)
        self._session.changed.emit(self.what)

    @property
    def kept(self) -> str:
        """What a failure has not undone, and how to go on, or ""."""
        return ""

    def end(self) -> None:
        """Close the progress bar."""
        self.note = ""
        if self._progress is not None:
            self._progress.close()
            self._progress = None

    def _begin(self, title: str) -> None:
        """Show a progress bar that can be cancelled."""
        self.note = ""
        self._progress = JobProgress(title, self._session.stop)

    def _show(self, fraction: float, text: str = "") -> None:
        """Move the progress bar."""
        if self._progress is not None:
            self._progress.show(fraction, text)
