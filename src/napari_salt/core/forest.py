"""The classical alternative from the same paint: a random forest on multi-scale filters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.feature import multiscale_basic_features
from sklearn.ensemble import RandomForestClassifier

from napari_salt.core.annotations import IGNORE, Annotations, hold_out, read_annotations
from napari_salt.core.config import Preprocess, TrainConfig
from napari_salt.core.metrics import dice
from napari_salt.core.preprocess import SliceReader
from napari_salt.core.stack import StackLike, check_stack

__all__ = ["Features", "filter_responses", "forest_held_out_dice", "forest_segmentation"]

Features = Callable[[SliceReader, int], NDArray[Any]]
"""What a forest sees of a slice: shape (Y, X, F), float."""

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
    features, targets = [], []
    for painted in annotations.slices:
        known = painted.target != IGNORE
        features.append(features_of(reader, painted.index)[known])
        targets.append(painted.target[known])
    x, y = np.concatenate(features), np.concatenate(targets)
    drawn = np.random.default_rng(seed).permutation(len(y))[:DRAWN_PIXELS]
    forest = RandomForestClassifier(
        TREES, max_depth=DEPTH, class_weight="balanced", n_jobs=-1, random_state=seed
    ).fit(x[drawn], y[drawn])
    values = np.array([0, *annotations.values])
    for index in slices:
        planes = features_of(reader, index)
        numbers = forest.predict(planes.reshape(-1, planes.shape[-1]))
        yield index, values[numbers].reshape(planes.shape[:2])


def forest_held_out_dice(
    image: StackLike, labels: StackLike, config: TrainConfig, values: Sequence[int] = ()
) -> dict[int, float]:
    """Dice by label value of a forest on the paint that training holds out, learnt from the rest.

    The paint is split as `training_events` splits it; `values` are the classes of the adapter that
    training went on from. A class that is neither there nor found scores 1.
    """
    annotations = read_annotations(
        labels,
        slices=config.slices,
        unpainted=config.unpainted,
        background_label=config.background_label,
        values=values,
    )
    split = hold_out(annotations.slices)
    preprocess = Preprocess(channels=check_stack(image), independent=config.independent)
    learning = replace(annotations, slices=split.training)
    found = forest_segmentation(
        SliceReader(image, preprocess), learning, [s.index for s in split.held_out], seed=config.seed
    )
    guesses, truths = [], []
    table = np.array([0, *annotations.values])
    for painted, (_, guess) in zip(split.held_out, found, strict=True):
        known = painted.target != IGNORE
        guesses.append(guess[known])
        truths.append(table[painted.target[known]])
    guess, truth = np.concatenate(guesses), np.concatenate(truths)
    return {value: dice(guess == value, truth == value) for value in annotations.values}
