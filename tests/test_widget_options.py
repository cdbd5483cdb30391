"""Every option, set in the panels by mouse and keys, arrives in the adapter or the result."""

import numpy as np
import pytest

pytest.importorskip("pytestqt")

from qtpy.QtWidgets import QApplication

import tiny
from napari_salt.terms.config import SegmentConfig, TrainConfig
from napari_salt.terms.options import options_of
from test_options import ACROSS, APART, HOUNSFIELD, SEGMENTING, TRAINING

pytestmark = pytest.mark.gui

PANELS = {
    "model": "Model",
    "paint": "Paint",
    "training": "Train",
    "advanced": "Train",
    "segmenting": "Segment",
}
ELSEWHERE = ("base", "slices", "class_names")
"""By the list of bases, by painting and by the table of classes."""


def set_all(hands, config, values):
    """Set all options by their controls; the method last, which hides what it does not have."""
    for option in sorted(options_of(config).values(), key=lambda option: option.name == "method"):
        if option.name in ELSEWHERE:
            continue
        value, panel = values[option.name], PANELS[option.group]
        if option.kind == "flag":
            hands.tick(option.label, panel, on=value)
        elif option.name == "device":
            hands.choose("device", value, panel)
        elif option.choices:
            hands.choose(option.label, option.choices[value], panel)
        else:
            hands.type(option.label, option.shown(value), panel)


def test_every_option_arrives(desk):
    image, truth = tiny.discs(6)
    paint = np.zeros(image.shape, np.uint8)
    paint[1] = np.where(truth[1], 1, 2)
    desk.open(image, paint)
    hands = desk.hands
    hands.unfold("advanced")
    set_all(hands, TrainConfig, TRAINING)
    hands.name_class(0, "disc")
    hands.press("Copy as command line", "Train")
    *_, train, _segment = QApplication.clipboard().text().splitlines()
    assert f"--steps {TRAINING['steps']}" in train
    assert hands.reads(train, "Train")
    hands.press("Train", "Train")
    desk.finish()
    card = desk.session.adapter.card
    wanted = {name: value for name, value in TRAINING.items() if name not in ELSEWHERE}
    assert card.training["options"] | {"targets": tuple(card.training["options"]["targets"])} == wanted
    assert [(info.value, info.name) for info in card.classes] == [(1, "disc"), (2, "disc border")]
    assert card.training["painted_slices"] == [1]
    hands.unfold("options")
    set_all(hands, SegmentConfig, SEGMENTING)
    desk.segment()
    (result,) = [layer for layer in desk.viewer.layers if "napari-salt: made by" in layer.metadata]
    made_by = result.metadata["napari-salt: made by"]
    assert made_by["adapter"] == desk.session.adapter.digest
    assert made_by["options"] == SEGMENTING | {"slices": None}


def test_every_option_arrives_even_one_that_does_not_go_with_all_others(desk):
    desk.open(HOUNSFIELD, ACROSS)
    hands = desk.hands
    hands.choose("plane", "y", "Paint")
    hands.unfold("advanced")
    hands.choose("CT window", "lung", "Train")
    desk.train(2)
    card = desk.session.adapter.card
    assert card.training["options"]["window"] == APART["window"]
    assert card.preprocess.window == (-1350, 150)
    assert card.preprocess.plane == card.training["options"]["plane"] == APART["plane"]
    hands.choose("plane", "coronal", "Paint")
    hands.press("Train", "Train")
    desk.finish()
    assert "name the axis that the slices follow" in desk.problems[-1]


def test_what_an_option_cannot_be_is_told_and_put_back(painted):
    hands = painted.hands
    hands.unfold("advanced")
    hands.type("rank", "1.5", "Train")
    assert "rank is '1.5'; give a whole number from 0" in painted.problems[-1].lower()
    assert hands.value("rank", "Train") == "0.5"
    hands.type("minutes", "2", "Train")
    hands.type("rank", "12", "Train")
    assert (hands.value("rank", "Train"), hands.value("minutes", "Train")) == ("12", "2.00 min")
    hands.type("steps", "2", "Train")
    hands.press("Train", "Train")
    painted.finish()
    assert painted.session.adapter.card.salt.rank == 12


def test_what_a_method_does_not_have_is_not_shown(desk):
    image, truth = tiny.discs(4)
    desk.open(image, tiny.painted(truth, 1))
    hands = desk.hands
    hands.unfold("advanced")
    labels = {"rank", "low rank", "energy", "targets", "train norms and biases"}
    missing = {
        "LoRA": {"rank", "energy"},
        "S-SAM": {"rank", "low rank", "energy"},
        "decoder only": labels,
        "SALT": set(),
    }
    for title, hidden in missing.items():
        hands.choose("method", title, "Train")
        assert labels - set(hands.texts("Train")) == hidden, title
    hands.choose("method", "LoRA", "Train")
    hands.type("low rank", "3", "Train")
    hands.unfold("advanced")  # closed, as `desk.train` expects it
    desk.train(2)
    card = desk.session.adapter.card
    assert (card.method, card.salt.lora_rank) == ("lora", 3)
