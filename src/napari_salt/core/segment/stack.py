"""Segmenting a stack slice by slice: overlapping tiles, smoothly blended, in bounded memory."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_salt.core.adapt.adapter import Adapter
from napari_salt.core.adapt.segmenter import Segmenter
from napari_salt.core.devices import fast_cpu, resolve_device
from napari_salt.core.paint.likeness import unlikeness
from napari_salt.core.paint.plane_view import own_shape
from napari_salt.core.paint.preprocess import SliceReader, Window
from napari_salt.core.segment.cleanup import cleaned, smoothed
from napari_salt.core.segment.memory import check_memory
from napari_salt.core.segment.objects import block_length, check_voxels, numbered
from napari_salt.core.segment.planes import Predicted, Volume, across, cuts_wanted, gathered, reader_along
from napari_salt.core.segment.predictor import SlicePredictor
from napari_salt.core.segment.runtime import forward_by
from napari_salt.core.segment.threads import ahead
from napari_salt.core.tiles import VIEWS, View, possible_overlap, tiles_of
from napari_salt.terms.config import SegmentConfig
from napari_salt.terms.errors import check_type
from napari_salt.terms.events import SliceResult
from napari_salt.terms.planes import Cut, Spacing, Voxels, voxels_of
from napari_salt.terms.preprocess import Preprocess
from napari_salt.terms.slice_ranges import check_slices
from napari_salt.terms.stack import StackLike, as_stack, label_dtype

__all__ = [
    "check_arguments",
    "nothing_found",
    "segmentation_events",
    "wanted_slices",
    "warn_of_unlikeness",
]

logger = logging.getLogger(__name__)

FAST_VIEWS = 2


def segmentation_events(
    stack: StackLike,
    adapter: Adapter,
    config: SegmentConfig | None = None,
    *,
    pixel_size: float | None = None,
    voxels: Voxels | Spacing | None = None,
    between: Callable[[], None] | None = None,
    segmenter: Segmenter | None = None,
    window: Window | None = None,
    job_slices: int | None = None,
) -> Generator[SliceResult, None, None]:
    """Segment a stack, yielding each slice as it is done (see `segment`).

    A thread reads the next slice in the meantime. Memory does not depend on the number of slices, unless
    objects are numbered: then each slice is yielded twice, with its classes as it is done, and with the
    objects' numbers when all are done; or planes across the slices are segmented: then results of planes tell
    of progress, and the slices follow when all are done (see `SliceResult`).

    A warning is logged before if the stack is unlike the one that the adapter was trained on (see
    `likeness.unlikeness`), and after if nothing but background was found.

    Parameters
    ----------
    stack, adapter, config, pixel_size, voxels
        See `napari_salt.segment`; no paths.
    between
        Called before each batch of tiles, so that a caller can do other work, or stop by raising.
    segmenter
        The adapter's, built and merged, if there is one already.
    window
        The stack's intensity window, if measured already: then these slices are a part of a larger job,
        which logs the warnings.
    job_slices
        Number of slices of the whole job, if these are a part of it; the runtime is chosen by it, so that
        it is the same for all parts.

    Yields
    ------
    SliceResult
        In the order of `wanted_slices`.

    Raises
    ------
    InputError
        If the stack, the slices or the pixel size cannot be used, OpenVINO is asked for in vain, or objects
        do not fit into memory.
    AdapterError
        If the adapter does not fit its base, or needs one unknown here.
    BaseModelError
        If the base model cannot be loaded.
    DeviceError
        If the device is not available, or out of memory.
    """
    config = config or SegmentConfig()
    check_arguments(adapter, config)
    volume = Volume(as_stack(stack, "stack"), pixel_size, voxels_of(voxels))
    cuts = cuts_wanted(config, adapter.preprocess, volume.voxels)
    job = _Job(adapter, config, between, segmenter, job_slices)
    count = int(volume.stack.shape[0])
    if not across(cuts):
        reader = reader_along(volume, Cut(), adapter.preprocess, window)
        count = len(wanted_slices(config, count))
        results = job.of_slices(reader, whole_job=window is None)
    else:
        results = job.of_planes(volume, cuts)
    with closing(results):
        if config.objects:
            unrelated = adapter.preprocess.independent
            if adapter.border:
                pixels = math.prod(volume.stack.shape[1:3])
                check_voxels(pixels * (1 if unrelated else min(count, block_length(pixels))))
            yield from numbered(
                results,
                borders=bool(adapter.border),
                divided=adapter.divided,
                smallest=_smallest(adapter, pixel_size),
                unrelated=unrelated,
                group=config.group,
            )
        else:
            yield from results


def _smallest(adapter: Adapter, pixel_size: float | None) -> float:
    """Area of the smallest objects in pixels of the stack, as far as stored slices were painted; else 0."""
    preprocess = adapter.preprocess
    return adapter.smallest / preprocess.scale_for(pixel_size) ** 2 if preprocess.plane == "z" else 0.0


@dataclass
class _Job:
    """What all parts of a segmentation have in common; the arguments are those of `segmentation_events`."""

    adapter: Adapter
    config: SegmentConfig
    between: Callable[[], None] | None
    segmenter: Segmenter | None
    job_slices: int | None

    def of_slices(self, reader: SliceReader, *, whole_job: bool) -> Generator[SliceResult, None, None]:
        """Segment slices into classes; warnings are logged for a `whole_job` only."""
        count, found = 0, False
        for index, probabilities, tiles in self.predicted(reader, whole_job=whole_job):
            count += 1
            result = self._classified(index, probabilities, tiles)
            found = found or bool(result.labels.any())
            yield result
        if whole_job and count and not found:
            logger.warning(nothing_found(count))

    def of_planes(self, volume: Volume, cuts: Sequence[Cut]) -> Generator[SliceResult, None, None]:
        """Segment slices along `cuts`; all slices of the stack come when these are done."""
        found = False
        for progress, index, probabilities, tiles in gathered(volume, cuts, self):
            if progress is not None:
                nothing = probabilities[:0]
                yield SliceResult(index, nothing.astype(np.uint8), nothing, tiles, final=False, done=progress)
                continue
            result = self._classified(index, probabilities, tiles)
            found = found or bool(result.labels.any())
            yield result
        if not found:
            logger.warning(nothing_found(int(volume.stack.shape[0])))

    def predicted(self, reader: SliceReader, *, whole_job: bool) -> Iterator[Predicted]:
        """Index, probabilities and number of tiles of each wanted slice."""
        adapter, config = self.adapter, self.config
        slices = wanted_slices(config, len(reader))
        fast, views = config.quality == "fast", views_for(config, adapter.preprocess)
        if whole_job:
            warn_of_unlikeness(adapter, reader)
        with fast_cpu(), closing(ahead(reader.read, slices)) as images:
            self.segmenter = self.segmenter or adapter.build(resolve_device(config.device)).merged()
            segmenter = self.segmenter
            check_memory(segmenter)
            overlap = possible_overlap(config.overlap, segmenter.input_size)
            tiles = len(views) * len(tiles_of(reader.size, segmenter.input_size, overlap))
            forward = forward_by(config.runtime, segmenter, self.job_slices or len(slices), tiles)
            predictor = SlicePredictor(segmenter, overlap, config.batch_size, self.between, forward)
            shape = own_shape(reader.stack)
            predicted: Iterator[tuple[int, NDArray[np.float32]]] = (
                (index, predictor.probabilities(image, shape, views, fast=fast)) for index, image in images
            )
            if config.smooth and not adapter.preprocess.independent:
                predicted = smoothed(predicted, config.group)
            for index, probabilities in predicted:
                yield index, probabilities, tiles

    def _classified(self, index: int, probabilities: NDArray[np.float32], tiles: int) -> SliceResult:
        """The label values of a slice."""
        adapter, config = self.adapter, self.config
        values = np.array([0, *adapter.shown_values], label_dtype(adapter.values))
        # An object's borders and inside are one class.
        found = probabilities[0] < 0.5 if adapter.border else probabilities.argmax(0)
        classes = cleaned(found.astype(np.intp), config.min_size, fill_holes=config.fill_holes)
        return SliceResult(index, values[classes], probabilities, tiles)


def warn_of_unlikeness(adapter: Adapter, reader: SliceReader) -> None:
    """Log what makes a stack unlike the one that the adapter was trained on."""
    for text in unlikeness(adapter, reader):
        logger.warning(text)


def nothing_found(count: int) -> str:
    """Warning about `count` slices in which no class was found."""
    where = "the slice" if count == 1 else f"any of the {count} slices"
    return (
        f"nothing but background was found in {where}: paint one of them and train again, or check that the "
        "adapter is for such images"
    )


def check_arguments(adapter: Adapter, config: SegmentConfig) -> None:
    """Raise InputError for an adapter or a config of another type, such as a path."""
    check_type(adapter, Adapter, "adapter", "an Adapter, such as Adapter.load(path)")
    check_type(config, SegmentConfig, "config", "a SegmentConfig")


def views_for(config: SegmentConfig, preprocess: Preprocess) -> Sequence[View]:
    """Views in which slices are looked at, at most."""
    most = FAST_VIEWS if config.quality == "fast" else len(VIEWS)
    return VIEWS[: config.views or (most if preprocess.turns else 1)]


def wanted_slices(config: SegmentConfig, count: int) -> Sequence[int]:
    """Slices to segment of a stack of `count`, in the order in which they come."""
    slices = range(count) if config.slices is None else config.slices
    check_slices(slices, count)
    return sorted(set(slices)) if config.smooth or config.objects else slices
