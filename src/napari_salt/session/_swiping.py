"""Two results side by side: the one on the left of a line across the picture, the other on its right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels, Layer

from napari_salt.session._colors import shared_colormap
from napari_salt.session._comparing import Model, Side, name_of
from napari_salt.session._guard import connect
from napari_salt.session._halves import Divided, Divider, DividingLine, PreviewPlane
from napari_salt.session._layers import add_comparison, made_by_us
from napari_salt.session._placed import Placed
from napari_salt.terms.errors import SaltError
from napari_salt.terms.events import Preview
from napari_salt.terms.stack import label_dtype

if TYPE_CHECKING:
    from napari_salt.session._comparing import Comparing
    from napari_salt.session._image_source import ImageSource
    from napari_salt.session._previewing import Previewing
    from napari_salt.session._state import SessionState

__all__ = ["Swiping"]


@dataclass(frozen=True)
class _Shown:
    """The layers of a comparison, its arrays, and the layers that were hidden for it."""

    left: Side
    right: Side
    divider: Divider
    arrays: tuple[Any, Any]
    layers: tuple[Labels, Labels]
    hidden: tuple[Layer, ...]


class Swiping:
    """Shows two sides of `Comparing` in one picture, divided by a line.

    The layers that are compared are hidden meanwhile, and not changed.

    Parameters
    ----------
    session
        The session.
    comparing
        It knows the two sides.
    previewing
        It computes sides that are previews.
    """

    def __init__(self, session: SessionState, comparing: Comparing, previewing: Previewing) -> None:
        self._session, self._comparing, self._previewing = session, comparing, previewing
        self._shown: _Shown | None = None
        self._place = 0.5
        self._training = False
        connect(session.changed.job, self._on_job)
        connect(session.changed.segmenting, self._draw)

    @property
    def on(self) -> bool:
        """Whether two sides are shown."""
        return self._shown is not None

    @property
    def place(self) -> float:
        """Where the line is: 0 (at the picture's left: only the right side is seen) to 1."""
        return self._shown.divider.place if self._shown else self._place

    @property
    def cannot(self) -> str:
        """Why nothing can be compared side by side now, or ""."""
        session, comparing = self._session, self._comparing
        if session.no_image:
            return session.no_image
        left, right = comparing.left, comparing.right
        if left is None or right is None:
            return "segment twice, or train first: then there is something to compare"
        if left is right or left == right:
            return "the same is chosen twice; choose another one to compare with"
        if session.viewer.dims.ndisplay != 2:
            return "two sides need the 2D view; switch to it with the button below the layers (Ctrl-Y)"
        return self._no_preview([side for side in (left, right) if isinstance(side, Model)])

    def _no_preview(self, models: Sequence[Model]) -> str:
        """Why these previews cannot be shown now, or ""."""
        session = self._session
        if not models:
            return ""
        adapters = [model.adapter for model in models]
        if any((used.card.preprocess.plane if used else session.plane) != "z" for used in adapters):
            return "previews show slices as they are stored; segment with both adapters, and compare that"
        if not self._previewing.of_whole_slices:
            return "previews show slices as they are stored; turn the view back to those (Ctrl-E)"
        return ""

    @property
    def words(self) -> str:
        """What is on which side, or ""."""
        if self._shown is None:
            return ""
        left, right = name_of(self._shown.left), name_of(self._shown.right)
        if self.place in (0, 1):
            return f"Shown: {left if self.place else right}. Shift-X shows the other one."
        return f"Left of the line: {left}. Right: {right}."

    def toggle(self) -> None:
        """Show two sides, or end that."""
        if self.on:
            self.end()
        else:
            self.start()

    def start(self) -> None:
        """Show the two sides that are chosen, with the line where it was last."""
        session, comparing = self._session, self._comparing
        left, right = comparing.left, comparing.right
        try:
            if not self.cannot and session.source is not None:
                for side in (left, right):
                    if isinstance(side, Labels):
                        Placed(session.source, side)
        except SaltError as error:
            session.problem.emit(str(error), "compare")
            return
        if self.cannot or left is None or right is None:
            session.problem.emit(self.cannot, "compare")
            return
        self.end()
        self._shown = self._made(left, right)
        models = tuple(side for side in (left, right) if isinstance(side, Model))
        self._previewing.compare(models, self._on_previews)
        session.changed.comparing.emit()

    def end(self) -> None:
        """Take the comparison away, and show again what it has hidden."""
        shown, self._shown = self._shown, None
        if shown is None:
            return
        viewer = self._session.viewer
        self._place = shown.divider.place if 0 < shown.divider.place < 1 else 0.5
        for layer in shown.layers:
            if layer in viewer.layers:
                viewer.layers.remove(layer)
        for layer in shown.hidden:
            layer.visible = True
        self._previewing.compare((), None)
        self._session.changed.comparing.emit()

    def flip(self) -> None:
        """Show only the one side, then only the other; start with the left one."""
        if not self.on:
            self.start()
            self.move(1.0)
        elif self._shown is not None:
            self.move(1.0 if self.place < 1 else 0.0)

    def move(self, place: float) -> None:
        """Put the line at `place`, 0 to 1 of the picture's width."""
        if self._shown is not None:
            self._shown.divider.place = min(max(place, 0.0), 1.0)
            self._draw()

    def grab(self, point: Sequence[float], reach: float) -> bool:
        """Whether the line is within `reach` (in the world) of the world position `point`."""
        if self._shown is None or not 0 < self.place < 1:
            return False
        divider, layer = self._shown.divider, self._shown.layers[0]
        at = layer.world_to_data(point)[divider.axis]
        return bool(abs(at - divider.position) * abs(layer.scale[divider.axis]) <= reach)

    def drag(self, point: Sequence[float]) -> None:
        """Move the line to a position of the world."""
        if self._shown is not None:
            divider = self._shown.divider
            divider.move_to(float(self._shown.layers[0].world_to_data(point)[divider.axis]))
            self._draw()

    def follow(self) -> None:
        """End when the view, the layers or the job do not allow it any more; keep the line upright."""
        shown, source = self._shown, self._session.source
        if shown is None or source is None:
            return
        viewer = self._session.viewer
        if viewer.dims.ndisplay != 2:
            reason = self.cannot
            self.end()
            self._session.problem.emit(reason, "compare")
            return
        sides = (shown.left, shown.right)
        layers = [side for side in (*shown.layers, *sides) if isinstance(side, Labels)]
        models = [side for side in sides if isinstance(side, Model)]
        if any(layer not in viewer.layers for layer in layers) or self._no_preview(models):
            self.end()
            return
        turned = _divider(source, viewer.dims, shown.divider.place)
        if turned != shown.divider:
            shown.divider.turn(turned)
            self._draw()

    def _on_job(self) -> None:
        """A training that runs can be compared with what was there before."""
        if (self._session.job == "train") != self._training:
            self._training = self._session.job == "train"
            self.restart_previews()

    def restart(self) -> None:
        """Compare what is chosen now, if two sides are shown."""
        if self.on:
            self.end()
            self.start()

    def restart_previews(self) -> None:
        """Compare with the adapter that is in use now, if previews are shown.

        Those of a training that runs follow it by themselves.
        """
        shown, sides = self._shown, self._comparing.sides
        if shown is None or not any(isinstance(side, Model) for side in (shown.left, shown.right)):
            return
        stays = any(isinstance(side, Model) and side.adapter is None for side in (shown.left, shown.right))
        if not (stays and shown.left in sides and shown.right in sides):
            self.end()
            if not self.cannot:
                self.start()

    def _made(self, left: Side, right: Side) -> _Shown:
        session = self._session
        source = session.source
        assert source is not None  # noqa: S101 (self.cannot has looked)
        arrays = tuple(
            side.data
            if isinstance(side, Labels)
            else PreviewPlane(source.label_shape, label_dtype(self._values(side)))
            for side in (left, right)
        )
        divider = _divider(source, session.viewer.dims, self._place)
        colormap = shared_colormap(
            [side for side in (left, right) if isinstance(side, Labels)], session.colormap
        )
        hidden = tuple(
            layer
            for layer in session.viewer.layers
            if layer.visible and (made_by_us(layer) or layer is left or layer is right)
        )
        for layer in hidden:
            layer.visible = False
        divided = Divided(arrays[0], arrays[1], divider)
        names = f"{name_of(left)} | {name_of(right)}"
        line = DividingLine(divided.shape, divider)
        layers = add_comparison(session.viewer, source, names, divided, line, colormap)
        return _Shown(left, right, divider, (arrays[0], arrays[1]), layers, hidden)

    def _values(self, side: Model) -> tuple[int, ...]:
        """Label values that a preview may have."""
        return side.adapter.card.values if side.adapter else tuple(i.value for i in self._session.classes)

    def _on_previews(self, found: Sequence[Preview]) -> None:
        """Show previews of the sides that are previews."""
        shown, source = self._shown, self._session.source
        if shown is None or source is None:
            return
        planes = [array for array in shown.arrays if isinstance(array, PreviewPlane)]
        for plane, preview in zip(planes, found, strict=True):
            plane.found, plane.place = preview, source.place(preview.index)
        self._draw()

    def _draw(self) -> None:
        if self._shown is not None:
            for layer in self._shown.layers:
                layer.refresh()
            self._session.changed.comparing.emit()


def _divider(source: ImageSource, dims: Any, place: float) -> Divider:
    """A line that is upright in the present view of the image."""
    back = int(dims.displayed[-1]) - int(
        dims.ndim
    )  # from the last axis, as labels may have fewer than the image
    shape, image = source.label_shape, source.layer
    axis = max(0, len(shape) + back)
    ends = np.zeros((2, image.ndim))
    ends[1, back] = 1
    start, end = (image.data_to_world(at)[back] for at in ends)
    return Divider(axis, shape[axis], mirrored=bool(end < start), place=place)
