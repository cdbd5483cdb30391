"""The state of one viewer's work: image, labels, paint, adapter, and running job. No Qt, no torch.

Jobs get this state as an argument; `Session` is the state together with the jobs.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from napari.layers import Labels
from psygnal import Signal, SignalGroup

from napari_salt.engine._client import EngineProcess
from napari_salt.engine._news import Failed
from napari_salt.engine._requests import Job, Stop
from napari_salt.session._adapter_file import LoadedAdapter
from napari_salt.session._autosave import Autosave
from napari_salt.session._colors import class_color, colormap_of
from napari_salt.session._guard import Connections, Reports
from napari_salt.session._image_source import ImageSource
from napari_salt.session._layers import PLACEMENT, align, names_in, new_labels
from napari_salt.session._options import Options
from napari_salt.session._paint import PaintTable, PaintWatch, Pair
from napari_salt.terms.card import AdapterCard, ClassInfo
from napari_salt.terms.config import Unpainted
from napari_salt.terms.errors import SaltError
from napari_salt.terms.limits import MAX_CLASS_NAME
from napari_salt.terms.planes import AXES, Plane
from napari_salt.terms.text import printable

__all__ = ["JOBS", "Ask", "Changes", "SessionState"]

logger = logging.getLogger(__name__)

COUNTING_SECONDS = 0.2
"""Seconds that counting the paint may block the GUI; the rest is counted later in small parts."""

JOBS = {
    "train": "training",
    "segment": "segmenting",
    "suggest": "looking for slices to paint",
    "measure": "measuring",
    "write": "saving labels",
    "rescale": "changing the adapter",
    "fetch": "getting adapters",
    "run": "carrying out the project",
}
"""What is done in each job; all but "run" in the engine."""

Ask = Callable[[str, Sequence[str]], str | None]
"""Asks the user a question with some answers; gives the answer, or None for "cancel"."""


class Changes(SignalGroup):
    """One signal for each thing that may change; `touched`: call `SessionState.recount` soon."""

    image = Signal()
    labels = Signal()
    paint = Signal()
    options = Signal()
    adapter = Signal()
    job = Signal()
    training = Signal()
    segmenting = Signal()
    suggestions = Signal()
    prompt = Signal()
    preview = Signal()
    results = Signal()
    comparing = Signal()
    project = Signal()
    tool = Signal()
    library = Signal()
    touched = Signal()


class SessionState:
    """The state of one viewer's work.

    Parameters
    ----------
    viewer
        A napari viewer or viewer model.
    ask
        Asks the user a question.
    engine
        Runs the jobs in a process of its own.
    autosave
        Where paint and adapters are kept; by default `Autosave()`.

    Attributes
    ----------
    changed
        The signals of changes.
    pairs
        Images and labels that training uses in addition to the chosen ones.
    added_classes
        Label values of classes that are listed before they are painted.
    marked
        By labels layer, what unpainted means on the slices that the user has marked, by position.
    problem
        Emits one line for the user, and the name of the control at fault or "".
    """

    problem = Signal(str, str)

    def __init__(self, viewer: Any, ask: Ask, engine: EngineProcess, autosave: Autosave | None) -> None:
        self.viewer = viewer
        self.ask = ask
        self.engine = engine
        self.changed = Changes()
        self.autosave = autosave or Autosave()
        self.options = Options()
        self.source: ImageSource | None = None
        self.labels: Labels | None = None
        self.pairs: tuple[Pair, ...] = ()
        self.adapter: LoadedAdapter | None = None
        self.strength = 1.0
        self.class_names: dict[int, str] = {}
        self._named: WeakSet[Labels] = WeakSet()
        self.added_classes: set[int] = set()
        self.marked: WeakKeyDictionary[Labels, dict[int, Unpainted]] = WeakKeyDictionary()
        self.job = ""
        self._watch: PaintWatch | None = None
        self._reports = Reports()
        self._labels_events = Connections(self._reports)
        self._misfit = ""

    def set_labels(self, layer: Labels | None) -> None:
        """Take the paint from `layer`, or from none."""
        self._let_go_of_labels()
        self.labels = layer
        if layer is not None:
            if layer not in self._named:  # what the user calls them afterwards stays
                self._named.add(layer)
                self.class_names |= {v: name[:MAX_CLASS_NAME] for v, name in names_in(layer).items()}
            self._labels_events.add(self._on_labels_replaced, layer.events.data)
            self._misfit = self.misfit
            moving = (layer, *([self.source.layer] if self.source else []))
            self._labels_events.add(
                self._on_moved, *(getattr(moved.events, name) for moved in moving for name in PLACEMENT)
            )
            if self.source is not None and not self._misfit:
                self._watch = PaintWatch(self.viewer, self.source, layer, self._on_touched, self._reports)
                self._watch.count(COUNTING_SECONDS)
        self.changed.labels.emit()

    def _let_go_of_labels(self) -> None:
        self._labels_events.cut()
        if self._watch is not None:
            self._watch.close()
        self.labels = self._watch = None

    @property
    def plane(self) -> Plane:
        """Which planes are painted: what is chosen, or what the paint shows if that is z."""
        chosen, across = self.options.train.plane, self.paint.across if self.paint else ""
        return next((axis for axis in AXES if across.startswith(axis)), chosen) if chosen == "z" else chosen

    @property
    def misfit(self) -> str:
        """Why the labels layer does not fit the image, or ""."""
        if self.source is None or self.labels is None:
            return ""
        try:
            self.source.labels_stack(self.labels)
        except SaltError as error:
            return str(error)
        return ""

    @property
    def misplaced(self) -> bool:
        """Whether the labels layer fits the image in shape, but does not lie on it."""
        source, labels = self.source, self.labels
        return source is not None and labels is not None and source.misplaced(labels)

    def align_labels(self) -> None:
        """Move the labels layer onto the image; its pixels stay as they are."""
        if self.source is not None and self.labels is not None and self.misplaced:
            align(self.labels, self.source)
            self.set_labels(self.labels)

    def make_labels(self) -> None:
        """Add an empty labels layer that fits the image, and take the paint from it."""
        if self.source is None:
            self.problem.emit("there is no image; open one first (File > Open)", "image")
            return
        self.set_labels(new_labels(self.viewer, self.source))

    def keep_pair(self) -> None:
        """Use the chosen image and labels in trainings also when others are chosen."""
        if self.source is None or self.paint is None or self.labels is None:
            self.problem.emit(self.misfit or self.no_image or "choose a labels layer with paint", "labels")
            return
        self.drop_pair(self.labels)
        self.pairs = (*self.pairs, Pair(self.source, self.labels))
        self.changed.labels.emit()

    def drop_pair(self, labels: Labels) -> None:
        """Use these labels in trainings only while they are chosen."""
        self.pairs = tuple(pair for pair in self.pairs if pair.labels is not labels)
        self.changed.labels.emit()

    @property
    def other_pairs(self) -> tuple[Pair, ...]:
        """The kept pairs that are not chosen."""
        return tuple(pair for pair in self.pairs if pair.labels is not self.labels)

    @property
    def paint(self) -> PaintTable | None:
        """What is painted on the labels layer, if it fits the image."""
        return None if self._watch is None else self._watch.table

    @property
    def marks(self) -> Mapping[int, Unpainted]:
        """What unpainted means on the marked slices of the chosen labels layer, by position."""
        return {} if self.labels is None else self.marked.get(self.labels, {})

    def is_complete(self, index: int) -> bool:
        """Whether unpainted pixels of the slice are background: as it is marked, else by the option."""
        painted = self.paint is not None and index in self.paint.slices
        default = self.options.train.unpainted if painted else "ignore"
        return self.marks.get(index, default) == "background"

    def count_paint(self) -> None:
        """Count what is painted on all slices."""
        if self._watch is not None and self._watch.count_all():
            self.changed.paint.emit()

    def recount(self, seconds: float = math.inf) -> None:
        """Count what is painted on the slices that may have changed, for about `seconds`."""
        if self._watch is not None and self._watch.count(seconds):
            self.changed.paint.emit()

    def edited(self, slices: Sequence[int]) -> None:
        """Count slices anew that were just edited, now and at each undo."""
        if self._watch is not None:
            self._watch.mark(slices)
        self.recount()

    @property
    def slice_count(self) -> int:
        """Number of slices of the image."""
        return 0 if self.source is None else int(self.source.stack.shape[0])

    @property
    def current_slice(self) -> int:
        """The slice that the viewer shows."""
        return 0 if self.source is None else self.source.current_slice(self.viewer.dims.point)

    def go_to(self, index: int, plane: Plane = "z") -> None:
        """Show slice `index`, or that of another plane."""
        if self.source is None:
            return
        point = self.viewer.dims.point
        if plane == "z":
            self.viewer.dims.point = self.source.world_of_slice(index, point)
        else:
            self.viewer.dims.point = self.source.world_of_plane(plane, index, point)

    @property
    def painted_places(self) -> tuple[int, ...]:
        """Slices with paint, or places of the painted planes across them."""
        if self.paint is None:
            return ()
        return self.paint.slices if self.plane == "z" else self.paint.planes_of(self.plane)

    @property
    def classes(self) -> tuple[ClassInfo, ...]:
        """Classes of the paint and of the adapter, with the user's names and the labels layer's colours."""
        infos = {c.value: c for c in (self.adapter.card.shown_classes if self.adapter else ())}
        kind = "object" if self.options.train.painted == "objects" else "class"
        painted = self.paint.values if self.paint else ()
        background = self.options.background_label
        rows = []
        for value in sorted({*infos, *painted, *self.added_classes}):
            known = infos.get(value, ClassInfo(value, f"{kind} {value}", "#808080"))
            name = "background" if value == background else self.class_names.get(value, known.name)
            color = class_color(self.labels, value) if self.labels is not None else known.color
            rows.append(ClassInfo(value, name, color))
        return tuple(rows)

    @property
    def selected_class(self) -> ClassInfo:
        """The class that is painted with."""
        value = 1 if self.labels is None else int(self.labels.selected_label)
        known = {info.value: info for info in self.classes}
        return known.get(value, ClassInfo(value, self.class_names.get(value, f"class {value}"), "#808080"))

    def name_class(self, value: int, name: str) -> None:
        """Call the class `name`."""
        self.class_names[value] = name.strip()[:MAX_CLASS_NAME] or f"class {value}"
        self.changed.paint.emit()

    @property
    def colormap(self) -> Any:
        """Colours of the results: those of the painted layer, else those of the adapter."""
        if self.labels is not None:
            return self.labels.colormap
        return colormap_of(self.classes)

    @property
    def unsavable(self) -> str:
        """Why the adapter, which would be saved as it is, is not what is shown; or ""."""
        if self.strength == 1:
            return ""
        shown = f"{100 * self.strength:.0f} %"
        return f"the strength is {shown} (Model): press Apply to save an adapter of that, or go back to 100 %"

    def lose_file(self) -> None:
        """Take the adapter for one that is not saved, as its file was deleted."""
        if self.adapter is not None:
            self.adapter = LoadedAdapter(self.adapter.content, self.adapter.card)
            self.changed.adapter.emit()

    def may_discard_adapter(self) -> bool:
        """Whether the adapter may be discarded: it is saved, there is none, or the user says so."""
        if self.adapter is None or self.adapter.path is not None:
            return True
        answer = self.ask(
            "The adapter has not been saved. It stays among the autosaved ones for a while.",
            ("Discard", "Keep"),
        )
        return answer == "Discard"

    def adopt(self, content: bytes, card: AdapterCard) -> None:
        """Use an adapter that the engine has sent, as it is."""
        self.adapter, self.strength = LoadedAdapter(content, card), 1.0
        self.changed.adapter.emit()

    def run(self, kind: str, job: Job) -> None:
        """Start a job, one of `JOBS`."""
        self.job = kind
        self.engine.start(job)
        self.changed.job.emit()

    def stop(self) -> None:
        """End the running job at its next step and keep its results so far."""
        if self.job:
            self.engine.send(Stop())

    @property
    def busy(self) -> str:
        """Why no job can start now, or ""."""
        return f"napari-salt is {JOBS[self.job]}; stop it first" if self.job else ""

    @property
    def no_image(self) -> str:
        """Why there is nothing to work on, or ""."""
        return "" if self.source is not None else "choose an image layer first"

    @property
    def no_adapter(self) -> str:
        """Why nothing can be segmented, or ""."""
        return "" if self.adapter is not None else "train or load an adapter first"

    def tell(self, failure: Failed, kept: str = "") -> None:
        """Report a failure of the engine and what is `kept`; a traceback goes to the log."""
        if failure.details:
            logger.error("%s", printable(f"{failure.message}\n{failure.details}", "\n"))
        text = f"{failure.message}; {kept}" if kept else failure.message
        self.problem.emit(text, failure.fault or failure.request.lower())

    def _on_touched(self) -> None:
        self.changed.touched.emit()

    def _on_moved(self) -> None:
        """Check again whether the labels lie on the image."""
        if self.misfit != self._misfit:
            self.set_labels(self.labels)

    def _on_labels_replaced(self) -> None:
        """Check whether the layer's new array fits, and count its paint."""
        self.set_labels(self.labels)
