"""The random forest that SALT is compared with."""

import numpy as np
import pytest

import tiny
from napari_salt.core.metrics import dice
from napari_salt.core.paint.annotations import read_annotations
from napari_salt.core.paint.preprocess import SliceReader
from napari_salt.core.paint.stacks import read_paint, training_stacks
from napari_salt.core.train.forest import forest_held_out_dice, forest_segmentation
from napari_salt.terms.config import TrainConfig
from napari_salt.terms.preprocess import Preprocess


@pytest.mark.parametrize("colour", [False, True])
def test_the_forest_finds_bright_discs(colour):
    image, truth = tiny.discs()
    stack = np.repeat(image[..., None], 3, axis=3) if colour else image
    reader = SliceReader(stack, Preprocess(channels=3 if colour else 1))
    annotations = read_annotations(tiny.painted(7 * truth, 1, 4))
    found = dict(forest_segmentation(reader, annotations, [0, 2]))
    assert sorted(found) == [0, 2]
    assert set(np.unique(found[0])) == {0, 7}
    assert dice(np.stack([found[0], found[2]]) == 7, truth[[0, 2]] > 0) > 0.9


def test_the_same_seed_gives_the_same_forest():
    image, truth = tiny.discs()
    reader, annotations = SliceReader(image, Preprocess()), read_annotations(tiny.painted(truth, 1))
    once, again = (dict(forest_segmentation(reader, annotations, [0], seed=3)) for _ in range(2))
    np.testing.assert_array_equal(once[0], again[0])


def test_the_forest_is_scored_on_what_training_holds_out():
    image, truth = tiny.discs()
    paint = tiny.painted(truth, 0, 1, 4, 5)
    paint[0, :6, :6] = 2  # never held out, and so not scored
    stacks, config = training_stacks(image, paint), TrainConfig()
    found = forest_held_out_dice(stacks, read_paint(stacks, config), config)
    assert found[1] > 0.9
    assert found.get(2, 0) == 0
