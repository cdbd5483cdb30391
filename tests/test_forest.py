"""The random forest that SALT is compared with."""

import numpy as np
import pytest

import tiny
from napari_salt.core.annotations import read_annotations
from napari_salt.core.config import Preprocess
from napari_salt.core.forest import forest_segmentation
from napari_salt.core.metrics import dice
from napari_salt.core.preprocess import SliceReader


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
