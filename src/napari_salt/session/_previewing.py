"""The preview of a session: the segmentation around the centre of the view on the current slice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from napari_salt.engine._news import Failed, Looked
from napari_salt.engine._requests import Look
from napari_salt.session._layers import Overlay, camera_of
from napari_salt.terms.events import Preview
from napari_salt.terms.planes import Plane

if TYPE_CHECKING:
    from napari_salt.session._adapter_file import LoadedAdapter
    from napari_salt.session._comparing import Model
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
        self._shown: Preview | None = None
        self._asked_by = self._shown_by = ""
        self._told = ""
        self._models: tuple[Model, ...] = ()
        self._take: Callable[[Sequence[Preview]], None] | None = None
        self._asked: Model | None = None
        self._found: dict[Model, Preview] = {}
        self._found_at: tuple[ImageSource, int, tuple[float, float]] | None = None
        self.wanted = True

    def compare(self, models: tuple[Model, ...], take: Callable[[Sequence[Preview]], None] | None) -> None:
        """Give previews of these models to `take` instead; without models, show the usual one again."""
        self._models, self._take, self._found = models, take, {}
        if models:
            self.clear()
        self.refresh()

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
        if session.source is None or not (self.wanted or self._models) or not self._possible():
            return
        index = session.current_slice
        if self._shown is not None and index != self._shown.index:
            self._overlay.clear()
            self._shown = None
        if self._waiting:
            self._moved = True
            return
        at = session.source, index, self._centre()
        same = at == self._found_at
        # A training goes on learning; what adapters find here stays as it is.
        self._found = {model: found for model, found in self._found.items() if same and model.adapter}
        self._found_at = at
        self._ask_next()

    def _ask_next(self) -> None:
        """Ask for the next preview that is compared, or give them all; ask for the usual one without any."""
        left = [model for model in self._models if model not in self._found]
        if left or not self._models:
            self._ask(next(iter(left), None))
        elif self._take is not None:
            self._take([self._found[model] for model in self._models])

    def _ask(self, model: Model | None) -> None:
        """Ask for the preview of a model; None: as the session segments now."""
        session = self._session
        assert session.source is not None  # noqa: S101 (refresh has looked)
        self._waiting, self._moved, self._asked = True, False, model
        self._asked_of = session.source
        adapter = session.adapter if model is None else model.adapter
        self._asked_by = adapter.digest if adapter and session.strength == 1 else ""
        session.engine.send(
            Look(
                image=session.engine.offer(session.source.stack),
                index=session.current_slice,
                centre=self._centre(),
                adapter=session.engine.offer_adapter(adapter.digest, adapter.content) if adapter else None,
                strength=session.strength if model is None else model.strength,
                learnt=model is None or model.adapter is None,
                pixel_size=session.source.pixel_size,
                device=session.options.device,
            )
        )

    def on_looked(self, message: Looked) -> None:
        """Show the preview of the current slice; ask for the next if the view moved or a training runs."""
        session = self._session
        self._waiting = False
        if session.source is None or not (self.wanted or self._models):
            return
        found = message.preview
        ours = self._asked_of is session.source
        if ours and found is not None and found.index == session.current_slice and self._asked is None:
            if not self._models:
                self._overlay.show(session.source, found, session.colormap)
                self._shown = found
                self._shown_by = "" if session.job == "train" else self._asked_by
                session.changed.preview.emit()
        elif ours and found is not None and found.index == session.current_slice and not self._moved:
            self._compared(found)
        again = self._moved or session.job == "train" or self._asked not in (self._models or (None,))
        if again and not self._waiting:
            self.refresh()

    def _compared(self, found: Preview) -> None:
        """Keep the preview of the model that was asked for; ask for the next, or give them all."""
        if self._asked is not None and self._asked in self._models:
            self._found[self._asked] = found
            self._ask_next()

    def on_failed(self, message: Failed) -> None:
        """Report why there is no preview; the same text only once in a row."""
        self._waiting = False
        if message.message != self._told:
            self._told = message.message
            self._session.tell(message)

    def reset(self) -> None:
        """Wait for no answer any more: a job failed, and the engine may have ended."""
        self._waiting = False

    def found_by(self, adapter: LoadedAdapter) -> Preview | None:
        """The preview that is shown, if it is what this adapter has found; not with another strength."""
        return self._shown if self._shown_by == adapter.digest else None

    def clear(self) -> None:
        """Remove the preview."""
        self._overlay.remove()
        self._shown = None

    @property
    def of_whole_slices(self) -> bool:
        """Whether the view shows slices as they are stored; there are no previews of others."""
        dims = self._session.viewer.dims
        shown = tuple(dims.displayed[-2:]) if dims.ndisplay == 2 else ()
        return shown == (dims.ndim - 2, dims.ndim - 1)

    def _possible(self) -> bool:
        session = self._session
        return (
            session.source is not None
            and self.of_whole_slices
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
