"""The classical alternative from the same paint: a random forest on multi-scale filters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.feature import multiscale_basic_features
from sklearn.ensemble import RandomForestClassifier

from napari_salt.core.metrics import dice
from napari_salt.core.paint.annotations import IGNORE, Annotations
from napari_salt.core.paint.preprocess import SliceReader
from napari_salt.core.paint.split import hold_out
from napari_salt.core.paint.stacks import TrainingStack, readers_of
from napari_salt.terms.config import TrainConfig
from napari_salt.terms.preprocess import Preprocess
from napari_salt.terms.stack import check_stack

__all__ = [
    "Features",
    "filter_responses",
    "forest_held_out_dice",
    "forest_segmentation",
    "trained_forest",
]

Features = Callable[[SliceReader, int], NDArray[Any]]
"""Features of a slice for the forest: float, shape (Y, X, F)."""

DRAWN_PIXELS = 60_000
TREES, DEPTH = 100, 20
SIGMA_MIN, SIGMA_MAX = 0.7, 16


def filter_responses(reader: SliceReader, index: int) -> NDArray[Any]:
    """Intensity, edges and texture of one slice at scales from 0.7 to 16 pixels, shape (Y, X, F)."""
    plane = np.moveaxis(reader.raw(index), 0, -1)
    colour = plane.shape[-1] > 1
    features: NDArray[Any] = multiscale_basic_features(  # type: ignore[no-untyped-call]
        plane if colour else plane[..., 0],
        sigma_min=SIGMA_MIN,
        sigma_max=SIGMA_MAX,
        channel_axis=-1 if colour else None,
    )
    return features


def forest_segmentation(
    reader: SliceReader,
    annotations: Annotations,
    slices: Sequence[int],
    *,
    seed: int = 0,
    features_of: Features = filter_responses,
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Segment `slices` with a random forest trained on the painted pixels.

    60,000 painted pixels are drawn at random; 100 trees of depth at most 20, classes weighted by their
    rarity.

    Parameters
    ----------
    reader
        The stack, with its intensity window.
    annotations
        What is painted.
    slices
        Slices to segment.
    seed
        Of the draw and the forest.
    features_of
        What the forest sees of each pixel.

    Yields
    ------
    index, labels
        Slice number and label values, int64, shape (Y, X).
    """
    find = trained_forest([reader], annotations, seed, features_of)
    for index in slices:
        yield index, find(reader, index)


def trained_forest(
    readers: Sequence[SliceReader], annotations: Annotations, seed: int, features_of: Features
) -> Callable[[SliceReader, int], NDArray[np.int64]]:
    """Train a forest as `forest_segmentation` does, on the paint of one stack or several.

    Returns
    -------
    callable
        Gives the label values, int64 (Y, X), of a slice of any stack.
    """
    x, y = _drawn_pixels(readers, annotations, seed, features_of)
    forest = RandomForestClassifier(
        TREES, max_depth=DEPTH, class_weight="balanced", n_jobs=-1, random_state=seed
    ).fit(x, y)
    values = np.array([0, *annotations.values])

    def find(reader: SliceReader, index: int) -> NDArray[np.int64]:
        planes = features_of(reader, index)
        found: NDArray[np.int64] = values[forest.predict(planes.reshape(-1, planes.shape[-1]))]
        return found.reshape(planes.shape[:2])

    return find


def _drawn_pixels(
    readers: Sequence[SliceReader], annotations: Annotations, seed: int, features_of: Features
) -> tuple[NDArray[Any], NDArray[np.int16]]:
    """Features (N, F) and targets (N,) of painted pixels drawn at random, one slice at a time in memory."""
    known = [painted.target != IGNORE for painted in annotations.slices]
    ends = np.cumsum([mask.sum() for mask in known])
    drawn = np.random.default_rng(seed).permutation(int(ends[-1]))[:DRAWN_PIXELS]
    y = np.concatenate([p.target[mask] for p, mask in zip(annotations.slices, known, strict=True)])[drawn]
    x = np.empty((0, 0))
    for painted, mask, end in zip(annotations.slices, known, ends, strict=True):
        features = features_of(readers[painted.stack], painted.index)[mask]
        if not x.size:
            x = np.empty((len(drawn), features.shape[-1]), features.dtype)
        here = (drawn < end) & (drawn >= end - len(features))
        x[here] = features[drawn[here] - (end - len(features))]
    return x, y


def forest_held_out_dice(
    stacks: Sequence[TrainingStack], annotations: Annotations, config: TrainConfig
) -> dict[int, float]:
    """Dice by label value of a forest on the paint that training holds out, learnt from the rest.

    The paint is split as `training_events` splits it. A class that is neither painted nor found there is
    left out.

    Parameters
    ----------
    stacks, annotations, config
        Those of the training.
    """
    split = hold_out(annotations.slices, config.group)
    preprocess = Preprocess(channels=check_stack(stacks[0].image), independent=config.independent)
    readers = readers_of(stacks, preprocess)
    find = trained_forest(readers, replace(annotations, slices=split.training), config.seed, filter_responses)
    guesses, truths = [], []
    table = np.array([0, *annotations.values])
    for painted in split.held_out:
        known = painted.target != IGNORE
        guesses.append(find(readers[painted.stack], painted.index)[known])
        truths.append(table[painted.target[known]])
    guess, truth = np.concatenate(guesses), np.concatenate(truths)
    seen = {*np.unique(guess).tolist(), *np.unique(truth).tolist()}
    return {v: dice(guess == v, truth == v) for v in annotations.values if v in seen}
