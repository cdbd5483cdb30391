"""Averaging along the stack, and tidying of a slice's classes."""

import weakref

import numpy as np
import pytest
from scipy import ndimage

import tiny
from napari_salt.core.segment.cleanup import cleaned, smoothed
from napari_salt.core.segment.stack import segmentation_events
from napari_salt.terms.config import SegmentConfig
from napari_salt.terms.errors import InputError
from napari_salt.terms.preprocess import Preprocess

CLASSES = np.random.default_rng(0).choice(3, (60, 50), p=(0.4, 0.3, 0.3))
EIGHT = np.ones((3, 3))


def sizes(mask, structure):
    return np.bincount(ndimage.label(mask, structure)[0].ravel())[1:]


def drawing(text):
    return np.array([[int(character) for character in line] for line in text.split()])


# Small objects and holes


def test_nothing_asked_for_changes_nothing():
    assert cleaned(CLASSES) is CLASSES
    np.testing.assert_array_equal(cleaned(CLASSES, 1), CLASSES)


@pytest.mark.parametrize("min_size", [2, 5, 30])
def test_no_small_object_is_left_and_the_others_stay(min_size):
    found = cleaned(CLASSES, min_size)
    assert ((found == CLASSES) | (found == 0)).all()
    for value in (1, 2):
        before, after = (sizes(classes == value, EIGHT) for classes in (CLASSES, found))
        assert sorted(after) == sorted(before[before >= min_size])


def test_one_class_is_filled_as_scipy_fills_it():
    mask = (CLASSES == 1).astype(int)
    np.testing.assert_array_equal(cleaned(mask, fill_holes=True), ndimage.binary_fill_holes(mask))


def test_a_hole_is_filled_by_the_one_class_around_it():
    before = drawing("0000000 0111220 0101202 0111222 0000000 1110110 1010101")
    after = drawing("0000000 0111220 0111222 0111222 0000000 1110110 1010101")
    np.testing.assert_array_equal(cleaned(before, fill_holes=True), after)


def test_what_touches_two_classes_is_no_hole():
    before = drawing("11112 10002 11112")
    np.testing.assert_array_equal(cleaned(before, fill_holes=True), before)
    island = drawing("11111 10001 10201 10001 11111")
    np.testing.assert_array_equal(cleaned(island, fill_holes=True), island)
    assert (cleaned(island, 2, fill_holes=True) == 1).all()


# Averaging


def planes(*indices):
    """Slice i is the constant 3 ** i."""
    return [(index, np.full((2, 3, 3), 3.0**index, np.float32)) for index in indices]


def means(indices, group=None):
    return {index: float(mean[0, 0, 0]) for index, mean in smoothed(planes(*indices), group)}


def test_neighbours_count_half():
    expected = {0: (2 * 1 + 3) / 3, 1: (1 + 2 * 3 + 9) / 4, 2: (3 + 2 * 9) / 3, 4: 81}
    assert means([0, 1, 2, 4]) == pytest.approx(expected)


def test_groups_do_not_touch():
    assert means(range(4), group=2) == pytest.approx({**means([0, 1]), **means([2, 3])})
    assert means(range(4), group=1) == {0: 1, 1: 3, 2: 9, 3: 27}


def test_a_slice_comes_out_when_its_successor_is_known():
    taken, alive = [], []

    def coming():
        for index in range(6):
            own = np.zeros((2, 3, 3), np.float32)
            taken.append(index)
            alive.append(weakref.ref(own))
            yield index, own
            del own

    for index, _mean in smoothed(coming()):
        assert taken[-1] == min(index + 1, 5)
        assert sum(own() is not None for own in alive) <= 2


def probabilities(**settings):
    adapter = tiny.adapter(preprocess=Preprocess(independent=settings.pop("independent", False)))
    events = segmentation_events(STACK, adapter, SegmentConfig(**settings))
    return {result.index: result.probabilities for result in events}


STACK = tiny.discs(4)[0]


pytestmark = pytest.mark.usefixtures("tiny_base")


def test_stacks_are_averaged_along_z():
    plain, smooth = probabilities(), probabilities(smooth=True)
    expected = (plain[0] + 2 * plain[1] + plain[2]) / 4
    np.testing.assert_allclose(smooth[1], expected, atol=1e-6)
    assert np.abs(smooth[1] - plain[1]).max() > 1e-3


def test_only_segmented_neighbours_are_averaged():
    plain, smooth = probabilities(), probabilities(smooth=True, slices=(3, 0, 2))
    assert list(smooth) == [0, 2, 3]
    np.testing.assert_array_equal(smooth[0], plain[0])
    np.testing.assert_allclose(smooth[2], (2 * plain[2] + plain[3]) / 3, atol=1e-6)
    grouped = probabilities(smooth=True, group=3)
    np.testing.assert_array_equal(grouped[3], plain[3])


def test_unrelated_images_are_not_averaged():
    plain, smooth = probabilities(independent=True), probabilities(independent=True, smooth=True)
    assert all(np.array_equal(plain[index], smooth[index]) for index in range(4))


def test_labels_are_tidied():
    adapter = tiny.adapter()
    config = SegmentConfig(min_size=9, fill_holes=True)
    for result in segmentation_events(STACK, adapter, config):
        expected = cleaned(result.probabilities.argmax(0), 9, fill_holes=True)
        np.testing.assert_array_equal(result.labels, np.array([0, 3, 200])[expected])


@pytest.mark.parametrize("settings", [{"min_size": -1}, {"group": 0}])
def test_bad_settings_are_refused(settings):
    with pytest.raises(InputError, match=next(iter(settings))):
        SegmentConfig(**settings)
