"""The segmentation job of a session: its layers, which slices are done, and resuming after Stop."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_salt.engine._news import SliceSegmented
from napari_salt.engine._requests import Segment
from napari_salt.io._format import writing
from napari_salt.io._zarr import ZarrPlanes
from napari_salt.session._image_source import ImageSource
from napari_salt.session._job import SessionJob
from napari_salt.session._layers import Output
from napari_salt.session._rescaling import strength_words
from napari_salt.terms.config import SegmentConfig
from napari_salt.terms.errors import InputError, SaltError
from napari_salt.terms.options import values_of
from napari_salt.terms.pace import Pace
from napari_salt.terms.slice_ranges import check_slices, parse_slices
from napari_salt.terms.stack import result_dtype
from napari_salt.terms.text import unpathed

if TYPE_CHECKING:
    from napari_salt.session._adapter_file import LoadedAdapter
    from napari_salt.session._state import SessionState

__all__ = ["Segmenting"]


@dataclass
class Result:
    """One output and its slices.

    Parameters
    ----------
    output
        The layers.
    key
        What the output was made with (see `Segmenting._key`).
    objects
        Whether it shall hold numbers of objects instead of classes.
    training
        How the adapter was trained: saving changes its bytes, but not this.
    wanted
        Slices that were asked for.
    done
        Slices that are written.
    final
        Slices that are written for good: with objects, once they have their numbers.
    """

    output: Output
    key: Any
    objects: bool
    training: Mapping[str, Any]
    wanted: set[int] = field(default_factory=set)
    done: set[int] = field(default_factory=set)
    final: set[int] = field(default_factory=set)

    @property
    def left(self) -> tuple[int, ...]:
        """Slices that were asked for and are not done, in order."""
        return tuple(sorted(self.wanted - self.done))


class Segmenting(SessionJob):
    """Starts a segmentation, fills its layers, and keeps track of the slices that are left."""

    def __init__(self, session: SessionState) -> None:
        super().__init__(session, session.changed.segmenting)
        self._result: Result | None = None
        self._outputs: list[Output] = []
        self._pace = Pace()

    @property
    def outputs(self) -> tuple[Output, ...]:
        """The results of this session whose layers are still there."""
        self._outputs = [output for output in self._outputs if output.alive]
        return tuple(self._outputs)

    @property
    def seconds_left(self) -> float | None:
        """Seconds that the run still takes; None if they are few, or not known yet."""
        return self._pace.seconds_left(1)

    @property
    def cannot(self) -> str:
        """Why segmenting cannot start now, or ""."""
        return self._session.busy or self._session.no_image or self._session.no_adapter

    @property
    def left(self) -> tuple[int, ...]:
        """Slices that a stopped segmentation has left, if it can be resumed with the present settings."""
        result = self._result
        if self._session.job or result is None or not result.output.alive:
            return ()
        numbered = self._session.options.segment.objects  # numbered anew in each run
        return result.left if result.key == self._key() and not numbered else ()

    @property
    def finished(self) -> bool:
        """Whether the whole stack has been segmented with the present adapter, and the layer is there."""
        result, session = self._result, self._session
        return (
            result is not None
            and session.adapter is not None
            and result.output.alive
            and result.training == session.adapter.card.training
            and len(result.done) == session.slice_count
        )

    @property
    def kept(self) -> str:
        """Results that are kept after a failure, and how to go on, or ""."""
        done = self.progress[0]
        return f"the {done} finished slices are kept, and Resume goes on" if done and self.left else ""

    @property
    def bytes_needed(self) -> int:
        """Bytes of the label output for the whole stack; 0 without an image or an adapter."""
        session = self._session
        if session.source is None or session.adapter is None:
            return 0
        item = result_dtype(session.adapter.card.values, session.options.segment).itemsize
        return math.prod(session.source.label_shape) * item

    @property
    def on_disk(self) -> bool:
        """Whether the output goes to disk."""
        return self.bytes_needed > self._session.options.memory_limit

    def current_slice(self) -> None:
        """Segment the slice that is shown, into the last layer if that was made with the same settings."""
        self._start((self._session.current_slice,))

    def stack(self) -> None:
        """Segment all slices."""
        count = 0 if self._session.source is None else self._session.source.stack.shape[0]
        self._start(tuple(range(count)))

    def chosen_range(self) -> None:
        """Segment the slices that the range names."""
        try:
            slices = parse_slices(self._session.options.range_text)
            self._check_range(slices)
        except SaltError as error:
            self._session.problem.emit(str(error), "range")
            return
        self._start(slices)

    def resume(self) -> None:
        """Segment the slices that are left after Stop."""
        if self.left:
            self._start(self.left)

    def on_message(self, message: Any) -> None:
        """Handle a message of the engine."""
        result = self._result
        if isinstance(message, SliceSegmented) and result is not None:
            if not result.output.alive:
                self._session.stop()
                return
            self.note = ""
            found = message.result
            if found.done is not None:
                self.note = f"plane {found.done[0]} of {found.done[1]}"
                self._reached(found.done[0] / found.done[1])
                self._changed.emit()
                return
            result.output.write(found.index, found.labels, found.probabilities)
            result.done.add(found.index)
            if found.final:
                result.final.add(found.index)
            self._reached(len(result.wanted & result.done) / len(result.wanted))
        self._changed.emit()

    def _reached(self, fraction: float) -> None:
        """Show how much is done, 0 to 1."""
        self._pace.reached(fraction)
        self._show(fraction)

    def end(self) -> None:
        """Close the progress bar; warn if the layer holds classes where objects were asked for."""
        super().end()
        result = self._result
        if result is not None and result.objects and not result.wanted <= result.final:
            self.on_warning("stopped before the objects were numbered: the layer holds classes")

    @property
    def progress(self) -> tuple[int, int]:
        """Slices done, and slices asked for."""
        result = self._result
        return (0, 0) if result is None else (len(result.wanted & result.done), len(result.wanted))

    def _start(self, slices: tuple[int, ...]) -> None:
        session = self._session
        if self.cannot or session.source is None or session.adapter is None:
            session.problem.emit(self.cannot, "segment")
            return
        try:
            config = session.options.segment_config(slices, session.source.group)
            if config.planes_for(session.adapter.card.preprocess) != "z":
                if len(slices) < session.source.stack.shape[0]:
                    raise InputError(
                        "planes across the slices are put together for the whole stack: press Stack, or "
                        "choose plane z"
                    )
                config = replace(config, slices=None)
            result = self._reusable(slices) or self._made(session.source, session.adapter)
        except SaltError as error:
            session.problem.emit(str(error), "segment")
            return
        result.wanted = result.wanted | set(slices) if result.left else set(slices)
        result.done -= set(slices)
        self._result = result
        self._pace = Pace()
        self._begin("SALT segmenting")
        session.run("segment", self._job(session.source, session.adapter, config))

    def _job(self, source: ImageSource, adapter: LoadedAdapter, config: SegmentConfig) -> Segment:
        session = self._session
        return Segment(
            image=session.engine.offer(source.stack),
            adapter=session.engine.offer_adapter(adapter.digest, adapter.content),
            config=config,
            pixel_size=source.pixel_size,
            voxels=source.voxels,
            strength=session.strength,
            probabilities=session.options.probabilities or session.options.uncertainty,
        )

    def _reusable(self, slices: Sequence[int]) -> Result | None:
        """The last output, if it was made with the same settings and these slices may be written into it.

        None if several slices are asked for and all are done already, or if objects are numbered: then a new
        output is made.
        """
        result = self._result
        if result is None or not result.output.alive or result.key != self._key():
            return None
        if self._session.options.segment.objects:  # each run numbers them from 1
            return None
        return None if result.done.issuperset(slices) and len(slices) > 1 else result

    def _key(self) -> Any:
        """Settings that must be the same for all slices of one layer."""
        session = self._session
        config = session.options.segment_config(None, None)
        digest = session.adapter.digest if session.adapter else ""
        options = session.options
        return session.source, digest, session.strength, config, options.probabilities, options.uncertainty

    def _made(self, source: ImageSource, adapter: LoadedAdapter) -> Result:
        session = self._session
        title = adapter.layer_title
        name = f"{source.layer.name} {title}{strength_words(session.strength)}"
        dtype = result_dtype(adapter.card.values, session.options.segment)
        data = self._on_disk(source, name, dtype) if self.on_disk else np.zeros(source.label_shape, dtype)
        count = len(adapter.card.classes) * session.options.probabilities + session.options.uncertainty
        if count and self.on_disk:
            raise InputError(
                "layers of probabilities and uncertainty need memory; raise its limit, or switch them off"
            )
        maps = [np.zeros(source.label_shape, np.float16) for _ in range(count)]
        unsure = maps.pop() if session.options.uncertainty else None
        colormap = None if session.options.segment.objects else session.colormap  # None: napari's own
        made_by: dict[str, Any] = {"adapter": adapter.digest, "options": values_of(session.options.segment)}
        if session.strength != 1:
            made_by["strength"] = session.strength
        classes = adapter.card.classes
        shown = () if session.options.segment.objects else {info.value for info in adapter.card.shown_classes}
        named = [info for info in session.classes if info.value in shown]
        output = Output(
            session.viewer, source, name, data, classes, colormap, maps, made_by, named, uncertainty=unsure
        )
        self._outputs.append(output)
        return Result(output, self._key(), session.options.segment.objects, adapter.card.training)

    def _on_disk(self, source: ImageSource, name: str, dtype: np.dtype[Any]) -> Any:
        folder = self._session.options.folder
        size = self.bytes_needed / 1e9
        if folder is None:
            raise InputError(
                f"the segmentation takes {size:.1f} GB, more than the memory limit; choose a folder for "
                "it, or raise the limit"
            )
        path = folder / f"{unpathed(name)}.zarr"
        if path.exists():
            raise InputError(f"{path} is there already; choose another folder, or move it away")
        layout = source.layout(name, dtype)
        with writing(path):
            return ZarrPlanes(path, layout).array

    def _check_range(self, slices: Sequence[int]) -> None:
        count = 0 if self._session.source is None else self._session.source.stack.shape[0]
        check_slices(slices, count)
