"""The preview of a session: the segmentation around the centre of the view on the current slice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_salt.engine._messages import Failed, Look, Looked
from napari_salt.session._layers import Overlay, camera_of
from napari_salt.terms.planes import Plane

if TYPE_CHECKING:
    from napari_salt.session._image_source import ImageSource
    from napari_salt.session._state import SessionState

__all__ = ["Previewing"]


class Previewing:
    """Asks for one preview at a time, of the current view, and shows it."""

    def __init__(self, session: SessionState) -> None:
        self._session = session
        self._overlay = Overlay(session.viewer, "SALT preview")
        self._waiting = False
        self._asked_of: ImageSource | None = None
        self._moved = False
        self._shown: int | None = None
        self._told = ""
        self.wanted = True

    def enable(self, wanted: bool) -> None:  # noqa: FBT001 (a checkbox's state)
        """Show previews, or remove them."""
        self.wanted = wanted
        if wanted:
            self.refresh()
        else:
            self._overlay.remove()
        self._session.changed.preview.emit()

    def refresh(self) -> None:
        """Ask for a preview of the current view, if one is possible."""
        session = self._session
        if session.source is None or not self.wanted or not self._possible():
            return
        index = session.current_slice
        if self._shown is not None and index != self._shown:
            self._overlay.clear()
            self._shown = None
        if self._waiting:
            self._moved = True
            return
        self._waiting, self._moved, self._asked_of = True, False, session.source
        session.engine.send(
            Look(
                image=session.engine.offer(session.source.stack),
                index=index,
                centre=self._centre(),
                adapter=session.engine.offer_adapter(session.adapter.digest, session.adapter.content)
                if session.adapter
                else None,
                adapted=session.adapted,
                pixel_size=session.source.pixel_size,
                device=session.options.device,
            )
        )

    def on_looked(self, message: Looked) -> None:
        """Show the preview of the current slice; ask for the next if the view moved or a training runs."""
        session = self._session
        self._waiting = False
        if session.source is None or not self.wanted:
            return
        found = message.preview
        ours = self._asked_of is session.source
        if ours and found is not None and found.index == session.current_slice:
            self._overlay.show(session.source, found, session.colormap)
            self._shown = found.index
            session.changed.preview.emit()
        if self._moved or session.job == "train":
            self.refresh()

    def on_failed(self, message: Failed) -> None:
        """Report why there is no preview; the same text only once in a row."""
        self._waiting = False
        if message.message != self._told:
            self._told = message.message
            self._session.tell(message)

    def reset(self) -> None:
        """Wait for no answer any more: a job failed, and the engine may have ended."""
        self._waiting = False

    def clear(self) -> None:
        """Remove the preview."""
        self._overlay.remove()
        self._shown = None

    def _possible(self) -> bool:
        session = self._session
        source = session.source
        flat = session.viewer.dims.ndisplay == 2
        shown = tuple(session.viewer.dims.displayed[-2:]) if flat else ()
        ndim = session.viewer.dims.ndim
        return (
            source is not None
            and shown == (ndim - 2, ndim - 1)
            and (session.job == "train" or session.adapter is not None)
            and self._plane == "z"
        )

    @property
    def _plane(self) -> Plane:
        """Planes that are learnt, or that the adapter has learnt; a slice as it is stored shows no other."""
        session = self._session
        if session.job == "train" or session.adapter is None:
            return session.plane
        return session.adapter.card.preprocess.plane

    def _centre(self) -> tuple[float, float]:
        """Middle of the view as (y, x) in pixels of the slice."""
        session = self._session
        assert session.source is not None  # noqa: S101 (refresh has looked)
        point = list(session.viewer.dims.point)
        point[-2:] = camera_of(session.viewer).center[-2:]
        return session.source.pixel_at(point)
