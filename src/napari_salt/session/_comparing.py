"""Where two labels layers differ, as a layer that is computed slice by slice when it is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from napari_salt.session._layers import add_difference, holds_objects
from napari_salt.session._placed import Placed
from napari_salt.terms.errors import SaltError

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_salt.session._measuring import Measuring
    from napari_salt.session._state import SessionState

__all__ = ["ONLY_FIRST", "ONLY_SECOND", "OTHER_CLASS", "Comparing", "differing"]

ONLY_FIRST, ONLY_SECOND, OTHER_CLASS = 1, 2, 3


class Comparing:
    """Shows where the layer of the Results panel and another one differ.

    Parameters
    ----------
    session
        The session.
    measuring
        It knows the first of the two layers, and those to choose from.
    """

    def __init__(self, session: SessionState, measuring: Measuring) -> None:
        self._session, self._measuring = session, measuring
        self._chosen: Labels | None = None
        self._layer: Labels | None = None

    @property
    def layers(self) -> tuple[Labels, ...]:
        """The layers to compare with."""
        first = self._measuring.layer
        return tuple(layer for layer in self._measuring.layers if layer is not first)

    @property
    def second(self) -> Labels | None:
        """The layer to compare with: the chosen one, else the newest result besides the first."""
        layers = self.layers
        chosen = (layer for layer in layers if layer is self._chosen)
        return next(chosen, next(iter(layers), None))

    def choose(self, layer: Labels | None) -> None:
        """Compare with this layer."""
        self._chosen = layer
        self._session.changed.results.emit()

    @property
    def cannot(self) -> str:
        """Why nothing can be compared now, or ""."""
        if self._session.no_image:
            return self._session.no_image
        return "" if self.second is not None else "segment again, for example with another adapter, first"

    def start(self) -> None:
        """Show the difference, in the place of an earlier one."""
        session, first, second = self._session, self._measuring.layer, self.second
        if self.cannot or session.source is None or first is None or second is None:
            session.problem.emit(self.cannot, "compare")
            return
        try:
            for layer in (first, second):
                Placed(session.source, layer)
        except SaltError as error:
            session.problem.emit(str(error), "compare")
            return
        if self._layer is not None and self._layer in session.viewer.layers:
            session.viewer.layers.remove(self._layer)
        objects = holds_objects(first) or holds_objects(second)
        data = _lazily(first.data, second.data, classes=not objects)
        names = {ONLY_FIRST: f"only in {first.name}", ONLY_SECOND: f"only in {second.name}"}
        names |= {} if objects else {OTHER_CLASS: "another class"}
        self._layer = add_difference(session.viewer, session.source, data, names)


def differing(first: NDArray[Any], second: NDArray[Any], *, classes: bool = True) -> NDArray[np.uint8]:
    """Where two segmentations of one shape differ: `ONLY_FIRST`, `ONLY_SECOND`, `OTHER_CLASS`, else 0.

    Parameters
    ----------
    first, second
        Whole numbers, 0 is background.
    classes
        Whether values are classes; else (numbers of objects) only what is background counts.
    """
    found = np.zeros(first.shape, np.uint8)
    found[(first != 0) & (second == 0)] = ONLY_FIRST
    found[(first == 0) & (second != 0)] = ONLY_SECOND
    if classes:
        found[(first != 0) & (second != 0) & (first != second)] = OTHER_CLASS
    return found


def _lazily(first: Any, second: Any, *, classes: bool) -> da.Array:
    """The difference of two arrays, one chunk for each slice, read and computed when it is shown."""

    def plane(block_id: tuple[int, ...]) -> NDArray[np.uint8]:
        place = tuple(slice(at, at + 1) for at in block_id[:-2])
        return differing(np.asarray(first[place]), np.asarray(second[place]), classes=classes)

    *leading, height, width = first.shape
    chunks = (*((1,) * length for length in leading), (height,), (width,))
    name = f"difference-{uuid4().hex}"  # else dask would hash both arrays
    found: da.Array = da.map_blocks(
        plane, chunks=chunks, dtype=np.uint8, name=name, meta=np.empty(0, np.uint8)
    )
    return found
