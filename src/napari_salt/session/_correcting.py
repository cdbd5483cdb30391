"""What the user has painted over in a result, as paint to learn from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
from napari.layers import Labels
from napari.utils.notifications import show_info
from numpy.typing import NDArray

from napari_salt.session._guard import Connections, connect
from napari_salt.session._layers import Output, holds_objects, paint_values
from napari_salt.session._paint import PaintTable
from napari_salt.terms.errors import InputError, SaltError
from napari_salt.terms.text import printable, unmarked

if TYPE_CHECKING:
    from napari_salt.session._state import SessionState

__all__ = ["Correcting"]

Corrections = Mapping[int, tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.integer]]]
"""By slice: rows, columns and new values of the pixels that were changed."""
LARGEST_LABEL = 255


class Correcting:
    """Follows edits of results, and takes them into the labels layer that is painted on.

    Parameters
    ----------
    session
        The session.
    outputs
        Gives the results that are there.
    """

    def __init__(self, session: SessionState, outputs: Callable[[], Iterable[Output]]) -> None:
        self._session, self._outputs = session, outputs
        self._connections = Connections()
        self._followed: WeakKeyDictionary[Labels, set[int]] = WeakKeyDictionary()
        self._last: Output | None = None
        self.words = ""
        connect(session.changed.segmenting, self._follow)

    @property
    def layer(self) -> Labels | None:
        """The result that was painted on last, as long as there is something to learn from it."""
        session, output = self._session, self._last
        if output is None or not output.alive or session.source is None:
            return None
        same = output.source.layer is session.source.layer
        fits = same and output.source.label_shape == session.source.label_shape
        if not fits or output.layer is session.labels or not self._followed.get(output.layer):
            return None
        return output.layer

    @property
    def cannot(self) -> str:
        """Why nothing can be learnt from it now, or ""."""
        session = self._session
        if self.layer is None:
            return "paint over a wrong place in a result first"
        if session.job == "segment":
            return session.busy
        if holds_objects(self.layer) or session.options.train.painted == "objects":
            return "objects are numbered anew by each segmentation; correct a result of classes"
        if session.plane != "z":
            return f"planes {session.plane} are painted; paint the correction on those, in 2 Paint"
        return session.misfit

    def take(self) -> None:
        """Paint what was changed into the labels layer, in one step of its undo history."""
        session, output = self._session, self._last
        if self.cannot or output is None:
            session.problem.emit(self.cannot, "correct")
            return
        try:
            found = self._corrections(output)
            if session.labels is None:
                session.make_labels()
            self._paint(found)
        except SaltError as error:
            session.problem.emit(str(error), "correct")
            return
        for index in found:
            output.keep(index)
        self._followed[output.layer].clear()
        self._tell(output, found)
        session.edited([*found])
        session.changed.paint.emit()
        session.changed.results.emit()

    def end(self) -> None:
        """Follow no result any more."""
        self._connections.cut()

    def _follow(self) -> None:
        """Follow results that are new."""
        for output in self._outputs():
            if output.layer not in self._followed:
                self._followed[output.layer] = set()
                self._connections.add(partial(self._on_edited, output), output.layer.events.paint)

    def _on_edited(self, output: Output) -> None:
        reached = output.source.slices_in_reach(output.layer, self._session.viewer.dims)
        self._followed[output.layer] |= reached
        self._last, self.words = output, ""
        self._session.changed.results.emit()

    def _corrections(self, output: Output) -> Corrections:
        """Pixels that differ from what was found.

        Raises
        ------
        InputError
            If there are none, for example after an undo.
        """
        found = {}
        for index in sorted(self._followed[output.layer]):
            before, now = output.found(index), np.asarray(output.layer.data[output.source.place(index)])
            if before is not None and (before != now).any():
                rows, columns = np.nonzero(before != now)
                found[index] = (rows, columns, now[rows, columns])
        if not found:
            self._followed[output.layer].clear()
            self._session.changed.results.emit()
            raise InputError("the result is as it was found; paint over a wrong place first")
        return found

    def _paint(self, found: Corrections) -> None:
        session = self._session
        labels, source = session.labels, session.source
        assert labels is not None  # noqa: S101 (take has made it)
        assert source is not None  # noqa: S101 (self.cannot has looked)
        session.count_paint()
        strokes = [index for index in found if not session.is_complete(index)]
        top = max(int(values.max()) for _, _, values in found.values())
        if top > np.iinfo(labels.dtype).max:
            raise InputError(
                f"label {top} does not fit into the layer {labels.name!r} ({labels.dtype}); press New "
                "(2 Paint), or correct with a class's label"
            )
        erased = any((found[index][2] == 0).any() for index in strokes)
        background = self._background(found) if erased else 0
        for index in strokes:  # nothing else on these slices is known
            session.marked.setdefault(labels, {})[index] = "ignore"
        values = {
            index: np.where(new == 0, background, new) if index in strokes else new
            for index, (_, _, new) in found.items()
        }
        places = {index: (rows, columns) for index, (rows, columns, _) in found.items()}
        paint_values(labels, source, places, values)

    def _background(self, found: Corrections) -> int:
        """The label of painted background; if there is none yet, a free one gets this meaning.

        Slices that are complete stay so: they are marked. On others, unpainted is unknown from now on.
        """
        session = self._session
        if session.options.background_label is not None:
            return session.options.background_label
        new = {int(value) for _, _, values in found.values() for value in np.unique(values)}
        taken = {info.value for info in session.classes} | new
        free = next((value for value in range(1, LARGEST_LABEL + 1) if value not in taken), 0)
        if not free:
            raise InputError(f"all labels up to {LARGEST_LABEL} are classes; delete or merge one first")
        for pair in session.other_pairs:
            table = PaintTable(pair.source.labels_stack(pair.labels))
            table.count()
            self._mark_complete(pair.labels, table)
        if session.labels is not None and session.paint is not None:
            self._mark_complete(session.labels, session.paint)
        session.options.change("train", unpainted="ignore", background_label=free)
        session.changed.options.emit()
        return free

    def _mark_complete(self, labels: Labels, table: PaintTable) -> None:
        marks = self._session.marked.setdefault(labels, {})
        for index in table.slices:
            marks.setdefault(index, "background")

    def _tell(self, output: Output, found: Corrections) -> None:
        pixels, slices = sum(len(rows) for rows, _, _ in found.values()), len(found)
        labels, background = self._session.labels, self._session.options.background_label
        name = "" if labels is None else printable(labels.name)
        self.words = (
            f"{pixels:,} pixel{'s' * (pixels != 1)} on {slices} slice{'s' * (slices != 1)} taken from "
            f"{printable(output.layer.name)}, now painted on {name}; Ctrl-Z there takes them back"
        )
        if background is not None and any((values == 0).any() for _, _, values in found.values()):
            self.words += f"\nwhat you erased is painted with label {background}, background"
        show_info(unmarked(self.words))
