"""Writing a labels layer into a file, in the session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_salt.engine._news import Finished, Written
from napari_salt.engine._requests import Write
from napari_salt.io._write import check_target
from napari_salt.session._job import SessionJob
from napari_salt.session._layers import holds_objects
from napari_salt.session._placed import Placed
from napari_salt.terms.errors import SaltError

if TYPE_CHECKING:
    from pathlib import Path

    from napari.layers import Labels

    from napari_salt.session._state import SessionState

__all__ = ["Saving"]


class Saving(SessionJob):
    """Writes labels layers into files.

    Attributes
    ----------
    path
        The file that was written last, completely; None: none yet.
    """

    def __init__(self, session: SessionState) -> None:
        super().__init__(session, session.changed.results)
        self._target: Path | None = None
        self.path: Path | None = None

    def start(self, layer: Labels, path: Path) -> None:
        """Write `layer` to `path` with the geometry of its image (see `Placed.layout`)."""
        session = self._session
        reason = session.busy or session.no_image
        if reason or session.source is None:
            session.problem.emit(reason, "write")
            return
        try:
            placed = Placed(session.source, layer)
            classes = () if holds_objects(layer) else placed.classes(session.classes)
            layout, source, lost = placed.layout(path, classes)
            check_target(path, source)
        except SaltError as error:
            session.problem.emit(str(error), "write")
            return
        self._target, self.path = path, None
        self._begin("SALT saving")
        if lost:
            self.on_warning(lost)
        labels = session.engine.offer(placed.stack)
        session.run("write", Write(labels=labels, path=path.absolute(), layout=layout))

    @property
    def words(self) -> list[str]:
        """What was saved, and what its format cannot hold."""
        saved = [] if self.path is None else [f"saved: {self.path}"]
        return [*saved, *self.warnings]

    def on_message(self, message: Any) -> None:
        """Handle a message of the engine."""
        if isinstance(message, Written):
            self._show(message.done / message.total)
        elif isinstance(message, Finished) and not message.stopped:
            self.path = self._target
        self._changed.emit()
