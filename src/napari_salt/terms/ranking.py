"""The order in which slices are worth painting. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

__all__ = ["MAX_CANDIDATES", "rank_slices"]

MAX_CANDIDATES = 32
"""Most slices that are scored, spread over the stack."""
REACH = 0.1
"""Share of the ranked stack's length over which a slice makes its neighbours less interesting."""


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

    Returns
    -------
    tuple of int
        Slice numbers, best first.
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
