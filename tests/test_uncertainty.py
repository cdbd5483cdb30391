"""Which slice to paint next."""

import numpy as np
import pytest

import tiny
from napari_salt.core.segment.uncertainty import slice_uncertainty, suggest, uncertainty_events
from napari_salt.core.train.training import train
from napari_salt.terms.config import SegmentConfig, TrainConfig
from napari_salt.terms.errors import InputError
from napari_salt.terms.fingerprint import painted_slices
from napari_salt.terms.ranking import rank_slices
from napari_salt.terms.unsure import pixel_uncertainty

IMAGE, TRUTH = tiny.discs()


pytestmark = pytest.mark.usefixtures("tiny_base")


@pytest.fixture
def trained():
    return train(IMAGE, tiny.painted(TRUTH, 1, 4), TrainConfig(base="tiny", steps=2))


def certain(*areas, size=100):
    """Probabilities that are 0 or 1, for classes with these areas."""
    classes = np.repeat([*range(1, len(areas) + 1), 0], [*areas, size - sum(areas)]).reshape(10, -1)
    return np.eye(len(areas) + 1, dtype=np.float32)[classes].transpose(2, 0, 1)


# The score


@pytest.mark.parametrize("areas", [(0,), (30,), (100,), (20, 50)])
def test_who_is_sure_is_not_unsure(areas):
    assert slice_uncertainty(certain(*areas)) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("areas", [(30,), (20, 50)])
def test_uncertainty_grows_with_doubt(areas):
    sure = certain(*areas)
    scores = [slice_uncertainty((1 - doubt) * sure + doubt / len(sure)) for doubt in (0, 0.1, 0.3, 0.6)]
    assert (np.diff(scores) > 0).all()


def test_traces_on_an_empty_slice_count_nothing():
    empty = 0.98 * certain(0) + 0.01
    unsure = 0.5 * certain(30) + 0.25
    assert slice_uncertainty(empty) == 0 < slice_uncertainty(unsure)


def test_the_order_of_the_classes_does_not_matter():
    logits = np.random.default_rng(0).normal(size=(4, 8, 8)).astype(np.float32)
    mixed = np.exp(logits) / np.exp(logits).sum(0)
    assert slice_uncertainty(mixed) == pytest.approx(slice_uncertainty(mixed[[0, 3, 1, 2]]))


def test_each_pixel_has_its_doubt():
    mixed = np.array([[1, 0.5, 0.25, 1 / 3], [0, 0.5, 0.75, 1 / 3], [0, 0, 0, 1 / 3]], np.float32)[:, None]
    quarter = (0.25 * np.log(4) + 0.75 * np.log(4 / 3)) / np.log(3)
    expected = [[0, np.log(2) / np.log(3), quarter, 1]]
    np.testing.assert_allclose(pixel_uncertainty(mixed), expected, atol=1e-6)


# The ranking


def test_without_paint_the_most_uncertain_is_first():
    scores = dict(enumerate(np.random.default_rng(0).random(40).tolist()))
    ranked = rank_slices(scores, (), 40)
    assert ranked[0] == max(scores, key=scores.__getitem__)
    assert sorted(ranked) == list(range(40))
    assert rank_slices(scores, (), 5) == ranked[:5]
    assert rank_slices(dict(reversed(scores.items())), (), 40) == ranked


def test_painted_slices_are_left_out_and_their_neighbours_come_late():
    scores = dict.fromkeys(range(20), 1.0)
    ranked = rank_slices(scores, (5, 15), 18)
    assert {5, 15}.isdisjoint(ranked)
    assert {4, 6, 14, 16}.isdisjoint(ranked[:4])


def test_picks_spread_over_the_stack():
    scores = {index: 1 + 0.5 * np.exp(-(((index - 30) / 5) ** 2)) for index in range(100)}
    first, second, third = rank_slices(scores, (), 3)
    assert first == 30
    assert abs(second - first) > 10
    assert min(abs(third - first), abs(third - second)) > 10


def test_nothing_to_rank_is_fine():
    assert rank_slices({}, (1, 2), 3) == rank_slices({1: 0.5}, (1,), 3) == ()


# Stacks


def test_each_slice_that_is_not_painted_gets_its_score(trained):
    events = list(uncertainty_events(IMAGE, trained))
    assert [event.index for event in events] == [0, 2, 3, 5]
    assert all(event.uncertainty >= 0 for event in events)
    ranked = suggest(IMAGE, trained, count=3)
    assert ranked == rank_slices({e.index: e.uncertainty for e in events}, (1, 4), 3)


def test_where_objects_are_asked_for_slices_are_ranked_alike(trained):
    classes, objects = (
        list(uncertainty_events(IMAGE, trained, SegmentConfig(objects=objects))) for objects in (False, True)
    )
    assert objects == classes


def test_candidates_are_spread_evenly(trained):
    asked = SegmentConfig(slices=(0, 2, 3, 5))
    for config, count, expected in ((None, 2, [0, 5]), (asked, 3, [0, 3, 5]), (asked, 9, [0, 2, 3, 5])):
        events = uncertainty_events(IMAGE, trained, config, candidates=count)
        assert [event.index for event in events] == expected


def test_no_candidates_are_refused(trained):
    with pytest.raises(InputError, match="candidates is 0"):
        next(uncertainty_events(IMAGE, trained, candidates=0))


def test_paint_belongs_to_its_own_stack(trained):
    assert painted_slices(IMAGE, trained) == (1, 4)
    assert painted_slices(IMAGE + 1, trained) == painted_slices(IMAGE[:5], trained) == ()
    assert painted_slices(IMAGE, tiny.adapter()) == ()
