"""Painting on planes across the stored slices, by mouse and keys."""

import numpy as np
import pytest

pytest.importorskip("pytestqt")

from hands import CTRL, KEYS

pytestmark = pytest.mark.gui
SHAPE = (32, 48, 40)
SPACING = (2.0, 1.0, 1.0)


def bars():
    """Two bright bars along x on dark noise, and where they are: squares on planes of x."""
    truth = np.zeros(SHAPE, bool)
    truth[6:14, 8:24] = truth[20:28, 28:44] = True
    noise = np.random.default_rng(0).integers(0, 40, SHAPE)
    return (160 * truth + noise).astype(np.uint8), truth


def paint_bars(hands, x):
    """Cover both bars with strokes on the plane at `x`, which is shown."""
    for top, left in ((6, 8), (20, 28)):
        for z in range(top + 1, top + 8, 2):
            hands.stroke((SPACING[0] * z, left + 2, x), (SPACING[0] * z, left + 13, x))


def test_a_plane_across_is_painted_learnt_from_and_segmented(desk, tmp_path):
    image, truth = bars()
    hands = desk.hands
    desk.open(image, scale=SPACING, units="um")
    hands.press("New")
    hands.key(KEYS.Key_E, CTRL, to=hands.canvas)
    assert tuple(desk.viewer.dims.order) == (2, 0, 1)
    hands.press("Reset view")
    hands.press("Activate the paint brush")
    hands.type("brush size", "4", "layer controls")
    shown = round(float(desk.viewer.dims.point[2]))
    paint_bars(hands, shown)
    hands.wait(lambda: hands.entries("painted") == [f"x = {shown}"])
    hands.screenshot(tmp_path / "painted.png")
    desk.train(40)
    card = desk.session.adapter.card
    assert card.preprocess.plane == "x"
    assert card.training["data_shape"] == [40, 64, 48]
    assert card.preprocess.pixel_size == pytest.approx(1)
    desk.segment()
    hands.screenshot(tmp_path / "segmented.png")
    found = desk.viewer.layers[-1].data > 0
    assert found.shape == SHAPE
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.7
    assert not desk.problems
    hands.press("Slice")
    assert "across the slices are put together for the whole stack: press Stack" in desk.problems[-1]
