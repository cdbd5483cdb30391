"""Prompts in the dock widget: clicks and boxes, masks and paint."""

import numpy as np
import pytest

pytest.importorskip("pytestqt")


from gui import bytes_of
from hands import ALT, CTRL, KEYS, NONE
from napari_salt.core.bases.load import load_base
from napari_salt.core.paint.preprocess import SliceReader
from napari_salt.core.segment.prompts import PromptPredictor
from napari_salt.terms.preprocess import Preprocess
from napari_salt.terms.prompt_set import PromptSet

pytestmark = pytest.mark.gui


def test_a_prompt_is_painted_only_when_accepted_and_can_be_undone(painted):
    hands, before = painted.hands, bytes_of(painted.paint)
    hands.type("label", "3", "layer controls")
    hands.press("Prompt")
    hands.stroke((2, 5, 5), (2, 50, 50))
    mask = prompt(painted)
    assert bytes_of(painted.paint) == before
    hands.press("Accept")
    np.testing.assert_array_equal(painted.paint.data[2] == 3, mask)
    assert [row[1] for row in hands.table()] == (["1", "3"] if mask.any() else ["1"])
    hands.focus()
    if mask.any():
        hands.key(KEYS.Key_Z, CTRL)
    assert bytes_of(painted.paint) == before


def test_a_click_while_training_gets_its_mask_and_training_goes_on(painted):
    hands = painted.hands
    hands.press("Prompt")
    painted.begin()
    history = painted.session.training.history
    painted.wait(lambda: len(history.steps) >= 2)
    hands.stroke((2, 20, 30))
    prompt(painted)
    assert painted.session.job == "train"
    steps = history.steps[-1]
    painted.wait(lambda: history.steps[-1] > steps + 2)
    assert np.isfinite(history.losses).all()
    hands.press("Stop", "Train")
    painted.finish()
    assert hands.enabled("Accept")
    assert "SALT prompt" in hands.layers()
    assert hands.reads("not saved yet", "Model")
    assert not painted.problems


def test_a_click_and_a_drag_on_the_canvas_are_prompts(painted, base):
    hands = painted.hands
    predictor = PromptPredictor(load_base(str(base)))
    embedding = predictor.embed(SliceReader(painted.image.data, Preprocess()).raw(2))
    click, other, box = (20.0, 30.0), (44.0, 12.0), (10.0, 5.0, 40.0, 35.0)
    hands.press("Prompt")

    def pointed_at():
        hands.point((2, *click))
        return "SALT prompt" in hands.layers()

    painted.wait(pointed_at)  # the mask under the mouse, before any click
    assert not hands.enabled("Accept")
    for keys, expected, *stroke in (
        (NONE, PromptSet((click,), (True,)), click),
        (ALT, PromptSet((click, other), (True, False)), other),
        (NONE, PromptSet((), (), box), box[2:], box[:2]),
    ):
        if expected.box:
            hands.press("Clear")
        hands.stroke(*((2, *place) for place in stroke), keys=keys)
        mask = predictor.mask(embedding, expected)
        assert 0 < mask.sum() < mask.size
        painted.wait(lambda mask=mask: (prompt(painted) == mask).mean() > 0.98)


def prompt(desk):
    """The mask, when there is one."""
    desk.wait(lambda: desk.hands.enabled("Accept"))
    return np.asarray(desk.viewer.layers["SALT prompt"].data) > 0
