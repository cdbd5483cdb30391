"""What the jobs of a session have in common: the bar in the activity dock, from begin to end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_salt._messages import Downloading
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
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.note = ""
        self._progress: JobProgress | None = None

    def on_download(self, message: Downloading) -> None:
        """Say how much of the base model has arrived."""
        of = f" of {message.total / 1e6:.0f}" if message.total else ""
        self.note = f"downloading {message.name}: {message.received / 1e6:.0f}{of} MB"
        self._show(message.received / message.total if message.total else 0.0, self.note)

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
