"""Which slice to paint next: those of which the adapter is least sure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from napari_salt.core.adapt.adapter import Adapter
from napari_salt.core.adapt.segmenter import Segmenter
from napari_salt.core.paint.plane_view import pixel_size_along, view_along
from napari_salt.core.segment.planes import cuts_wanted
from napari_salt.core.segment.stack import check_arguments, segmentation_events
from napari_salt.terms.config import SegmentConfig
from napari_salt.terms.errors import InputError
from napari_salt.terms.events import SliceUncertainty
from napari_salt.terms.fingerprint import painted_slices
from napari_salt.terms.planes import Spacing, Voxels, voxels_of
from napari_salt.terms.ranking import MAX_CANDIDATES, rank_slices
from napari_salt.terms.stack import StackLike, as_stack
from napari_salt.terms.unsure import pixel_uncertainty

__all__ = ["on_plane", "slice_uncertainty", "suggest", "uncertainty_events"]

PERHAPS = 0.1
"""Probability of not being background from which a pixel may belong to a class."""
LEAST_SHARE = 0.005
"""Share of a slice added to its foreground, so that nearly empty slices do not rank as unsure."""


def suggest(
    stack: StackLike,
    adapter: Adapter,
    config: SegmentConfig | None = None,
    *,
    pixel_size: float | None = None,
    voxels: Voxels | Spacing | None = None,
    count: int = 5,
) -> tuple[int, ...]:
    """Suggest slices as `napari_salt.suggest`, which reads files as well (see `rank_slices`)."""
    config = config or SegmentConfig()
    stack, pixel_size = on_plane(stack, adapter, config, pixel_size, voxels)
    events = uncertainty_events(stack, adapter, replace(config, plane="z"), pixel_size=pixel_size)
    scores = {event.index: event.uncertainty for event in events}
    return rank_slices(scores, painted_slices(stack, adapter), count)


def uncertainty_events(
    stack: StackLike,
    adapter: Adapter,
    config: SegmentConfig | None = None,
    *,
    pixel_size: float | None = None,
    voxels: Voxels | Spacing | None = None,
    candidates: int = MAX_CANDIDATES,
    between: Callable[[], None] | None = None,
    segmenter: Segmenter | None = None,
) -> Iterator[SliceUncertainty]:
    """Measure how unsure the adapter is of each candidate slice, one by one.

    Candidates are evenly spaced ones of the slices that `config` asks for, without those of this stack that
    the adapter was trained on. One view is computed unless `config` says otherwise, and nothing is smoothed.

    Parameters
    ----------
    stack, adapter, config, pixel_size, voxels
        See `napari_salt.suggest`.
    candidates
        Largest number of candidates, from 1.
    between, segmenter
        See `segmentation_events`.

    Yields
    ------
    SliceUncertainty

    Raises
    ------
    InputError
        If `candidates` is below 1, or as `segmentation_events`.
    AdapterError, BaseModelError, DeviceError
        As `segmentation_events`.
    """
    if candidates < 1:
        raise InputError(f"candidates is {candidates}; give a number of slices from 1")
    config = config or SegmentConfig()
    stack, pixel_size = on_plane(stack, adapter, config, pixel_size, voxels)
    wanted = range(stack.shape[0]) if config.slices is None else config.slices
    painted = set(painted_slices(stack, adapter))
    slices = [index for index in wanted if index not in painted]
    picks = np.unique(np.linspace(0, len(slices) - 1, min(len(slices), candidates)).round().astype(int))
    chosen = tuple(slices[pick] for pick in picks)
    config = replace(config, slices=chosen, views=config.views or 1, plane="z")
    config = replace(config, smooth=False, objects=False)
    results = segmentation_events(
        stack, adapter, config, pixel_size=pixel_size, between=between, segmenter=segmenter
    )
    for result in results:
        yield SliceUncertainty(result.index, slice_uncertainty(result.probabilities))


def on_plane(
    stack: StackLike,
    adapter: Adapter,
    config: SegmentConfig,
    pixel_size: float | None = None,
    voxels: Voxels | Spacing | None = None,
) -> tuple[StackLike, float | None]:
    """The stack of the plane's slices, from which one is suggested, and its pixel size.

    Raises
    ------
    InputError
        If it is all planes, or as `planes.cuts_wanted` and `planes.reader_along`.
    """
    check_arguments(adapter, config)
    stack = as_stack(stack, "stack")
    known = voxels_of(voxels)
    cut, *others = cuts_wanted(replace(config, slices=None), adapter.preprocess, known)
    if others:
        raise InputError("a slice is suggested of one plane; give plane z, y or x")
    return view_along(stack, cut, known), pixel_size_along(cut, pixel_size, known)


def slice_uncertainty(probabilities: NDArray[np.float32]) -> float:
    """How unsure a segmentation is, relative to how much it finds; from 0 (sure).

    The entropy (as a share of the largest possible) of all pixels that may belong to a class, over
    the expected number of pixels that do (see `LEAST_SHARE`). Over stacks and their crops, its ranking of
    slices agrees with that by Dice error more evenly than means over pixels or the expected Dice do.

    Parameters
    ----------
    probabilities
        float32, shape (K + 1, Y, X), background first.
    """
    foreground = 1 - probabilities[0]
    entropy = pixel_uncertainty(probabilities)
    least = LEAST_SHARE * foreground.size
    return float(entropy[foreground > PERHAPS].sum() / (foreground.sum() + least))
