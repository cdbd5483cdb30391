"""Tables of the classes and objects of a labels layer, in the session."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray

from napari_salt.engine._news import Finished, MeasuredMore
from napari_salt.engine._requests import Measure
from napari_salt.session._colors import class_color
from napari_salt.session._guard import Connections
from napari_salt.session._job import SessionJob
from napari_salt.session._layers import add_objects, holds_objects, made_by_us, set_features
from napari_salt.session._placed import Placed
from napari_salt.terms.errors import InputError, SaltError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_salt.results.kinds import By
    from napari_salt.results.table import Table
    from napari_salt.session._state import SessionState
    from napari_salt.terms.card import ClassInfo

__all__ = ["Measuring"]

BYTES_PER_NUMBER = 4
SIZED = ("area_", "volume_")


class Measuring(SessionJob):
    """Measures a labels layer, and keeps the tables of the last one.

    Attributes
    ----------
    classes, objects
        The tables, None while not measured.
    """

    def __init__(self, session: SessionState) -> None:
        super().__init__(session, session.changed.results)
        self._chosen: Labels | None = None
        self._numbered: bool | None = None
        self._edits = Connections()
        self._edited = False
        self._measured: Labels | None = None
        self.classes: Table | None = None
        self.objects: Table | None = None
        self._by: By = "classes"
        self._placed: Placed | None = None
        self._then: Callable[[], None] | None = None
        self._found: Table | None = None
        self._numbers: NDArray[np.int32] | None = None

    @property
    def layers(self) -> tuple[Labels, ...]:
        """Labels layers that have the image's shape, the newest result first."""
        source = self._session.source
        if source is None:
            return ()
        fitting = [
            layer
            for layer in reversed(self._session.viewer.layers)
            if isinstance(layer, Labels)
            and made_by_us(layer) in ("result", "")
            and not layer.multiscale
            and tuple(layer.data.shape) == source.label_shape
        ]
        return tuple(sorted(fitting, key=lambda layer: made_by_us(layer) != "result"))

    @property
    def layer(self) -> Labels | None:
        """The layer to measure: the chosen one, else the newest result."""
        layers = self.layers
        if self._chosen is not None and any(layer is self._chosen for layer in layers):
            return self._chosen
        return next(iter(layers), None)

    def choose(self, layer: Labels | None) -> None:
        """Measure this layer; tables of another one are forgotten."""
        self._chosen, self._numbered = layer, None
        if self._measured is not self.layer:
            self.clear()
        self._changed.emit()

    @property
    def numbers(self) -> bool:
        """Whether the layer's values are numbers of objects: as the user says, else as the layer was made."""
        if self._numbered is None:
            return self.layer is not None and holds_objects(self.layer)
        return self._numbered

    def take_as_numbers(self, numbers: bool) -> None:  # noqa: FBT001 (a checkbox's state)
        """Take the layer's values as numbers of objects, or as classes."""
        self._numbered = numbers
        self._changed.emit()

    def clear(self) -> None:
        """Forget the tables."""
        self._edits.cut()
        self.classes = self.objects = self._measured = None
        self._edited = False

    def has_measured(self, layer: Labels) -> bool:
        """Whether there is a table of this layer as it is now."""
        return self._measured is layer and not self._edited and bool(self.classes or self.objects)

    def _on_edited(self) -> None:
        self._edited = True
        self._changed.emit()

    @property
    def cannot(self) -> str:
        """Why measuring cannot start now, or ""."""
        session = self._session
        if session.busy or session.no_image:
            return session.busy or session.no_image
        return "" if self.layer is not None else "segment the stack, or choose a labels layer first"

    @property
    def cannot_classes(self) -> str:
        """Why classes cannot be measured now, or ""."""
        if self.numbers:
            return "the layer holds numbers of objects; measure objects"
        return self.cannot

    def start(self, by: By, then: Callable[[], None] | None = None) -> None:
        """Measure "classes" or "objects" of the layer, and then call `then`, if the table is complete."""
        session, layer = self._session, self.layer
        reason = self.cannot_classes if by == "classes" else self.cannot
        if reason or session.source is None or layer is None:
            session.problem.emit(reason, "measure")
            return
        try:
            placed = Placed(session.source, layer)
            job = self._job(placed, "numbers" if by == "objects" and self.numbers else by)
        except SaltError as error:
            session.problem.emit(str(error), "measure")
            return
        if layer is not self._measured or self._edited:
            self.clear()
            self._edits.add(self._on_edited, layer.events.paint, layer.events.data)
        self._placed, self._by, self._measured, self._then = placed, job.by, layer, then
        self._chosen = layer
        self._found = self._numbers = None
        self._begin("SALT measuring")
        session.run("measure", job)

    def _job(self, placed: Placed, by: By) -> Measure:
        session, source = self._session, placed.source
        card = session.adapter.card if session.adapter else None
        unrelated = session.options.train.independent or bool(card and card.preprocess.independent)
        flat = placed.is_flat(unrelated=unrelated)
        sizes = placed.sizes(flat=flat)
        room = math.prod(source.label_shape) * BYTES_PER_NUMBER <= session.options.memory_limit
        return Measure(
            labels=session.engine.offer(placed.stack),
            image=session.engine.offer(source.stack),
            by=by,
            pixel_size=sizes,
            unit=placed.unit,
            class_names=self.names(placed),
            independent=flat,
            group=source.group,
            to_world=None if sizes is None else placed.to_world(flat=flat),
            numbered=by == "objects" and room,
        )

    def names(self, placed: Placed) -> dict[int, str]:
        """Names of the layer's classes (see `infos`) by label value."""
        return {info.value: info.name for info in self.infos(placed)}

    def infos(self, placed: Placed) -> tuple[ClassInfo, ...]:
        """The layer's classes; of numbered objects, their class if the adapter has one only."""
        if not self.numbers:
            return placed.classes(self._session.classes)
        shown = self._session.adapter.card.shown_classes if self._session.adapter else ()
        return shown if len(shown) == 1 else ()

    @property
    def title(self) -> str:
        """Name of the layer that was measured last."""
        return "" if self._measured is None else self._measured.name

    def color(self, value: int) -> str:
        """The layer's colour of a class, as "#rrggbb"."""
        return "#808080" if self._measured is None else class_color(self._measured, value)

    @property
    def words(self) -> list[str]:
        """What the tables say, in sentences."""
        told = []
        if self.objects is not None:
            told.append(f"{_counts(self.objects)}; napari's features table lists them")
        if self._edited:
            told.append(f"the layer {self.title!r} has been edited since; measure again")
        table = self.objects or self.classes
        if table is not None and not any(name.startswith(SIZED) for name in table.columns):
            told.append("the image's voxel size is not known: sizes are in voxels")
        return told

    def on_message(self, message: Any) -> None:
        """Handle a message of the engine."""
        if isinstance(message, MeasuredMore):
            event = message.event
            if event.table is not None:
                self._found = event.table
            if event.numbers is not None and event.index is not None and self._placed is not None:
                if self._numbers is None:
                    self._numbers = np.zeros(self._placed.source.label_shape, np.int32)
                self._numbers[self._placed.source.place(event.index)] = event.numbers
            self._show(event.fraction)
        elif isinstance(message, Finished) and not message.stopped and self._found is not None:
            self._keep(self._found)
            if self._then is not None:
                self._then()
        self._changed.emit()

    def _keep(self, table: Table) -> None:
        """Keep the table, and show its rows in napari: as features of the layer with the objects' numbers."""
        layer = self._measured
        if layer is None or self._placed is None:
            return
        if self._by == "classes":
            self.classes = table
            set_features(layer, "class", table)
            return
        self.objects = table
        if self._by == "objects" and self._numbers is not None:
            layer = add_objects(self._session.viewer, self._placed.source, layer, self._numbers)
            self._numbers = None
        elif self._by == "objects":
            self.on_warning("the numbers of the objects take more memory than the limit: no layer shows them")
            return
        if not set_features(layer, "object", table):
            self.on_warning(f"the layer {layer.name!r} has features of its own, which stay as they are")

    def save(self, by: By, path: Path) -> bool:
        """Write the table of classes or objects as CSV; True if it is written."""
        table = self.classes if by == "classes" else self.objects
        try:
            if table is None:
                raise InputError("there is no table yet; measure first")
            table.save(path if path.suffix.lower() == ".csv" else path.with_name(f"{path.name}.csv"))
        except SaltError as error:
            self._session.problem.emit(str(error), "measure")
            return False
        return True


def _counts(table: Table) -> str:
    """How many objects there are, and of each class if there are several."""
    names = table.columns.get("class_name", np.zeros(0)).tolist()
    of_each = {name: names.count(name) for name in dict.fromkeys(names)}
    each = ", ".join(f"{count} {name}" for name, count in of_each.items())
    return f"{len(table)} objects" + (f" ({each})" if len(of_each) > 1 else "")
