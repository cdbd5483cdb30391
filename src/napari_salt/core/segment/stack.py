"""Segmenting a stack slice by slice: overlapping tiles, smoothly blended, in bounded memory."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from napari_salt.core.adapt.adapter import Adapter
from napari_salt.core.adapt.segmenter import Segmenter
from napari_salt.core.devices import fast_cpu, resolve_device
from napari_salt.core.paint.likeness import unlikeness
from napari_salt.core.paint.preprocess import SliceReader, Window
from napari_salt.core.segment.cleanup import cleaned, smoothed
from napari_salt.core.segment.memory import check_memory
from napari_salt.core.segment.objects import check_room, numbered
from napari_salt.core.segment.predictor import SlicePredictor
from napari_salt.core.segment.runtime import forward_by
from napari_salt.core.segment.threads import ahead
from napari_salt.core.tiles import VIEWS, possible_overlap, tiles_of
from napari_salt.terms.config import SegmentConfig
from napari_salt.terms.errors import check_type
from napari_salt.terms.events import SliceResult
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


def segmentation_events(
    stack: StackLike,
    adapter: Adapter,
    config: SegmentConfig | None = None,
    *,
    pixel_size: float | None = None,
    between: Callable[[], None] | None = None,
    segmenter: Segmenter | None = None,
    window: Window | None = None,
    job_slices: int | None = None,
) -> Generator[SliceResult, None, None]:
    """Segment a stack, yielding each slice as it is done (see `segment`).

    The next slice is read in the meantime, by a thread. Memory does not depend on the number of slices.

    Where objects are numbered, each slice comes twice: with its classes as it is done, and with the objects'
    numbers when all are done (see `SliceResult`).

    What makes the stack unlike the one that the adapter was trained on is logged before, as a warning (see
    `likeness.unlikeness`), and after it, that nothing but background was found.

    `between` is called before each batch of tiles, so that a caller can do something else in the
    meantime, or stop by raising. `segmenter` is the adapter's, built and merged, and `window` the stack's
    intensities, if there is one already: then these slices are a part of a larger job, which logs for all of
    them. `job_slices` is the number of slices of the whole job, where
    these are a part of it: what computes it is chosen by that, so that all parts agree.
    """
    config = config or SegmentConfig()
    check_arguments(adapter, config)
    stack = as_stack(stack, "stack")
    reader = SliceReader(stack, adapter.preprocess, pixel_size, window)
    results = _segmented(reader, adapter, config, between, segmenter, job_slices, whole_job=window is None)
    with closing(results):
        if config.objects:
            unrelated = adapter.preprocess.independent
            count = 1 if unrelated else len(wanted_slices(config, len(reader)))
            check_room(count * math.prod(reader.stack.shape[1:3]))
            yield from numbered(
                results, borders=bool(adapter.border), unrelated=unrelated, group=config.group
            )
        else:
            yield from results


def _segmented(
    reader: SliceReader,
    adapter: Adapter,
    config: SegmentConfig,
    between: Callable[[], None] | None,
    segmenter: Segmenter | None,
    job_slices: int | None,
    *,
    whole_job: bool,
) -> Generator[SliceResult, None, None]:
    """Segment slices into classes; a `whole_job` logs what is to be said of it."""
    slices = wanted_slices(config, len(reader))
    values = np.array([0, *adapter.shown_values], label_dtype(adapter.values))
    views = VIEWS[: config.views or (len(VIEWS) if adapter.preprocess.turns else 1)]
    if whole_job:
        warn_of_unlikeness(adapter, reader)
    found = False
    with fast_cpu(), closing(ahead(reader.read, slices)) as images:
        segmenter = segmenter or adapter.build(resolve_device(config.device)).merged()
        check_memory(segmenter)
        overlap = possible_overlap(config.overlap, segmenter.input_size)
        tiles = len(views) * len(tiles_of(reader.size, segmenter.input_size, overlap))
        forward = forward_by(config.runtime, segmenter, job_slices or len(slices), tiles)
        predictor = SlicePredictor(segmenter, overlap, config.batch_size, between, forward)
        predicted: Iterator[tuple[int, NDArray[np.float32]]] = (
            (index, predictor.probabilities(image, reader.stack.shape[1:3], views)) for index, image in images
        )
        if config.smooth and not adapter.preprocess.independent:
            predicted = smoothed(predicted, config.group)
        for index, probabilities in predicted:
            # An object's borders and inside are one class.
            found_classes = probabilities[0] < 0.5 if adapter.border else probabilities.argmax(0)
            classes = cleaned(found_classes.astype(np.intp), config.min_size, fill_holes=config.fill_holes)
            found = found or bool(classes.any())
            yield SliceResult(index, values[classes], probabilities, tiles)
    if whole_job and slices and not found:
        logger.warning(nothing_found(len(slices)))


def warn_of_unlikeness(adapter: Adapter, reader: SliceReader) -> None:
    """Log what makes a stack unlike the one that the adapter was trained on."""
    for text in unlikeness(adapter, reader):
        logger.warning(text)


def nothing_found(count: int) -> str:
    """What is said of `count` slices in which no class was found."""
    where = "the slice" if count == 1 else f"any of the {count} slices"
    return (
        f"nothing but background was found in {where}: paint one of them and train again, or check that the "
        "adapter is for such images"
    )


def check_arguments(adapter: Adapter, config: SegmentConfig) -> None:
    """Refuse an adapter that is still a path, say, or another task's config, by the type found."""
    check_type(adapter, Adapter, "adapter", "an Adapter, such as Adapter.load(path)")
    check_type(config, SegmentConfig, "config", "a SegmentConfig")


def wanted_slices(config: SegmentConfig, count: int) -> Sequence[int]:
    """Slices to segment of a stack of `count`, in the order in which they come."""
    slices = range(count) if config.slices is None else config.slices
    check_slices(slices, count)
    return sorted(set(slices)) if config.smooth or config.objects else slices
