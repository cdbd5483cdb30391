"""What the jobs of a session have in common: the bar in the activity dock, from begin to end."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
        Whose work it is.
    changed
        Emitted when this changes.

    Attributes
    ----------
    note
        What goes on before the work itself, or "".
    warnings
        What the engine has warned of since the job began, without repetitions; it stays after the end.
    """

    def __init__(self, session: SessionState, changed: SignalInstance) -> None:
        self._session, self._changed = session, changed
        self.note = ""
        self.warnings: list[str] = []
        self._progress: JobProgress | None = None

    def on_warning(self, text: str) -> None:
        """Keep what the user should read."""
        if text not in self.warnings:
            self.warnings.append(text)
            self._changed.emit()

    def on_note(self, text: str, fraction: float = 0.0) -> None:
        """Say what goes on before the work itself, and how far it is."""
        self.note = text
        self._show(fraction, text)
        self._changed.emit()

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
        self.warnings = []
        self._progress = JobProgress(title, self._session.stop)

    def _show(self, fraction: float, text: str = "") -> None:
        """Move the progress bar."""
        if self._progress is not None:
            self._progress.show(fraction, text)
