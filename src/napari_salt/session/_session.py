"""One viewer's session: its state, its jobs, and the distribution of the engine's messages. No Qt, no torch.

Panels show the session and call its methods; they decide nothing. Long work runs in the engine's
process; its messages arrive on the GUI thread.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from napari.layers import Image, Labels

from napari_salt.engine._client import EngineProcess
from napari_salt.engine._news import Compared, Downloading, Failed, Finished, Logged, Looked, Mask
from napari_salt.engine._requests import ASIDES, Job
from napari_salt.session._adapter_file import LoadedAdapter
from napari_salt.session._autosave import Autosave, Saved
from napari_salt.session._comparing import Comparing
from napari_salt.session._correcting import Correcting
from napari_salt.session._fetching import Fetching
from napari_salt.session._guard import connect
from napari_salt.session._image_source import ImageSource
from napari_salt.session._job import SessionJob
from napari_salt.session._layer_files import fault_of_file
from napari_salt.session._layers import made_by_us, new_labels
from napari_salt.session._measuring import Measuring
from napari_salt.session._painting import Painting
from napari_salt.session._previewing import Previewing
from napari_salt.session._project import Projects
from napari_salt.session._project_job import ProjectJob
from napari_salt.session._prompting import Prompting
from napari_salt.session._reporting import Reporting
from napari_salt.session._rescaling import Rescaling
from napari_salt.session._saving import Saving
from napari_salt.session._segmenting import Segmenting
from napari_salt.session._shelf import Shelf
from napari_salt.session._state import Ask, SessionState
from napari_salt.session._suggesting import Suggesting
from napari_salt.session._swiping import Swiping
from napari_salt.session._training import Training
from napari_salt.terms.card import AdapterCard, described
from napari_salt.terms.errors import SaltError
from napari_salt.terms.files import write_adapter_file
from napari_salt.terms.registry import BASES, split_size

__all__ = ["Session"]

logger = logging.getLogger(__name__)


class Session(SessionState):
    """One viewer's work with SALT (see `SessionState` for parameters and signals)."""

    def __init__(
        self,
        viewer: Any,
        ask: Ask,
        engine: EngineProcess,
        autosave: Autosave | None = None,
    ) -> None:
        super().__init__(viewer, ask, engine, autosave)
        self.training = Training(self)
        self.segmenting = Segmenting(self)
        self.correcting = Correcting(self, lambda: self.segmenting.outputs)
        self.suggesting = Suggesting(self)
        self.measuring = Measuring(self)
        self.saving = Saving(self)
        self.rescaling = Rescaling(self, self.training)
        self.comparing = Comparing(self, self.measuring, self.training)
        self.reporting = Reporting(self, self.measuring)
        self.previewing = Previewing(self)
        self.shelf = Shelf(self, self.previewing, self.load_adapter, self.take_saved)
        self.fetching = Fetching(self, self.shelf)
        self._parts: dict[str, SessionJob] = {
            "train": self.training,
            "segment": self.segmenting,
            "suggest": self.suggesting,
            "measure": self.measuring,
            "write": self.saving,
            "rescale": self.rescaling,
            "fetch": self.fetching,
        }
        self.swiping = Swiping(self, self.comparing, self.previewing)
        self.prompting = Prompting(self)
        self.painting = Painting(self, self.prompting)
        self._asides: dict[str, Previewing | Prompting | Shelf] = {
            "Look": self.previewing,
            "Ask": self.prompting,
            "Compare": self.shelf,
        }
        self.carrying_out = ProjectJob(self)
        self.projects = Projects(
            self, self.training, self.carrying_out, self.set_image, self.load_adapter, self.reset_adapter
        )
        connect(self.changed.labels, self.painting.follow)
        self._engine_messages = connect(self.engine.message, self._on_message)

    # What is worked on ------------------------------------------------------------------------------

    def set_image(
        self,
        layer: Image | None,
        *,
        level: int = 0,
        channel_axis: int | None = None,
        channels: Sequence[int] = (),
    ) -> None:
        """Work on `layer`; if that is not possible, report a problem and change nothing.

        Parameters
        ----------
        layer
            An image layer, or None for none.
        level
            Level of a multiscale image; 0 is the finest.
        channel_axis, channels
            See `FlatStack`.
        """
        try:
            source = None if layer is None else ImageSource(layer, level, channel_axis, tuple(channels))
        except SaltError as error:
            self.changed.image.emit()
            self.problem.emit(str(error), "image")
            return
        self.swiping.end()
        self.source = source
        self.previewing.clear()
        self.prompting.clear()
        self.suggesting.clear()
        self.measuring.clear()
        self.changed.image.emit()
        self.set_labels(self.labels)
        if source is not None and (fault := fault_of_file(source.layer)):
            self.problem.emit(fault, "image")

    def follow_layers(self) -> None:
        """Follow added and removed layers; if nothing is chosen, choose the last image and fitting labels."""
        layers = self.viewer.layers
        if self.labels is not None and self.labels not in layers:
            self.set_labels(None)
        if self.source is not None and self.source.layer not in layers:
            self.set_image(None)
        for pair in self.pairs:
            if pair.labels not in layers or pair.source.layer not in layers:
                self.drop_pair(pair.labels)
        if self.source is None:
            images = [layer for layer in layers if isinstance(layer, Image)]
            if images:
                self.set_image(images[-1])
        if self.labels is None and self.source is not None:
            fitting = [layer for layer in layers if self._fits(layer)]
            if fitting:
                self.set_labels(fitting[-1])

    def _fits(self, layer: Any) -> bool:
        source = self.source
        if source is None or made_by_us(layer) or not isinstance(layer, Labels) or layer.multiscale:
            return False
        return tuple(layer.data.shape) == source.label_shape

    # Adapters ---------------------------------------------------------------------------------------

    def load_adapter(self, path: Path) -> bool:
        """Load an adapter's file; True if it is loaded."""
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
        """Save the adapter with `texts` (name, description, author, license); True if it is saved."""
        if self.adapter is None or self.unsavable:
            self.problem.emit(self.unsavable or "there is no adapter to save; train one first", "adapter")
            return False
        if path.suffix != ".safetensors":
            path = path.with_name(f"{path.name}.salt.safetensors")
        try:
            content = described(self.adapter.content, **texts)
            card = AdapterCard.from_bytes(content)
            write_adapter_file(path, content)
        except SaltError as error:
            self.problem.emit(str(error), "adapter")
            return False
        self.take_saved(LoadedAdapter(content, card, path))
        return True

    def take_saved(self, adapter: LoadedAdapter) -> None:
        """Use the adapter as it was saved just now."""
        self.set_adapter(adapter)
        self.training.saved(adapter)

    def reset_adapter(self) -> None:
        """Go back to the base model."""
        if self.may_discard_adapter():
            self.set_adapter(None)

    def set_adapter(self, adapter: LoadedAdapter | None) -> None:
        """Use `adapter` as it is, or none."""
        self.adapter, self.strength = adapter, 1.0
        if adapter is not None and split_size(adapter.card.base_model)[0] in BASES:
            self.options.base = adapter.card.base_model
        self.suggesting.clear()
        self.swiping.restart_previews()
        self.previewing.refresh() if adapter else self.previewing.clear()
        self.changed.adapter.emit()

    def bring_back(self, number: int) -> None:
        """Use the adapter of training `number` of this session again."""
        if self.busy:
            self.problem.emit(self.busy, "train")
        elif self.training.lists_the_adapter or self.may_discard_adapter():
            self.set_adapter(self.training.show_run(number).adapter)

    def set_strength(self, strength: float) -> None:
        """Preview and segment with so much of the adapter, 0 (the base model alone) to 1.5."""
        self.strength = strength
        self.previewing.refresh()
        self.changed.adapter.emit()

    # Autosaves --------------------------------------------------------------------------------------

    def restore(self, saved: Saved) -> None:
        """Load an autosaved adapter, or add autosaved paint as a new layer."""
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
        self.marked[layer] = snapshot.marks
        self.set_labels(layer)

    # Jobs -------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End all work, and disconnect from the engine and the layers."""
        self.shelf.look(on=False)
        self.swiping.end()
        self.correcting.end()
        self.engine.message.disconnect(self._engine_messages)
        self.engine.close()
        for part in (*self._parts.values(), self.carrying_out):
            part.end()
        self.set_labels(None)
        self.source = None
        self.job = ""

    def run(self, kind: str, job: Job) -> None:
        """Start a job (see `JOBS`); then refresh the preview."""
        if kind == "segment":
            self.measuring.clear()
        super().run(kind, job)
        self.previewing.refresh()

    def stop(self) -> None:
        """End the running job at its next step and keep its results so far."""
        if self.job == "run":
            self.carrying_out.stop()
        else:
            super().stop()

    def _on_message(self, message: Any) -> None:
        if isinstance(message, Looked):
            self.previewing.on_looked(message)
        elif isinstance(message, Mask):
            self.prompting.on_mask(message)
        elif isinstance(message, Logged):
            self._on_logged(message)
        elif isinstance(message, Compared):
            self.shelf.on_compared(message)
        elif isinstance(message, Failed) and message.request in ASIDES:
            self._asides[message.request].on_failed(message)
        else:
            self._on_job_message(message)

    def _on_logged(self, message: Logged) -> None:
        """Log it in this process, too, and show it with the running job."""
        logging.getLogger(message.name).log(message.level, message.text)
        part = self._parts.get(self.job)
        if part is not None:
            part.on_note(message.text)
            if message.level >= logging.WARNING:
                part.on_warning(message.text)

    def _on_job_message(self, message: Any) -> None:
        part = self._parts.get(self.job)
        over = isinstance(message, Finished | Failed)
        if over and part is not None:
            self.job = ""
        if part is not None and isinstance(message, Downloading):
            part.on_note(message.text, message.received / message.total if message.total else 0.0)
        if part is not None:
            part.on_message(message)
        if isinstance(message, Failed):
            self.previewing.reset()
            if not message.request:  # the engine's process has ended
                self.shelf.reset()
            self.tell(message, kept=part.kept if part else "")
        if over:
            if part is not None:
                part.end()
            self.changed.job.emit()
            self.previewing.refresh()
