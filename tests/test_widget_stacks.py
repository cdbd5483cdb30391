"""Several image and labels layers in one training, by mouse and keys."""

import numpy as np
import pytest

pytest.importorskip("pytestqt")

import tiny

pytestmark = pytest.mark.gui


def two(desk):
    """The desk with the image and paint of two stacks; the second is chosen."""
    image, truth = tiny.discs(6)
    desk.open(image, tiny.painted(truth, 1, 4))
    other, other_truth = tiny.discs(8, 72, seed=3)
    desk.viewer.add_image(3.0 * other, name="other")
    desk.viewer.add_labels(tiny.painted(other_truth, 2), name="other paint")
    desk.hands.unfold("several stacks")


def choose(hands, image, labels):
    hands.choose("image", image, "Image")
    hands.choose("labels", labels, "Paint")


def test_a_pair_that_is_kept_is_learnt_from_whatever_is_chosen(desk, tmp_path):
    two(desk)
    hands = desk.hands
    choose(hands, "discs", "paint")
    hands.press("Keep pair")
    choose(hands, "other", "other paint")
    assert hands.entries("Image and labels that training learns from as well.") == ["paint on discs"]
    hands.screenshot(tmp_path / "kept.png")
    desk.train(4)
    assert hands.reads("on a block of slice 2 of stack 1, slice 1, 4 of stack 2, from 3 painted", "Train")
    facts = desk.session.adapter.card.training
    assert facts["data_shape"] == [8, 72, 72]
    assert [stack["data_shape"] for stack in facts["more_stacks"]] == [[6, 64, 64]]
    hands.press("Drop pair")
    desk.train(4)
    assert hands.reads("on a block of slice 2, from 1 painted slice", "Train")


def test_a_pair_goes_with_its_layers(desk):
    two(desk)
    hands = desk.hands
    choose(hands, "discs", "paint")
    hands.press("Keep pair")
    hands.press("Keep pair")  # once more is the same
    choose(hands, "other", "other paint")
    hands.press("Keep pair")
    what = "Image and labels that training learns from as well."
    assert hands.entries(what) == ["paint on discs", "other paint on other"]
    hands.layer("discs")
    hands.press("Delete selected layers")
    assert hands.entries(what) == ["other paint on other"]
    desk.train(2)
    assert "more_stacks" not in desk.session.adapter.card.training


def test_a_kept_pair_without_paint_is_told(desk):
    two(desk)
    hands = desk.hands
    image, _ = tiny.discs(5, seed=9)
    desk.viewer.add_image(image, name="empty")
    desk.viewer.add_labels(np.zeros(image.shape, np.uint8), name="nothing")
    choose(hands, "empty", "nothing")
    hands.press("Keep pair")
    choose(hands, "other", "other paint")
    hands.press("Train", "Train")
    assert "othing is painted on nothing on empty; paint there, or drop the pair" in desk.problems[-1]
    assert desk.session.job == ""
