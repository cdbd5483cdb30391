"""Which slice to paint next: where the adapter is least sure of what it finds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from napari_salt.core.adapter import Adapter
from napari_salt.core.config import SegmentConfig
from napari_salt.core.events import SliceUncertainty
from napari_salt.core.inference import segmentation_events
from napari_salt.core.provenance import painted_slices
from napari_salt.core.stack import StackLike

__all__ = ["rank_slices", "slice_uncertainty", "suggest", "uncertainty_events"]

MAX_CANDIDATES = 32
PERHAPS = 0.1
"""Probability of not being background from which a pixel may belong to a class."""
LEAST_SHARE = 0.005
"""Share of a slice that foreground counts at least: what is nearly empty is not what is unsure."""
REACH = 0.1
"""Share of the ranked stack's length over which a slice makes its neighbours less interesting."""


def suggest(
    stack: StackLike,
    adapter: Adapter,
    config: SegmentConfig | None = None,
    *,
    pixel_size: float | None = None,
    count: int = 5,
) -> tuple[int, ...]:
    """Slices that painting would teach most, best first (see `uncertainty_events`, `rank_slices`)."""
    events = uncertainty_events(stack, adapter, config, pixel_size=pixel_size)
    scores = {event.index: event.uncertainty for event in events}
    return rank_slices(scores, painted_slices(stack, adapter), count)


def uncertainty_events(
    stack: StackLike,
    adapter: Adapter,
    config: SegmentConfig | None = None,
    *,
    pixel_size: float | None = None,
    candidates: int = MAX_CANDIDATES,
) -> Iterator[SliceUncertainty]:
    """Tell how unsure the adapter is of each candidate slice, one by one.

    Candidates are at most `candidates` evenly spaced ones of the slices that `config` asks for,
    without those of this stack that the adapter was trained on. One view is computed unless
    `config` says otherwise.

    Raises
    ------
    InputError, AdapterError, BaseModelError, DeviceError
    """
    config = config or SegmentConfig()
    wanted = range(stack.shape[0]) if config.slices is None else config.slices
    painted = set(painted_slices(stack, adapter))
    slices = [index for index in wanted if index not in painted]
    picks = np.unique(np.linspace(0, len(slices) - 1, min(len(slices), candidates)).round().astype(int))
    chosen = replace(config, slices=tuple(slices[pick] for pick in picks), views=config.views or 1)
    for result in segmentation_events(stack, adapter, chosen, pixel_size=pixel_size):
        yield SliceUncertainty(result.index, slice_uncertainty(result.probabilities))


def slice_uncertainty(probabilities: NDArray[np.float32]) -> float:
    """How unsure a segmentation is, relative to how much it finds; from 0 (sure).

    The entropy (as a share of the largest possible) of all pixels that may belong to a class, over
    the expected number of pixels that do. It ranks slices as their Dice error does more evenly over
    stacks and crops of them than means over pixels, and than the expected Dice itself.

    Parameters
    ----------
    probabilities
        Shape (K + 1, Y, X), background first.
    """
    foreground = 1 - probabilities[0]
    tiny = np.finfo(probabilities.dtype).tiny
    entropy = -(probabilities * np.log(probabilities.clip(tiny))).sum(0) / np.log(len(probabilities))
    least = LEAST_SHARE * foreground.size
    return float(entropy[foreground > PERHAPS].sum() / (foreground.sum() + least))


def rank_slices(scores: Mapping[int, float], painted: Sequence[int], count: int) -> tuple[int, ...]:
    """Slices to paint, best first: uncertain, and far from what is painted or ranked before.

    A score is damped by ``1 - exp(-(d / r) ** 2 / 2)``, d slices from the nearest of those, where r
    is a tenth of the range that all span (at least one slice).

    Parameters
    ----------
    scores
        Uncertainty by slice.
    painted
        Slices that are painted already; never part of the result.
    count
        Largest number of slices.
    """
    known, rest = list(painted), sorted(set(scores) - set(painted))
    reach = max(1.0, REACH * np.ptp([*known, *rest])) if rest else 1.0
    ranked: list[int] = []
    while rest and len(ranked) < count:
        damped = [scores[index] * _novelty(index, known, reach) for index in rest]
        ranked.append(rest.pop(int(np.argmax(damped))))
        known.append(ranked[-1])
    return tuple(ranked)


def _novelty(index: int, known: Sequence[int], reach: float) -> float:
    distance = min((abs(index - other) for other in known), default=np.inf)
    return float(-np.expm1(-((distance / reach) ** 2) / 2))
