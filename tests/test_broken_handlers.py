"""Each callback of ours is broken in turn: napari goes on under the hand, and the user is told once."""

import logging

import numpy as np
import pytest

pytest.importorskip("pytestqt")

from napari.utils.notifications import notification_manager

from hands import CTRL, KEYS, SHIFT, Hands

pytestmark = pytest.mark.gui

HANDLERS = (
    "napari_salt.session._paint.PaintWatch._on_stroke",
    "napari_salt.session._paint.PaintWatch._on_edit",
    "napari_salt.session._paint.PaintWatch._on_drawn",
    "napari_salt.session._session.Session._on_touched",
    "napari_salt.session._session.Session.recount",
    "napari_salt.session._session.Session.make_labels",
    "napari_salt.gui._dock.SaltWidget._on_settled",
    "napari_salt.gui.panels._panel.Panel._on_changed",
    "napari_salt.gui._dock.SaltWidget._on_view_moved",
    "napari_salt.gui._dock.SaltWidget._on_inserted",
    "napari_salt.gui._ties.Ties._take_prompt",
    "napari_salt.gui.panels.paint.PaintPanel.refresh",
    "napari_salt.session._session.Session.follow_layers",
    "napari_salt.gui.panels.train.TrainPanel.refresh",
    "napari_salt.session._suggesting.Suggesting.go_to_next",
)


def told():
    return [r.message for r in notification_manager.records if "broken on purpose" in r.message]


CALLED_WHILE_BUILT = ("refresh", "follow_layers")
"""What the widget itself calls once before it is shown: broken afterwards."""


@pytest.mark.parametrize("handler", HANDLERS)
def test_napari_goes_on_and_the_user_is_told(request, monkeypatch, handler):
    monkeypatch.setattr(
        logging.getLogger("napari_salt.session._guard"), "disabled", True
    )  # its tracebacks are meant
    if not handler.endswith(CALLED_WHILE_BUILT):
        monkeypatch.setattr(handler, broken)
    desk = request.getfixturevalue("desk")
    desk.viewer.window.show()
    desk.open(np.zeros((8, 64, 64), np.uint8))
    monkeypatch.setattr(handler, broken)
    hands = Hands(desk.viewer)

    def act():
        """A bit of everything; says what one undo leaves of two strokes."""
        new_labels(hands)
        hands.press("Activate the paint brush")
        labels = desk.viewer.layers.selection.active
        shown = desk.viewer.dims.point[0]
        for x in (10, 40):
            hands.stroke((shown, 32, x), (shown, 32, x + 10))
        both = np.count_nonzero(labels.data)
        hands.key(KEYS.Key_Z, CTRL, to=hands.canvas)
        hands.wheel(1, CTRL)
        if hands.enabled("New", "SALT"):  # else the broken one has not told it of the image
            hands.press("New", "SALT")
        hands.key(KEYS.Key_N, SHIFT, to=hands.canvas)
        hands.rest(0.3)
        return np.count_nonzero(labels.data) / both

    assert act() == 0.5
    first = told()
    assert first
    assert "this is not your fault" in first[0]
    assert act() == 0.5
    assert told() == first, "told once"


def new_labels(hands):
    """Press napari's own button, whatever this version's tooltip says."""
    try:
        hands.press("Create a new labels layer")
    except AssertionError:
        hands.press("New labels layer")


def broken(*_, **__):
    raise TypeError("broken on purpose")
