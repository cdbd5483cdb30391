"""Segment a whole stack into memory, on this machine or on a cluster."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_salt.core.adapt.adapter import Adapter
from napari_salt.core.segment.planes import cuts_wanted, in_one_run
from napari_salt.core.segment.stack import check_arguments, nothing_found, segmentation_events
from napari_salt.terms.config import SegmentConfig
from napari_salt.terms.errors import InputError
from napari_salt.terms.events import SliceResult
from napari_salt.terms.planes import Spacing, Voxels, voxels_of
from napari_salt.terms.stack import StackLike, as_stack, result_dtype

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["index_and_labels", "segment"]

logger = logging.getLogger(__name__)


def segment(
    stack: StackLike,
    adapter: Adapter,
    config: SegmentConfig | None = None,
    *,
    pixel_size: float | None = None,
    voxels: Voxels | Spacing | None = None,
    client: Client | None = None,
) -> NDArray[np.integer]:
    """Segment a stack in memory or on disk, as `napari_salt.segment`, which reads files as well."""
    config = config or SegmentConfig()
    check_arguments(adapter, config)
    stack = as_stack(stack, "stack")
    if client is not None:
        together = in_one_run(cuts_wanted(config, adapter.preprocess, voxels_of(voxels)), config)
        if together:
            raise InputError(f"{together} in one run; leave out the client")
    labels = np.zeros(tuple(stack.shape[:3]), result_dtype(adapter.values, config))
    planes: Iterable[tuple[int, NDArray[np.integer]]]
    if client is None:
        events = segmentation_events(stack, adapter, config, pixel_size=pixel_size, voxels=voxels)
        planes = (index_and_labels(result) for result in events if result.done is None)
    else:
        from napari_salt.core.segment.cluster import cluster_results

        planes = cluster_results(client, stack, adapter, config, pixel_size=pixel_size, keep=index_and_labels)
    done = set()
    for index, plane in planes:
        labels[index] = plane
        done.add(index)
    if client is not None and done and not labels.any():  # else the events have logged it
        logger.warning(nothing_found(len(done)))
    return labels


def index_and_labels(result: SliceResult) -> tuple[int, NDArray[np.integer]]:
    """What `segment` keeps of a slice."""
    return result.index, result.labels
