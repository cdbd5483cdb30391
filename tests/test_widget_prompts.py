"""Prompts in the dock widget: clicks and boxes, masks and paint."""

import numpy as np
import pytest

pytest.importorskip("pytestqt")


from gui import bytes_of

pytestmark = pytest.mark.gui


def test_a_prompt_is_painted_only_when_accepted_and_can_be_undone(painted):
    before = bytes_of(painted.paint)
    painted.viewer.dims.set_current_step(0, 2)
    painted.paint.selected_label = 3
    painted.widget.annotate.prompt.click()
    assert painted.session.prompting.active
    painted.session.prompting.set_box(5, 5, 50, 50)
    painted.wait(lambda: painted.session.prompting.has_mask)
    assert "SALT prompt" in painted.viewer.layers
    assert bytes_of(painted.paint) == before
    mask = painted.viewer.layers["SALT prompt"].data > 0
    painted.widget.annotate.accept.click()
    np.testing.assert_array_equal(painted.paint.data[2] == 3, mask)
    assert painted.session.paint.values == ((1, 3) if mask.any() else (1,))
    painted.paint.undo()
    assert bytes_of(painted.paint) == before


def test_a_click_while_training_gets_its_mask_and_training_goes_on(painted):
    train, prompting = painted.widget.train, painted.session.prompting
    painted.widget.annotate.prompt.click()
    train.steps.setValue(100_000)
    train.train.click()
    history = painted.session.training.history
    painted.wait(lambda: len(history.steps) >= 2)
    mouse(painted, (20, 30), (20, 30))
    painted.wait(lambda: prompting.has_mask)
    assert painted.session.job == "train"
    steps = history.steps[-1]
    painted.wait(lambda: history.steps[-1] > steps + 2)
    assert np.isfinite(history.losses).all()
    train.stop.click()
    painted.finish()
    assert prompting.has_mask
    assert "SALT prompt" in painted.viewer.layers
    assert painted.session.adapter is not None
    assert not painted.problems


def test_a_click_and_a_drag_on_the_canvas_are_prompts(painted):
    painted.widget.annotate.prompt.click()
    sent = []
    painted.session.prompting._send = sent.append
    mouse(painted, (20, 30), (20, 30))
    assert sent[-1].points == ((20.0, 30.0),)
    assert sent[-1].positive == (True,)
    mouse(painted, (20, 30), (20, 30), modifiers=("Alt",))
    assert sent[-1].positive == (True, False)
    painted.session.prompting.clear()
    mouse(painted, (40, 35), (10, 5))
    assert sent[-1].box == (10.0, 5.0, 40.0, 35.0)
    assert sent[-1].points == ()


def mouse(desk, start, end, modifiers=()):
    """Press at `start`, move to `end` (y, x on the current slice), release."""
    from types import SimpleNamespace

    z = desk.viewer.dims.point[0]
    event = SimpleNamespace(type="mouse_press", position=(z, *start), modifiers=modifiers, handled=False)
    drag = desk.ties._on_mouse(desk.viewer, event)
    next(drag)
    event.type, event.position = "mouse_move", (z, *end)
    next(drag, None)
    event.type = "mouse_release"
    next(drag, None)
