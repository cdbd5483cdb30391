"""Segmenting a volume on planes across its stored slices, or on all three."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from napari_salt.core.adapt.adapter import Adapter
from napari_salt.core.devices import check_room
from napari_salt.core.paint.plane_view import in_memory, pixel_size_along, view_along
from napari_salt.core.paint.preprocess import EVEN, SliceReader, Window
from napari_salt.terms.config import SegmentConfig
from napari_salt.terms.errors import InputError
from napari_salt.terms.planes import AXES, NOTHING_KNOWN, Cut, Voxels, cut_of
from napari_salt.terms.preprocess import Preprocess
from napari_salt.terms.stack import StackLike

__all__ = [
    "Predicted",
    "Volume",
    "across",
    "cuts_wanted",
    "gathered",
    "in_one_run",
    "reader_along",
    "slices_along",
]

Predicted = tuple[int, NDArray[np.float32], int]
"""Index, probabilities (K + 1, rows, columns), and number of tiles of a slice."""
Progress = tuple[int, int]
"""Slices of planes that are done, and of how many."""


class Job(Protocol):
    """What segments the slices of one plane."""

    adapter: Adapter
    config: SegmentConfig

    def predicted(self, reader: SliceReader, *, whole_job: bool) -> Iterator[Predicted]:
        """Predict each wanted slice; warnings are logged for a `whole_job` only."""
        ...


@dataclass(frozen=True)
class Volume:
    """A stack with the sizes of its voxels.

    Parameters
    ----------
    stack
        Shape (Z, Y, X) or (Z, Y, X, 3).
    pixel_size
        Micrometres per pixel of the stored slices, if known.
    voxels
        Their sizes, and how a patient lies in the volume.
    """

    stack: StackLike
    pixel_size: float | None = None
    voxels: Voxels = NOTHING_KNOWN


def cuts_wanted(config: SegmentConfig, preprocess: Preprocess, voxels: Voxels) -> tuple[Cut, ...]:
    """How a volume is cut into the slices that are segmented.

    Raises
    ------
    InputError
        If nothing says which axis follows the plane, or slices of several axes are chosen, or slices are
        unrelated images or of several time points, and have no other planes.
    """
    wanted = config.planes_for(preprocess)
    cuts = tuple(cut_of(plane, voxels) for plane in (AXES if wanted == "all" else (wanted,)))
    if not across(cuts):
        return cuts
    if len(cuts) > 1 and config.slices is not None:
        raise InputError("slices were chosen, and all planes are to be averaged; leave out the slices")
    if preprocess.independent:
        raise InputError(f"the adapter is for unrelated images, which have no plane {wanted}; use plane z")
    if config.group is not None:
        raise InputError(f"plane {wanted} of a time series is not supported; give one, or use plane z")
    return cuts


def across(cuts: Sequence[Cut]) -> bool:
    """Whether any slices are not those that are stored."""
    return not all(cut.stored for cut in cuts)


def slices_along(cuts: Sequence[Cut], shape: Sequence[int], config: SegmentConfig) -> int:
    """Number of slices to segment along `cuts` of a volume of `shape`."""
    return sum(shape[cut.slices] for cut in cuts) if config.slices is None else len(set(config.slices))


def in_one_run(cuts: Sequence[Cut], config: SegmentConfig) -> str:
    """What makes the slices depend on each other, so that one run does all of them; or ""."""
    if across(cuts):
        return "planes across the slices are put together"
    return "the objects of all slices are numbered" if config.objects else ""


def reader_along(
    volume: Volume, cut: Cut, preprocess: Preprocess, window: Window | None = None
) -> SliceReader:
    """Reads the slices along `cut`.

    Raises
    ------
    InputError
        As `SliceReader`; or if the volume is a single slice, or memory does not hold it.
    """
    stack = view_along(volume.stack, cut, volume.voxels)
    size = pixel_size_along(cut, volume.pixel_size, volume.voxels)
    return SliceReader(stack, preprocess, size, window)


def gathered(
    volume: Volume, cuts: Sequence[Cut], job: Job
) -> Iterator[tuple[Progress | None, int, NDArray[np.float32], int]]:
    """Predict the slices along `cuts`, and average them.

    All have one intensity window, that of the first. Voxels of slices that are not asked for are
    background.

    Yields
    ------
    progress, index, probabilities, tiles
        For each slice of a plane; then, with progress None and no tiles, for each slice of the stack.

    Raises
    ------
    InputError
        If memory does not hold the volume and its probabilities.
    """
    volume = replace(volume, stack=in_memory(volume.stack))
    shape = volume.stack.shape[:3]
    total = slices_along(cuts, shape, job.config)
    sums: NDArray[np.float16] | None = None
    window: Window | None = None
    done = 0
    for cut in cuts:
        reader = reader_along(volume, cut, job.adapter.preprocess, window)
        for index, probabilities, tiles in job.predicted(reader, whole_job=window is None):
            if sums is None:
                full = (len(probabilities), *shape)
                check_room(
                    math.prod(full) * np.dtype(np.float16).itemsize,
                    "the probability of each class in this volume",
                    "use plane z, or a part of the image",
                )
                sums = np.zeros(full, np.float16)
            cut.of(sums, 1)[:, index] += probabilities
            done += 1
            yield (done, total), index, probabilities, tiles
        window = reader.window and replace(reader.window, fade=EVEN)  # it is along the first cut's slices
    if sums is None:
        return
    for index in range(shape[0]):
        probabilities = sums[:, index].astype(np.float32)
        probabilities[0, ~probabilities.any(0)] = 1  # not asked for
        yield None, index, probabilities / probabilities.sum(0), 0
