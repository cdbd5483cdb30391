"""A bar in napari's activity dock that can be cancelled there."""

from __future__ import annotations

from collections.abc import Callable

from napari.utils import cancelable_progress

__all__ = ["JobProgress"]


class JobProgress:
    """The bar of one job; make and use it on the GUI thread.

    Parameters
    ----------
    title
        What runs.
    cancel
        Called once when the user cancels the job in the activity dock.
    """

    def __init__(self, title: str, cancel: Callable[[], None]) -> None:
        self._bar = cancelable_progress(total=100, desc=title)
        self._title = title
        self._cancel: Callable[[], None] | None = cancel

    def show(self, fraction: float, text: str = "") -> None:
        """Move the bar to `fraction` (0 to 1); call `cancel` if the user has cancelled the job."""
        self._bar.update(round(100 * fraction) - self._bar.n)
        if text:
            self._bar.set_description(f"{self._title}: {text}")
        if self._bar.is_canceled and self._cancel is not None:
            cancel, self._cancel = self._cancel, None
            cancel()

    def close(self) -> None:
        """Remove the bar."""
        self._bar.close()
