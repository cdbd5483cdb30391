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

    A thread reads the next slice in the meantime. Memory does not depend on the number of slices, unless
    objects are numbered: then each slice is yielded twice, with its classes as it is done, and with the
    objects' numbers when all are done (see `SliceResult`).

    A warning is logged before if the stack is unlike the one that the adapter was trained on (see
    `likeness.unlikeness`), and after if nothing but background was found.

    Parameters
    ----------
    stack
        numpy, dask or zarr, shape (Z, Y, X) or (Z, Y, X, 3).
    adapter
        What `train` returned, or a loaded file.
    config
        How to segment; None: the defaults.
    pixel_size
        Micrometres per pixel in the plane, if known.
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
    """Segment slices into classes; warnings are logged for a `whole_job` only."""
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


def wanted_slices(config: SegmentConfig, count: int) -> Sequence[int]:
    """Slices to segment of a stack of `count`, in the order in which they come."""
    slices = range(count) if config.slices is None else config.slices
    check_slices(slices, count)
    return sorted(set(slices)) if config.smooth or config.objects else slices
