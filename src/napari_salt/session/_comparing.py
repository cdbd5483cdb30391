"""What can be compared, and where two labels layers differ: a layer that is computed when it is looked at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import uuid4

import dask.array as da
import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray

from napari_salt.session._adapter_file import LoadedAdapter
from napari_salt.session._layers import add_difference, holds_objects, made_by_us
from napari_salt.session._placed import Placed
from napari_salt.terms.errors import SaltError
from napari_salt.terms.text import printable

if TYPE_CHECKING:
    from napari_salt.session._measuring import Measuring
    from napari_salt.session._state import SessionState
    from napari_salt.session._training import Training

__all__ = ["ONLY_FIRST", "ONLY_SECOND", "OTHER_CLASS", "Comparing", "Model", "Side", "differing", "name_of"]

ONLY_FIRST, ONLY_SECOND, OTHER_CLASS = 1, 2, 3


@dataclass(frozen=True)
class Model:
    """What a preview is computed with; two of one name are the same to the user.

    Parameters
    ----------
    name
        What the user reads.
    adapter
        The adapter; None: what the training that runs has learnt so far.
    strength
        How much of it is applied; 0: the base model alone.
    """

    name: str
    adapter: LoadedAdapter | None = field(compare=False)
    strength: float = 1.0


Side: TypeAlias = "Labels | Model"
"""What can be compared: a labels layer, or the preview of a model."""


def name_of(side: Side) -> str:
    """What the user reads."""
    return printable(side.name)


class Comparing:
    """Knows what can be compared, and shows where two labels layers differ.

    Parameters
    ----------
    session
        The session.
    measuring
        It knows the labels layers to choose from.
    training
        It knows the adapters of this session.
    """

    def __init__(self, session: SessionState, measuring: Measuring, training: Training) -> None:
        self._session, self._measuring, self._training = session, measuring, training
        self._left: Side | None = None
        self._right: Side | None = None
        self._layer: Labels | None = None

    @property
    def sides(self) -> tuple[Side, ...]:
        """All that can be compared: previews with and without the adapter, and of other trainings; layers."""
        return (*self._models, *self._measuring.layers)

    @property
    def _models(self) -> tuple[Model, ...]:
        adapter, training = self._session.adapter, self._training
        models = [Model("preview of this training so far", None)] if self._session.job == "train" else []
        if adapter is not None:
            if not training.has_made(adapter):
                models.append(Model(f"preview with {adapter.layer_title}", adapter))
            models.append(Model("preview of the base alone", adapter, strength=0.0))
        others = [run for run in training.runs if not training.in_use(run)]
        return (*models, *(Model(f"preview of training {run.text}", run.adapter) for run in others))

    @property
    def left(self) -> Side | None:
        """What is shown on the left: what is chosen; else a result if there are two; else the preview."""
        return self._chosen(self._left) or next(iter(self._usual), None)

    @property
    def right(self) -> Side | None:
        """What is shown on the right: what is chosen, else another one of the kind that is on the left."""
        others = [side for side in self._usual if side is not self.left and side != self.left]
        return self._chosen(self._right) or next(iter(others), None)

    def _chosen(self, chosen: Side | None) -> Side | None:
        """The chosen side, as long as there is one."""
        return next((side for side in self.sides if side is chosen or side == chosen), None)

    @property
    def _usual(self) -> tuple[Side, ...]:
        """What is compared if nothing is chosen."""
        layers = self._measuring.layers
        results = sum(made_by_us(layer) == "result" for layer in layers)
        if results < 2 and self._models:
            return self._models
        first = self._measuring.layer
        return tuple(sorted(layers, key=lambda layer: layer is not first))

    def choose(self, left: Side | None = None, right: Side | None = None) -> None:
        """Compare this on the left or on the right."""
        self._left, self._right = left or self._left, right or self._right
        self._session.changed.comparing.emit()

    @property
    def pair(self) -> tuple[Labels, Labels] | None:
        """The two labels layers that are compared; None if there are no two."""
        left, right = self.left, self.right
        if isinstance(left, Labels) and isinstance(right, Labels):
            return left, right
        layers = self._measuring.layers
        first = self._measuring.layer
        other = next((layer for layer in layers if layer is not first), None)
        return None if first is None or other is None else (first, other)

    @property
    def cannot(self) -> str:
        """Why no difference can be shown now, or ""."""
        if self._session.no_image:
            return self._session.no_image
        if self.pair is None:
            return "segment again, for example with another adapter, first"
        return "the same layer is chosen twice; choose another one" if self.pair[0] is self.pair[1] else ""

    def start(self) -> None:
        """Show the difference, in the place of an earlier one."""
        session, pair = self._session, self.pair
        if self.cannot or session.source is None or pair is None:
            session.problem.emit(self.cannot, "compare")
            return
        first, second = pair
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
