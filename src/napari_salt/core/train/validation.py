"""Dice on held-out paint."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils import parametrize

from napari_salt.core.adapt.segmenter import Segmenter, with_background
from napari_salt.core.paint.annotations import IGNORE, PaintedSlice
from napari_salt.core.paint.preprocess import SliceReader, resize
from napari_salt.core.segment.predictor import SlicePredictor

__all__ = ["held_out_dice", "mean_dice"]

MAX_SCORED_SLICES = 4


def held_out_dice(
    segmenter: Segmenter, readers: Sequence[SliceReader], slices: Sequence[PaintedSlice]
) -> tuple[float | None, ...]:
    """Dice of each class 1..K, pooled over the known pixels of at most four of `slices`.

    Only tiles with known pixels are computed. A class that is neither painted nor found there has no
    score, None. `readers` are those of all stacks, in order.
    """
    picks = np.linspace(0, len(slices) - 1, min(len(slices), MAX_SCORED_SLICES)).round()
    predictor = SlicePredictor(segmenter, overlap=0)
    overlap = np.zeros(segmenter.n_classes)
    total = np.zeros(segmenter.n_classes)
    with parametrize.cached():  # all tiles meet the same weights
        for painted in (slices[int(i)] for i in picks):
            if (painted.target == IGNORE).all():
                continue  # a slice of a few strokes may have none in its block
            found = _predict(predictor, segmenter.input_size, readers[painted.stack], painted)
            for position in range(segmenter.n_classes):
                truth = painted.target == position + 1
                guess = (found == position + 1) & (painted.target != IGNORE)
                overlap[position] += (truth & guess).sum()
                total[position] += truth.sum() + guess.sum()
    return tuple(float(2 * o / t) if t else None for o, t in zip(overlap, total, strict=True))


def mean_dice(scores: Iterable[float]) -> float:
    """Mean over the classes that have a score; NaN where none has."""
    known = tuple(scores)
    return fmean(known) if known else float("nan")


def _predict(
    predictor: SlicePredictor, side: int, reader: SliceReader, painted: PaintedSlice
) -> NDArray[np.int64]:
    known = torch.from_numpy(painted.target != IGNORE)
    wanted = resize(known[None, None].float(), reader.size)[0, 0] > 0
    around = _around(wanted, side)
    image = reader.read(painted.index)
    seen = predictor.logits(image[:, *around], wanted[around])
    logits = torch.zeros(len(seen), *wanted.shape)
    logits[:, *around] = seen
    native = resize(logits[None], painted.target.shape)
    found: NDArray[np.int64] = with_background(native).argmax(1)[0].numpy()
    return found


def _around(wanted: Tensor, side: int) -> tuple[slice, slice]:
    """Rows and columns of the smallest part of `wanted` (H, W) that holds all of it and a tile of `side`.

    The wanted pixels lie in the middle, so that a block across a border of tiles does not take all four.
    """
    spans = []
    for axis in (0, 1):
        size = wanted.shape[axis]
        hits = wanted.any(1 - axis).nonzero()
        first, end = int(hits.min()), int(hits.max()) + 1
        length = max(end - first, min(side, size))
        start = min(max(0, (first + end - length) // 2), size - length)
        spans.append(slice(start, start + length))
    rows, columns = spans
    return rows, columns
