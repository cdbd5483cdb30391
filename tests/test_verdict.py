"""What is said after a training."""

from dataclasses import replace

import numpy as np
import pytest

import tiny
from napari_salt.core.paint.annotations import read_annotations
from napari_salt.core.paint.stacks import training_stacks
from napari_salt.core.train import verdict
from napari_salt.core.train.training import train
from napari_salt.core.train.verdict import compared, verdict_on, what_helps
from tiny import QUICK

IMAGE, TRUTH = tiny.discs()


@pytest.mark.parametrize(
    ("ours", "theirs", "said", "worse"),
    [
        ({1: 0.4, 2: 0.6}, {1: 0.9, 2: 0.7}, "held-out Dice 0.80 and 0.50", True),
        ({1: 0.4}, {1: 0.9, 2: 0.0}, "held-out Dice 0.90 and 0.40", True),  # of what both have
        ({1: 0.9}, {1: 0.901}, "held-out Dice 0.90; a random forest on the same paint has 0.90", False),
        ({1: 0.9}, {1: 0.4}, "held-out Dice 0.90; a random forest on the same paint has 0.40", False),
        ({}, {1: 0.4}, "", False),
        ({1: 0.4}, {2: 0.9}, "", False),
    ],
)
def test_it_is_compared_with_the_forest(ours, theirs, said, worse):
    text, is_worse = compared(ours, theirs)
    assert said in text
    assert bool(text) == bool(said)
    assert is_worse == worse


def painted(*indices, length=40, rare=0):
    """Paint of class 7 on some slices, and `rare` pixels of class 9 on each."""
    paint = np.zeros((length, 32, 32), np.uint8)
    for index in indices:
        paint[index, :16] = 7
        paint[index, 20, :rare] = 9
    return read_annotations(paint)


def after(scores, steps=100):
    """The description of an adapter with these held-out Dice."""
    made = tiny.adapter((7, 9))
    facts = {"steps": steps, "seconds": 60.0, "held_out_dice": {str(v): d for v, d in scores.items()}}
    return replace(made, training={**made.training, **facts})


@pytest.mark.parametrize(
    ("scores", "paint", "more", "said"),
    [
        ({7: 0.9}, painted(5), {"steps": 3}, "train longer: 60 s were enough for 3 steps"),
        ({}, painted(5, 15), {}, "paint slice 27 as well: too little is painted"),
        ({7: 0.9, 9: 0.3}, painted(5, 15, rare=4), {}, "paint more of label 9 "),
        ({7: 0.9, 9: 0.3}, painted(5, 15, rare=32), {"n_slices": 16}, "paint more of label 9 "),
        ({7: 0.75, 9: 0.7}, painted(5, 15, rare=4), {}, "paint slice 27 as well"),
        (
            {7: 0.6, 9: 0.55},
            painted(5, 15),
            {"turns": True},
            "let orientation be fixed: crops were turned",
        ),
        ({7: 0.6, 9: 0.55}, painted(5, 15), {"turns": False}, "paint slice 27 as well"),
        ({7: 0.6}, painted(5, 15), {"turns": True}, "paint slice 27 as well"),
        ({7: 0.6}, painted(5, 15), {"plane": "coronal"}, "paint slice 27 of plane coronal as well"),
        (
            {7: 0.95},
            painted(5, 15),
            {"n_slices": 16},
            "look at slice 10, and paint there what is found wrong",
        ),
        ({7: 0.95}, painted(5, 15), {"worse": True}, "paint slice 27 as well"),
        ({7: 0.95}, painted(0, 1, 2, length=3), {"n_slices": 3}, "look at what is left of the painted"),
        ({7: 0.8}, painted(5, 15), {"n_slices": None}, "paint another image as well"),
        ({7: 0.8}, painted(0, 9, 18, 27, 36), {}, "train longer, or on a base for images of this kind"),
        ({7: 0.8}, painted(0, 9, 20, 27, 36), {"worse": True}, "; or paint slice 14 as well"),
    ],
)
def test_what_would_help_most(scores, paint, more, said):
    options = {"n_slices": 40, "worse": False} | more
    adapter = after(scores, options.pop("steps", 100))
    rule = {name: options.pop(name) for name in ("turns", "plane") if name in options}
    adapter = replace(adapter, preprocess=replace(adapter.preprocess, **rule))
    assert said in what_helps(adapter, paint, **options)


def test_it_is_said_of_a_training(tiny_base):
    stacks = training_stacks(IMAGE, tiny.painted(7 * TRUTH, 1, 4))
    config = replace(QUICK, steps=24)
    said = verdict_on(train(IMAGE, tiny.painted(7 * TRUTH, 1, 4), config), stacks, config)
    assert said.forest.keys() == {7}
    assert f"{said.forest[7]:.2f}" in said.comparison
    assert said.help


def test_without_memory_for_the_forest_the_rest_is_said(tiny_base, monkeypatch):
    def full(*_):
        raise MemoryError

    monkeypatch.setattr(verdict, "forest_held_out_dice", full)
    paint = tiny.painted(7 * TRUTH, 1, 4)
    said = verdict_on(train(IMAGE, paint, QUICK), training_stacks(IMAGE, paint), QUICK)
    assert (said.comparison, said.worse) == ("", False)
    assert said.help.startswith("train longer")
