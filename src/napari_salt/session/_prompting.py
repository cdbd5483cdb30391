"""Point and box prompts: the base model's mask of an object, which can be accepted into the labels layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_salt.engine._news import Failed, Mask
from napari_salt.engine._requests import Ask
from napari_salt.session._layers import Overlay, accept_mask
from napari_salt.terms.events import Preview
from napari_salt.terms.stack import label_dtype

if TYPE_CHECKING:
    from napari_salt.session._state import SessionState

__all__ = ["Prompting"]


@dataclass(frozen=True)
class Prompt:
    """A prompt on slice `index`, in pixels: points (y, x), whether each is in the object, and a box.

    The box is (top, left, bottom, right).
    """

    index: int
    points: tuple[tuple[float, float], ...] = ()
    positive: tuple[bool, ...] = ()
    box: tuple[float, float, float, float] | None = None


class Prompting:
    """The present prompt and its mask."""

    def __init__(self, session: SessionState) -> None:
        self._session = session
        self._overlay = Overlay(session.viewer, "SALT prompt")
        self._prompt: Prompt | None = None
        self._mask: Mask | None = None
        self._number = 0
        self._hovered = 0
        self._embedded = (0, 0)
        self.active = False
        self.seconds: float | None = None

    @property
    def cannot(self) -> str:
        """Why prompts cannot be used now, or ""."""
        session = self._session
        if session.no_image:
            return session.no_image
        if session.labels is None:
            return "choose a labels layer, or press New: accepted masks are painted there"
        return session.misfit

    @property
    def has_mask(self) -> bool:
        """Whether there is a mask to accept."""
        return self._mask is not None

    def activate(self, active: bool) -> None:  # noqa: FBT001 (a button's state)
        """Take clicks as prompts, and compute the slice's embedding; or stop taking them."""
        if active and self.cannot:
            self._session.problem.emit(self.cannot, "prompt")
            active = False
        self.active = active
        if active:
            self.ready()
        else:
            self.clear()
        self._session.changed.prompt.emit()

    def ready(self) -> None:
        """Compute the current slice's embedding ahead of the first click."""
        session = self._session
        if self.active and session.source is not None:
            index = session.current_slice
            if self._prompt is not None and self._prompt.index != index:
                self.clear()
            self._send(Prompt(index))

    def hover(self, y: float, x: float) -> None:
        """Show the mask that a click at a position would give, in pixels of the current slice.

        Only before the first click, while the embedding is there and nothing else is computed; one at a time.
        """
        session = self._session
        if not self.active or self._prompt is not None or self._hovered or session.job:
            return
        if self._embedded == (id(session.source), session.current_slice):
            self._hovered = -self._number - 1  # tells it from the answers to clicks
            self._send(Prompt(session.current_slice, ((y, x),), (True,)), self._hovered)

    def add_point(self, y: float, x: float, *, positive: bool) -> None:
        """Prompt with one more point, in pixels of the current slice."""
        prompt = self._current()
        self._ask(Prompt(prompt.index, (*prompt.points, (y, x)), (*prompt.positive, positive), prompt.box))

    def set_box(self, top: float, left: float, bottom: float, right: float) -> None:
        """Prompt with a box, in pixels of the current slice."""
        prompt = self._current()
        self._ask(Prompt(prompt.index, prompt.points, prompt.positive, (top, left, bottom, right)))

    def on_mask(self, message: Mask) -> None:
        """Show the mask of the newest prompt, or of the place under the mouse."""
        session = self._session
        if message.mask is None:
            self._embedded = id(session.source), message.index
        elif message.number < 0:
            wanted = message.number == self._hovered and self._prompt is None and self.active
            self._hovered = 0
            if wanted and message.index == session.current_slice:
                self._show(message)
        elif message.number == self._number and session.source is not None:
            self._mask, self.seconds = message, message.seconds
            self._show(message)
            session.changed.prompt.emit()

    def _show(self, message: Mask) -> None:
        session = self._session
        if message.mask is None or session.source is None:
            return
        value = session.labels.selected_label if session.labels is not None else 1
        shown = (message.mask * value).astype(label_dtype((value,)))
        self._overlay.show(session.source, Preview(message.index, 0, 0, shown), session.colormap)

    def on_failed(self, message: Failed) -> None:
        """Report the failure and take no more clicks: each would fail again."""
        self.activate(False)
        self._session.tell(message)

    def accept(self) -> int:
        """Paint the mask as the selected label, undoable; give the number of pixels that changed."""
        session = self._session
        if self._mask is None or self._mask.mask is None or session.labels is None:
            return 0
        assert session.source is not None  # noqa: S101 (there is a mask)
        value = session.labels.selected_label
        changed = accept_mask(session.labels, session.source, self._mask.index, self._mask.mask, value)
        session.recount()
        self.clear()
        return changed

    def clear(self) -> None:
        """Forget the prompt and its mask."""
        self._prompt = self._mask = None
        self._number += 1
        self._overlay.remove()
        self._hovered = 0
        self._session.changed.prompt.emit()

    def _current(self) -> Prompt:
        index = self._session.current_slice
        if self._prompt is None or self._prompt.index != index:
            return Prompt(index)
        return self._prompt

    def _ask(self, prompt: Prompt) -> None:
        self._prompt = prompt
        self._number += 1
        self._send(prompt)

    def _send(self, prompt: Prompt, number: int | None = None) -> None:
        session = self._session
        assert session.source is not None  # noqa: S101 (there is a slice to click on)
        image = session.engine.offer(session.source.stack)
        options = session.options
        session.engine.send(
            Ask(
                image=image,
                index=prompt.index,
                base=options.base,
                number=self._number if number is None else number,
                points=prompt.points,
                positive=prompt.positive,
                box=prompt.box,
                device=options.device,
            )
        )
