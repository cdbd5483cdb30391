"""The way through the panel, as somebody new goes it on a small screen."""

import numpy as np
import pytest

pytest.importorskip("pytestqt")

from qtpy.QtCore import Qt
from qtpy.QtGui import QFontMetrics
from qtpy.QtWidgets import QLabel, QPushButton
from superqt import QCollapsible, QElidingLabel

import tiny
from eyes import is_folded
from hands import CTRL, KEYS

pytestmark = pytest.mark.gui

SMALL, NARROW = (1280, 720), 320
MOST_CLICKS = 6
STEPS = ("Image", "Paint", "Train", "Segment", "Share", "Model")


def opened(hands):
    """Titles of the open sections."""
    folds = {fold.text().lstrip("0123456789 "): fold for fold in hands.window.findChildren(QCollapsible)}
    return [title for title in STEPS if folds[title].isExpanded()]


def truncated(desk):
    """Texts of the panel that do not fit where they stand."""
    widgets = [*desk.widget.findChildren(QLabel), *desk.widget.findChildren(QPushButton)]
    seen = [w for w in widgets if w.isVisible() and not is_folded(w) and not isinstance(w, QElidingLabel)]
    return [w.text() for w in seen if w.text() and not fits(w)]


def fits(widget):
    """Whether its longest word, or all of it if it does not wrap, and all of its lines have room."""
    wraps = isinstance(widget, QLabel) and widget.wordWrap()
    if wraps and widget.heightForWidth(widget.width()) > widget.height() + 1:
        return False
    text = max(widget.text().split(), key=len) if wraps else widget.text()
    rich = "<" in text
    return rich or QFontMetrics(widget.font()).horizontalAdvance(text.replace("&", "")) <= widget.width()


def test_the_panel_leads_from_the_sample_to_the_adapter(desk, tmp_path):
    hands = desk.hands
    hands.window.resize(*SMALL)
    clicks = []
    hands.clicked = clicks.append
    assert opened(hands) == ["Image"]
    hands.press("Open sample")
    hands.wait(lambda: opened(hands) == ["Paint", "Train"])
    assert hands.reads("Train on the 2 painted slices, or paint more.")
    hands.wait(lambda: not hands.scrolls(), 10)
    desk.session.options.change("train", steps=6)
    desk.session.options.change("segment", views=1)
    hands.press("Train", "Train")
    assert opened(hands) == ["Train"]
    desk.finish()
    hands.wait(lambda: opened(hands) == ["Train", "Segment"])
    hands.press("Stack")
    desk.finish()
    assert len(clicks) <= MOST_CLICKS
    hands.wait(lambda: opened(hands) == ["Segment", "Share"])
    for theme in ("dark", "light"):
        desk.viewer.theme = theme
        for title in STEPS:
            hands.unfold(title) if title not in opened(hands) else None
            hands.window.resizeDocks([desk.widget.parent()], [NARROW], Qt.Orientation.Horizontal)
            for _ in range(50):  # the layout follows a little later
                hands.rest(0.1)
                if not (cut := truncated(desk)):
                    break
            assert not cut, title
        hands.screenshot(tmp_path / f"{theme}.png")
    for title in ("Segment", "Share", "Segment", "Share", "Model"):  # the last one is closed
        hands.unfold(title)
    hands.press("Train", "Train")
    desk.finish()
    assert opened(hands) == list(STEPS[:-1]), "what is opened by hand stays open"
    runs = hands.entries("The trainings of this session")
    assert [run.partition(":")[0] for run in runs] == ["1", "2"]
    assert runs[1].endswith("in use")
    first, now = desk.session.training.runs[0], desk.session.adapter
    hands.take("The trainings of this session", runs[0])
    assert desk.session.adapter.digest == first.adapter.digest != now.digest
    assert len(desk.widget.train.plot.curves()) == 4, "loss, two classes' Dice, and the other training"


def test_classes_are_painted_one_by_one(desk, tmp_path):
    hands = desk.hands
    image, _ = tiny.discs(6)
    desk.open(image)
    hands.press("New")
    hands.stroke((2, 20, 10), (2, 20, 50))
    hands.wait(lambda: hands.entries("painted") == ["2"])
    hands.press("Add class")
    hands.write("cytoplasm")
    assert [row[1:3] for row in hands.table()] == [("1", "class 1"), ("2", "cytoplasm")]
    assert hands.reads("To do: paint “cytoplasm”.")
    hands.take("painted", "4")
    hands.stroke((4, 40, 10), (4, 40, 50))
    hands.wait(lambda: hands.entries("painted") == ["2", "4"])
    hands.focus()
    assert desk.viewer.help.startswith("keys <1> to <9> choose a class")
    assert "<e> label eraser" in desk.viewer.help.lower()
    assert "<2>" not in desk.viewer.help
    hands.key(KEYS.Key_1)
    assert hands.value("label", "layer controls") == "1"
    hands.key(KEYS.Key_2)
    assert hands.value("label", "layer controls") == "2"
    hands.tick("this slice is complete", on=False)
    assert not desk.session.is_complete(4)
    hands.take("painted", "2")
    hands.wait(lambda: hands.ticked("this slice is complete"))
    hands.press("Prompt")
    assert desk.session.prompting.active
    hands.press("Erase")
    assert not desk.session.prompting.active
    hands.screenshot(tmp_path / "classes.png")
    before = np.array(desk.viewer.layers[-1].data)
    hands.pick("Merge", "into class 1")
    hands.wait(lambda: [row[1] for row in hands.table()] == ["1"], 10)
    hands.focus()
    hands.key(KEYS.Key_Z, CTRL)
    np.testing.assert_array_equal(desk.viewer.layers[-1].data, before)
    hands.wait(lambda: [row[1] for row in hands.table()] == ["1", "2"])
    hands.press("Delete")
    assert [row[1] for row in hands.table()] == ["2"]
