"""Numbers of objects in the panel: painted, learnt from, and given to what is found."""

import numpy as np
import pytest

pytest.importorskip("pytestqt")

import tiny

pytestmark = pytest.mark.gui


def test_objects_are_learnt_from_and_counted(desk, tmp_path):
    image, truth = tiny.discs(6)
    rows, columns = np.mgrid[:64, :64]
    many = np.stack([(rows // 4 * 16 + columns // 4 + 1) * plane for plane in truth]).astype(np.uint16)
    paint = np.zeros_like(many)
    paint[[1, 4]] = many[[1, 4]]
    desk.open(image, paint)
    hands = desk.hands
    hands.wait(lambda: hands.reads("numbers of objects", "Train"))
    assert not hands.enabled("Train", "Train")
    hands.choose("labels are", "numbers of objects", "Paint")
    hands.wait(lambda: hands.enabled("Train", "Train"))
    desk.train(4)
    hands.wait(lambda: hands.reads("object, held-out", "Model"))
    hands.unfold("options")
    hands.tick("separate objects", "Segment", on=True)
    desk.segment()
    (layer,) = [layer for layer in desk.viewer.layers if layer.name == "discs object"]
    assert layer.data.dtype == np.int32
    assert hands.table()[0][1] == "1"
    assert hands.table()[-1][2].startswith("object ")
    assert hands.layers()[0] == layer.name
    desk.segment()  # anew: the numbers of two runs have nothing to do with each other
    assert "discs object [1]" in hands.layers()
    hands.screenshot(tmp_path / "objects.png")


def test_a_stop_before_the_numbers_is_told(desk, base, tmp_path):
    image, truth = tiny.discs(60)
    desk.open(image, tiny.painted(truth, 1, 4))
    desk.hands.choose("labels are", "numbers of objects", "Paint")
    desk.train(2)
    hands = desk.hands
    hands.unfold("options")
    hands.tick("separate objects", "Segment", on=True)
    hands.press("Stack")
    hands.wait(lambda: desk.session.segmenting.progress[0] > 0)
    hands.press("Stop", "Segment")
    desk.finish()
    hands.wait(lambda: hands.reads("stopped before the objects were numbered", "Segment"))
    assert not hands.reads("left)", "Segment")
