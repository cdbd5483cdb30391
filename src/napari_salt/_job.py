"""What the jobs of a session have in common: the bar in the activity dock, from begin to end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_salt._progress import JobProgress

if TYPE_CHECKING:
    from napari_salt._session import Session

__all__ = ["SessionJob"]


class SessionJob:
    """A kind of long work of `session`, of which one can run at a time."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._progress: JobProgress | None = None

    def end(self) -> None:
        """Close the progress bar."""
        if self._progress is not None:
            self._progress.close()
            self._progress = None

    def _begin(self, title: str) -> None:
        """Show a progress bar that can be cancelled."""
        self._progress = JobProgress(title, self._session.stop)

    def _show(self, fraction: float, text: str = "") -> None:
        """Move the progress bar."""
        if self._progress is not None:
            self._progress.show(fraction, text)
