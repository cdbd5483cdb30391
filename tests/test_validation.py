"""Dice on held-out paint: only of what is known, and with few tiles."""

import numpy as np
import pytest
import torch
from torch import nn

from napari_salt.core.paint.annotations import IGNORE, PaintedSlice
from napari_salt.core.paint.preprocess import SliceReader
from napari_salt.core.train.validation import held_out_dice, mean_dice
from napari_salt.terms.preprocess import Preprocess

SIDE = 64


class Threshold(nn.Module):
    """A model of one class: what is brighter than the middle of the window."""

    input_size, n_classes, device = SIDE, 1, torch.device("cpu")

    def __init__(self):
        super().__init__()
        self.anything = nn.Parameter(torch.zeros(1))
        self.tiles = 0

    def forward(self, images):
        self.tiles += len(images)
        return images[:, :1] - 0.5


def stack(size=(160, 160)):
    image = np.random.default_rng(0).random((2, *size)).astype(np.float32)
    image[:, :2, :2] = 0, 1  # so that the window is from 0 to 1
    return image


def known(image, index, *part):
    """What is bright in a part of the slice, where alone it is known."""
    target = np.full(image.shape[1:], IGNORE, np.int16)
    target[part] = image[index][part] > 0.5
    return PaintedSlice(index, target)


def scored(image, *slices):
    model = Threshold()
    reader = SliceReader(image, Preprocess(percentiles=(0, 100)))
    (score,) = held_out_dice(model, [reader], slices)
    return score, model.tiles


@pytest.mark.parametrize(
    ("rows", "columns", "tiles"),
    [
        (slice(40, 100), slice(50, 110), 1),  # on a corner of the grid's tiles
        (slice(0, 5), slice(155, 160), 1),
        (slice(150, 160), slice(0, 64), 1),
        (slice(20, 120), slice(30, 60), 2),
        (slice(0, 160), slice(0, 160), 9),
    ],
)
def test_a_block_is_scored_by_as_few_tiles_as_hold_it(rows, columns, tiles):
    image = stack()
    assert scored(image, known(image, 1, rows, columns)) == (1, tiles)


def test_what_is_wrong_is_found_where_it_is():
    image = stack()
    painted = known(image, 0, slice(60, 90), slice(60, 90))
    painted.target[60:75, 60:90] = 0
    (truth, guess) = (image[0, 75:90, 60:90] > 0.5).sum(), (image[0, 60:90, 60:90] > 0.5).sum()
    score, _ = scored(image, painted)
    assert score == pytest.approx(2 * truth / (truth + guess))


def test_a_slice_smaller_than_a_tile():
    image = stack((40, 100))
    assert scored(image, known(image, 0, slice(10, 20), slice(90, 100))) == (1, 1)


def test_slices_without_anything_known_are_passed_over():
    image = stack()
    nothing = known(image, 0, slice(0, 0))
    assert scored(image, nothing, known(image, 1, slice(5), slice(5))) == (1, 1)
    assert scored(image, nothing) == (None, 0)


def test_a_class_that_is_neither_there_nor_found_has_no_score():
    class Two(Threshold):
        n_classes = 2

        def forward(self, images):
            bright = super().forward(images)
            return torch.cat([bright, torch.full_like(bright, -1)], 1)

    image = stack()
    reader = SliceReader(image, Preprocess(percentiles=(0, 100)))
    painted = known(image, 0, slice(10), slice(10))
    assert held_out_dice(Two(), [reader], [painted]) == (1, None)
    painted.target[3, 3] = 2
    assert held_out_dice(Two(), [reader], [painted])[1] == 0
    painted.target[:10, :10] = 0
    assert held_out_dice(Two(), [reader], [painted]) == (0, None)  # found, though it is not there


def test_the_mean_is_of_what_has_a_score():
    assert mean_dice([0.2, 0.4]) == pytest.approx(0.3)
    assert np.isnan(mean_dice([]))
