"""Run functions of other threads on the GUI thread."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QObject
from qtpy.QtCore import Signal as QtSignal

from napari_salt.session._guard import connect

__all__ = ["MainThread"]


class MainThread(QObject):
    """Schedules functions on the thread in which it was made; call it from any thread."""

    _called = QtSignal(object)

    def __init__(self) -> None:
        super().__init__()
        connect(self._called, self._on_called)

    def __call__(self, function: Callable[[], None]) -> None:
        """Run `function` there when its event loop gets to it."""
        self._called.emit(function)

    def _on_called(self, function: Callable[[], None]) -> None:
        function()
