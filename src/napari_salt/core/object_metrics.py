"""How well objects agree with labelled ones: average precision at IoU 0.5, and panoptic quality."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from napari_salt.core.metrics import check_shapes, pairs_of_slices
from napari_salt.terms.stack import StackLike, as_stack

__all__ = ["ObjectScore", "evaluate_objects"]

MATCH = 0.5
"""Overlap (intersection over union) above which two objects match; so each has one partner at most."""


@dataclass(frozen=True)
class ObjectScore:
    """How well objects agree.

    Parameters
    ----------
    ap50
        Average precision at IoU 0.5, as in StarDist and Cellpose: matched / (matched + missed + invented),
        0 to 1.
    pq
        Panoptic quality (Kirillov et al., 2019, equation 1): sum of the matched IoU / (matched + half of
        the missed and invented), 0 to 1.
    predicted, true, matched
        Numbers of objects.
    """

    ap50: float
    pq: float
    predicted: int
    true: int
    matched: int

    def to_json(self) -> dict[str, Any]:
        """Give a dict of what JSON can hold."""
        return asdict(self)


def evaluate_objects(
    prediction: StackLike, labels: StackLike, *, mask: StackLike | None = None, each_slice: bool = False
) -> ObjectScore:
    """Score numbered objects against labelled ones, reading a slice at a time.

    Two objects match if they overlap by more than half of their union. Where neither side has an object,
    the scores are 1.

    Parameters
    ----------
    prediction, labels
        Integer numbers of objects, 0 is none; (Z, Y, X), or (Y, X) for one slice; both of one shape.
    mask
        Bool, of the same shape: True where voxels are scored; None scores all.
    each_slice
        Whether objects end with their slice, as in unrelated images.

    Returns
    -------
    ObjectScore
        Scores of all slices together.

    Raises
    ------
    InputError
        If shapes differ, or values are not integers.
    """
    prediction, labels = as_stack(prediction, "prediction"), as_stack(labels, "labels")
    mask = None if mask is None else as_stack(mask, "mask")
    check_shapes(prediction, labels, mask)
    sizes: tuple[Counter[Any], Counter[Any]] = (Counter(), Counter())
    overlaps: Counter[Any] = Counter()
    for index, (predicted, truth) in enumerate(pairs_of_slices(prediction, labels, mask)):
        where = index if each_slice else 0
        for size, side in zip(sizes, (predicted, truth), strict=True):
            numbers, counts = np.unique(side[side != 0], return_counts=True)
            size.update({(where, n): c for n, c in zip(numbers.tolist(), counts.tolist(), strict=True)})
        both = (predicted != 0) & (truth != 0)
        pairs, counts = np.unique(
            np.stack([predicted[both].astype(np.int64), truth[both].astype(np.int64)]),
            axis=1,
            return_counts=True,
        )
        overlaps.update(
            {(where, a, b): c for (a, b), c in zip(pairs.T.tolist(), counts.tolist(), strict=True)}
        )
    shares = (
        both / (sizes[0][where, a] + sizes[1][where, b] - both) for (where, a, b), both in overlaps.items()
    )
    matches = [share for share in shares if share > MATCH]
    predicted_count, true_count = (len(size) for size in sizes)
    return _score(matches, predicted_count, true_count)


def _score(matches: list[float], predicted: int, true: int) -> ObjectScore:
    matched = len(matches)
    if not predicted + true:
        return ObjectScore(1.0, 1.0, 0, 0, 0)
    return ObjectScore(
        matched / (predicted + true - matched),
        2 * sum(matches) / (predicted + true),
        predicted,
        true,
        matched,
    )
