"""What the jobs of a session have in common: a note, warnings, and the bar in the activity dock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psygnal import SignalInstance

from napari_salt.session._progress import JobProgress

if TYPE_CHECKING:
    from napari_salt.session._state import SessionState

__all__ = ["SessionJob"]


class SessionJob:
    """A kind of long work, of which one can run at a time.

    Parameters
    ----------
    session
        The session that the job belongs to.
    changed
        Emitted when the job's state changes.

    Attributes
    ----------
    note
        What is done before the work itself, such as a download, or "".
    warnings
        Warnings of the engine since the job began, each once; they stay after its end.
    fraction
        Share of the job that is done, 0 to 1.
    """

    def __init__(self, session: SessionState, changed: SignalInstance) -> None:
        self._session, self._changed = session, changed
        self.note = ""
        self.warnings: list[str] = []
        self.fraction = 0.0
        self._progress: JobProgress | None = None

    def on_warning(self, text: str) -> None:
        """Add a warning for the user."""
        if text not in self.warnings:
            self.warnings.append(text)
            self._changed.emit()

    def on_note(self, text: str, fraction: float = 0.0) -> None:
        """Show what is done before the work itself, and its progress (0 to 1)."""
        self.note = text
        self._show(fraction, text)
        self._changed.emit()

    def on_message(self, message: Any) -> None:
        """Handle a message of the engine."""
        raise NotImplementedError

    @property
    def kept(self) -> str:
        """Results that are kept after a failure, and how to go on, or ""."""
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
        self.warnings = []
        self.fraction = 0.0
        self._progress = JobProgress(title, self._session.stop)

    def _show(self, fraction: float, text: str = "") -> None:
        """Move the progress bar to `fraction` (0 to 1)."""
        self.fraction = fraction
        if self._progress is not None:
            self._progress.show(fraction, text)
