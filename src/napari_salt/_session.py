"""The state of one viewer's dock widget, and what can be done with it. No Qt, no torch.

Panels show this state and call its methods; they decide nothing. Long work runs in the engine's
process; its messages come back on the GUI thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from napari.layers import Image, Labels
from psygnal import Signal

from napari_salt._autosave import Autosave, Saved
from napari_salt._image_source import ImageSource
from napari_salt._layers import class_color, colormap_of, new_labels
from napari_salt._loaded import LoadedAdapter
from napari_salt._messages import Downloading, Failed, Finished, Job, Logged, Looked, Mask, Stop
from napari_salt._options import Options
from napari_salt._paint import PaintTable
from napari_salt._previewing import Previewing
from napari_salt._prompting import Prompting
from napari_salt._segmenting import Segmenting
from napari_salt._suggesting import Suggesting
from napari_salt._training import Training
from napari_salt._workers import ENGINE, EngineProcess
from napari_salt.core.card import AdapterCard, ClassInfo, described
from napari_salt.core.errors import SaltError
from napari_salt.core.files import write_adapter_file
from napari_salt.core.registry import BASES, split_size

__all__ = ["Session"]

logger = logging.getLogger(__name__)

Ask = Callable[[str, Sequence[str]], str | None]
"""Asks the user a question with some answers; gives the answer, or None for "cancel"."""


class Session:
    """One viewer's work with SALT.

    Parameters
    ----------
    viewer
        A napari viewer or viewer model.
    ask
        How to ask the user.
    engine
        Command that starts the engine.
    autosave
        Where paint and adapters are kept.

    Attributes
    ----------
    changed
        Emits what changed: "image", "labels", "paint", "adapter", "job", "progress", "training",
        "segmenting", "suggestions", "prompt" or "preview"; "touched" asks for `recount` in a moment.
    problem
        Emits one line for the user, and the name of the control at fault or "".
    """

    changed = Signal(str)
    problem = Signal(str, str)

    def __init__(
        self,
        viewer: Any,
        ask: Ask,
        engine: Sequence[str] = ENGINE,
        autosave: Autosave | None = None,
    ) -> None:
        self.viewer = viewer
        self.ask = ask
        self.engine = EngineProcess(engine)
        self.autosave = autosave or Autosave()
        self.options = Options()
        self.source: ImageSource | None = None
        self.labels: Labels | None = None
        self.paint: PaintTable | None = None
        self.adapter: LoadedAdapter | None = None
        self.adapted = True
        self.class_names: dict[int, str] = {}
        self._touched: set[int] = set()
        self.job = ""
        self.training = Training(self)
        self.segmenting = Segmenting(self)
        self.suggesting = Suggesting(self)
        self._parts: dict[str, Training | Segmenting | Suggesting] = {
            "train": self.training,
            "segment": self.segmenting,
            "suggest": self.suggesting,
        }
        self.previewing = Previewing(self)
        self.prompting = Prompting(self)
        self.engine.message.connect(self._on_message)

    # What is worked on ------------------------------------------------------------------------------

    def set_image(
        self,
        layer: Image | None,
        *,
        level: int = 0,
        channel_axis: int | None = None,
        channels: Sequence[int] = (),
    ) -> None:
        """Work on `layer`; what cannot be worked on changes nothing."""
        try:
            source = None if layer is None else ImageSource(layer, level, channel_axis, tuple(channels))
        except SaltError as error:
            self.changed.emit("image")
            self.problem.emit(str(error), "image")
            return
        self.source = source
        self.previewing.clear()
        self.prompting.clear()
        self.suggesting.clear()
        self.changed.emit("image")
        self.set_labels(self.labels)

    def set_labels(self, layer: Labels | None) -> None:
        """Take the paint from `layer`."""
        if self.labels is not None:
            self.labels.events.paint.disconnect(self._on_paint)
            self.labels.events.data.disconnect(self._on_labels_replaced)
            self.labels.events.set_data.disconnect(self._on_labels_drawn)
        self.labels = layer
        self.paint = None
        if layer is not None:
            layer.events.paint.connect(self._on_paint)
            layer.events.data.connect(self._on_labels_replaced)
            layer.events.set_data.connect(self._on_labels_drawn)
            if not self.misfit:
                self.count_paint()
        self.changed.emit("labels")

    @property
    def misfit(self) -> str:
        """Why the labels layer does not go with the image, or ""."""
        if self.source is None or self.labels is None:
            return ""
        try:
            self.source.labels_stack(self.labels)
        except SaltError as error:
            return str(error)
        return ""

    def make_labels(self) -> None:
        """Add an empty labels layer that fits the image, and take the paint from it."""
        if self.source is None:
            self.problem.emit("there is no image; open one first (File > Open)", "image")
            return
        self.set_labels(new_labels(self.viewer, self.source))

    def count_paint(self) -> None:
        """Count what is painted on all slices."""
        if self.source is not None and self.labels is not None and not self.misfit:
            self.paint = PaintTable.counted(self.source.labels_stack(self.labels))
            self.changed.emit("paint")

    def recount(self) -> None:
        """Count what is painted on the slices that were painted on, and on the current one."""
        touched, self._touched = self._touched | {self.current_slice}, set()
        paint = self.paint
        if paint is not None and sum(paint.recount(i) for i in touched if i < len(paint)):
            self.changed.emit("paint")

    @property
    def current_slice(self) -> int:
        """The slice that the viewer shows."""
        return 0 if self.source is None else self.source.current_slice(self.viewer.dims.point)

    def go_to(self, index: int) -> None:
        """Show slice `index`."""
        if self.source is not None:
            self.viewer.dims.point = self.source.world_of_slice(index, self.viewer.dims.point)

    @property
    def classes(self) -> tuple[ClassInfo, ...]:
        """What the paint and the adapter know as classes; names are the user's, colours the layer's."""
        infos = {c.value: c for c in (self.adapter.card.classes if self.adapter else ())}
        painted = self.paint.values if self.paint else ()
        background = self.options.background_label if self.options.unpainted == "ignore" else None
        rows = []
        for value in sorted({*infos, *painted}):
            known = infos.get(value, ClassInfo(value, f"class {value}", "#808080"))
            name = "background" if value == background else self.class_names.get(value, known.name)
            color = class_color(self.labels, value) if self.labels is not None else known.color
            rows.append(ClassInfo(value, name, color))
        return tuple(rows)

    def name_class(self, value: int, name: str) -> None:
        """Call the class `name`."""
        self.class_names[value] = name.strip() or f"class {value}"
        self.changed.emit("paint")

    @property
    def colormap(self) -> Any:
        """Colours of the results: those of the painted layer, else those of the adapter."""
        if self.labels is not None:
            return self.labels.colormap
        return colormap_of(self.classes)

    # Adapters ---------------------------------------------------------------------------------------

    def load_adapter(self, path: Path) -> bool:
        """Load an adapter's file; say whether it is loaded."""
        if not self.may_discard_adapter():
            return False
        try:
            card = AdapterCard.read(path)
            content = path.read_bytes()
        except (SaltError, OSError) as error:
            self.problem.emit(str(error), "adapter")
            return False
        self.set_adapter(LoadedAdapter(content, card, path))
        return True

    def save_adapter(self, path: Path, **texts: str) -> bool:
        """Save the adapter with `texts` (name, description, author, license); say whether it is saved."""
        if self.adapter is None:
            self.problem.emit("there is no adapter to save; train one first", "adapter")
            return False
        if path.suffix != ".safetensors":
            path = path.with_name(f"{path.name}.salt.safetensors")
        try:
            content = described(self.adapter.content, **texts)
            write_adapter_file(path, content)
            card = AdapterCard.read(path)
        except SaltError as error:
            self.problem.emit(str(error), "adapter")
            return False
        self.set_adapter(LoadedAdapter(content, card, path))
        return True

    def reset_adapter(self) -> None:
        """Go back to the base model."""
        if self.may_discard_adapter():
            self.set_adapter(None)

    def set_adapter(self, adapter: LoadedAdapter | None) -> None:
        """Use `adapter`, or none."""
        self.adapter = adapter
        if adapter is not None and split_size(adapter.card.base_model)[0] in BASES:
            self.options.base = adapter.card.base_model
        self.suggesting.clear()
        self.previewing.refresh() if adapter else self.previewing.clear()
        self.changed.emit("adapter")

    def may_discard_adapter(self) -> bool:
        """Ask whether an unsaved adapter may be given up."""
        if self.adapter is None or self.adapter.path is not None:
            return True
        answer = self.ask(
            "The adapter has not been saved. It stays among the autosaved ones for a while.",
            ("Discard", "Keep"),
        )
        return answer == "Discard"

    def adopt(self, content: bytes, card: AdapterCard) -> None:
        """Use the adapter that training has just handed out."""
        self.adapter = LoadedAdapter(content, card)
        self.changed.emit("adapter")

    def compare(self, adapted: bool) -> None:  # noqa: FBT001 (a checkbox's state)
        """Preview and segment with the adapter, or with the base model alone."""
        self.adapted = adapted
        self.previewing.refresh()
        self.changed.emit("adapter")

    # Autosaves --------------------------------------------------------------------------------------

    def restore(self, saved: Saved) -> None:
        """Bring back an autosaved adapter, or paint as a new layer."""
        if saved.kind == "adapter":
            if self.load_adapter(saved.path) and self.adapter is not None:
                self.set_adapter(LoadedAdapter(self.adapter.content, self.adapter.card))
            return
        try:
            snapshot = self.autosave.load_paint(saved.path)
        except SaltError as error:
            self.problem.emit(str(error), "restore")
            return
        if self.source is None or snapshot.shape != self.source.stack.shape[:3]:
            self.problem.emit(
                f"the autosaved paint is for an image of {snapshot.shape} slices and pixels; open that first",
                "restore",
            )
            return
        layer = new_labels(self.viewer, self.source)
        layer.name = f"{saved.image} paint (restored)"
        data = layer.data.astype(snapshot.dtype)
        for index, plane in snapshot.planes.items():
            data[self.source.place(index)] = plane
        layer.data = data
        self.set_labels(layer)

    # Jobs -------------------------------------------------------------------------------------------

    def run(self, kind: str, job: Job) -> None:
        """Start a job: "train", "segment" or "suggest"."""
        self.job = kind
        self.engine.start(job)
        self.changed.emit("job")

    def stop(self) -> None:
        """End the running job at its next step; what it has done stays."""
        if self.job:
            self.engine.send(Stop())

    @property
    def busy(self) -> str:
        """Why no job can start now, or ""."""
        names = {"train": "training", "segment": "segmenting", "suggest": "looking for slices to paint"}
        return f"napari-salt is {names[self.job]}; stop it first" if self.job else ""

    @property
    def no_image(self) -> str:
        """Why there is nothing to work on, or ""."""
        return "" if self.source is not None else "choose an image layer first"

    @property
    def no_adapter(self) -> str:
        """Why nothing can be segmented, or ""."""
        return "" if self.adapter is not None else "train or load an adapter first"

    def tell(self, failure: Failed, kept: str = "") -> None:
        """Tell what went wrong in the engine and what is `kept`; a traceback goes to the log."""
        if failure.details:
            logger.error("%s\n%s", failure.message, failure.details)
        text = f"{failure.message}; {kept}" if kept else failure.message
        self.problem.emit(text, failure.fault or failure.request.lower())

    def close(self) -> None:
        """End all work and let go of the viewer."""
        self.engine.message.disconnect(self._on_message)
        self.engine.close()
        for part in self._parts.values():
            part.end()
        self.set_labels(None)
        self.source = None
        self.job = ""

    def _on_message(self, message: Any) -> None:
        if isinstance(message, Looked):
            self.previewing.on_looked(message)
        elif isinstance(message, Mask):
            self.prompting.on_mask(message)
        elif isinstance(message, Logged):
            self._on_logged(message)
        elif isinstance(message, Failed) and message.request in ("Look", "Ask"):
            (self.previewing if message.request == "Look" else self.prompting).on_failed(message)
        else:
            self._on_job_message(message)

    def _on_logged(self, message: Logged) -> None:
        """Log it here, too, and say it where the running job is shown."""
        logging.getLogger(message.name).log(message.level, message.text)
        part = self._parts.get(self.job)
        if part is not None:
            part.on_note(message.text)

    def _on_job_message(self, message: Any) -> None:
        part = self._parts.get(self.job)
        over = isinstance(message, Finished | Failed)
        if over:
            self.job = ""
        if part is not None and isinstance(message, Downloading):
            part.on_note(message.text, message.received / message.total if message.total else 0.0)
        if part is not None:
            part.on_message(message)
        if isinstance(message, Failed):
            self.previewing.reset()
            self.tell(message, kept=part.kept if part else "")
        if over:
            if part is not None:
                part.end()
            self.changed.emit("job")
            self.previewing.refresh()

    def _on_paint(self, event: Any) -> None:
        """Note the slices that a stroke touches; the layer may not have changed yet."""
        if self.source is not None:
            self._touched |= {self.current_slice, *self.source.slices_touched(event.value)}
            self.changed.emit("touched")

    def _on_labels_drawn(self) -> None:
        """Look again at what is painted: an undo tells of itself in no other way."""
        self.changed.emit("touched")

    def _on_labels_replaced(self) -> None:
        """See whether the layer's new array still fits, and what is painted on it."""
        self.set_labels(self.labels)
