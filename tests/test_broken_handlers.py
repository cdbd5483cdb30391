"""Callbacks of ours are broken: napari goes on under the hand, and the user is told of each once."""

import logging

import numpy as np
import pytest

pytest.importorskip("pytestqt")

from napari.utils.notifications import notification_manager

from hands import CTRL, KEYS, SHIFT, Hands

pytestmark = pytest.mark.gui

TOGETHER = {
    "paint counted": (
        "napari_salt.session._paint.PaintWatch._on_stroke",
        "napari_salt.session._paint.PaintWatch._on_drawn",
        "napari_salt.gui._dock.SaltWidget._on_view_moved",
        "napari_salt.gui.panels.paint.PaintPanel.refresh",
    ),
    "labels made": (
        "napari_salt.session._paint.PaintWatch._on_edit",
        "napari_salt.session._session.Session.make_labels",
        "napari_salt.gui.panels.train.TrainPanel.refresh",
        "napari_salt.session._suggesting.Suggesting.go_to_next",
    ),
    "panels told": (
        "napari_salt.session._session.Session.recount",
        "napari_salt.gui._ties.Ties._take_prompt",
        "napari_salt.gui.panels._panel.Panel._on_changed",
        "napari_salt.session._session.Session._on_touched",
    ),
    "layers followed": (
        "napari_salt.gui._dock.SaltWidget._on_settled",
        "napari_salt.session._session.Session.follow_layers",
    ),
    "layers taken": ("napari_salt.gui._dock.SaltWidget._on_inserted",),
}
"""Callbacks that are called although the others of their group are broken."""


def told():
    return sorted(r.message for r in notification_manager.records if "broken on purpose" in r.message)


CALLED_WHILE_BUILT = ("refresh", "follow_layers")
"""What the widget itself calls once before it is shown: broken afterwards."""


@pytest.mark.parametrize("group", TOGETHER)
def test_napari_goes_on_and_the_user_is_told(request, monkeypatch, group):
    handlers = TOGETHER[group]
    monkeypatch.setattr(
        logging.getLogger("napari_salt.session._guard"), "disabled", True
    )  # its tracebacks are meant
    for handler in handlers:
        if not handler.endswith(CALLED_WHILE_BUILT):
            monkeypatch.setattr(handler, broken(handler))
    desk = request.getfixturevalue("desk")
    desk.viewer.window.show()
    desk.open(np.zeros((8, 64, 64), np.uint8))
    for handler in handlers:
        monkeypatch.setattr(handler, broken(handler))
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
    assert all("this is not your fault" in message for message in first)
    assert all(any(handler in message for message in first) for handler in handlers), first
    assert act() == 0.5
    assert told() == first, "told once"


def new_labels(hands):
    """Press napari's own button, whatever this version's tooltip says."""
    try:
        hands.press("Create a new labels layer")
    except AssertionError:
        hands.press("New labels layer")


def broken(handler):
    def fail(*_, **__):
        raise TypeError(f"{handler} is broken on purpose")

    return fail
