"""Painting by mouse and keys with every tool of napari, on layers of every kind, and what is shown of it."""

import numpy as np
import pytest
import zarr

pytest.importorskip("pytestqt")

import tiny
from hands import CTRL, KEYS, SHIFT

pytestmark = pytest.mark.gui

DISCS, _ = tiny.discs(6)
FINE = DISCS.repeat(2, 1).repeat(2, 2)
# What is opened and how, the channel axis to choose, and the shape that labels need.
KINDS = {
    "2D": (DISCS[1], {}, "", (64, 64)),
    "stack": (DISCS, {}, "", (6, 64, 64)),
    "time series": (DISCS.reshape(2, 3, 64, 64), {}, "", (2, 3, 64, 64)),
    "channels in front": (np.stack([DISCS, DISCS]), {}, "axis 0", (6, 64, 64)),
    "channels in the middle": (np.stack([DISCS, DISCS], 1), {}, "axis 1", (6, 1, 64, 64)),
    "multiscale": ([FINE, DISCS], {"multiscale": True}, "", (6, 128, 128)),
    "scaled and moved": (DISCS, {"scale": (4, 0.5, 0.5), "translate": (7, -2, 3)}, "", (6, 64, 64)),
    "turned in the plane": (DISCS, {"rotate": 30}, "", (6, 64, 64)),
}
BACKINGS = ("numpy", "zarr")


@pytest.fixture
def page(desk):
    """Makes a labels layer of a kind ready to be painted on."""

    def make(kind, backing):
        data, how, channels, shape = KINDS[kind]
        desk.open(data, **how)
        hands = desk.hands
        if channels:
            hands.choose("channels", channels)
        if backing == "numpy":
            hands.press("New")
        else:
            array = zarr.zeros(shape, chunks=shape, dtype="uint8")
            desk.viewer.add_labels(array, name="paint", **{k: v for k, v in how.items() if k != "multiscale"})
        hands.press("Reset view")
        return Page(desk.hands, desk.viewer.layers[-1], desk.viewer)

    return make


class Page:
    """A labels layer under the hands; places are (y, x) on the slice that is shown."""

    def __init__(self, hands, labels, viewer):
        self.hands, self.labels, self._viewer = hands, labels, viewer

    def stroke(self, *places, tool="Activate the paint brush", label=None):
        """Use a tool along some places, with a label."""
        if label is not None:
            self.hands.type("label", str(label), "layer controls")
        self.hands.press(tool)
        self.hands.stroke(*map(self._world, places))

    def polygon(self, *places, label):
        self.hands.type("label", str(label), "layer controls")
        self.hands.press("Activate the polygon tool")
        for place in places:
            self.hands.stroke(self._world(place))
        self.hands.double_click(self._world(places[-1]))

    def _world(self, place):
        data = list(self.labels.world_to_data(self._viewer.dims.point[-self.labels.ndim :]))
        world = self.labels.data_to_world([*data[: self.labels.ndim - 2], *place])
        return [0.0] * (self._viewer.dims.ndim - self.labels.ndim) + list(world)

    def data(self):
        return np.array(self.labels.data)

    def shown(self):
        """Whether the panel shows what is painted, counted afresh."""
        planes = self.data().reshape(-1, *self.labels.data.shape[-2:])
        values = [v for v in np.unique(planes).tolist() if v]
        rows = [(str(v), f"{np.sum(planes == v):,}", str(np.sum((planes == v).any((1, 2))))) for v in values]
        slices = [str(i) for i in np.flatnonzero(planes.any((1, 2)))]
        seen = [(row[1], *row[3:]) for row in self.hands.table() if row[3] != "0"]
        return seen == rows and self.hands.entries("painted") == slices


@pytest.mark.parametrize(
    ("kind", "backing"),
    [("stack", "numpy"), ("channels in the middle", "zarr")],
)
def test_every_tool_is_counted_and_each_stroke_is_undone_by_itself(page, kind, backing):
    sheet = page(kind, backing)
    hands = sheet.hands
    states = [sheet.data()]

    def done():
        states.append(sheet.data())
        assert (states[-1] != states[-2]).any()
        hands.wait(sheet.shown, 5)

    sheet.stroke((10, 10), (10, 40), label=1)
    done()
    sheet.stroke((12, 30), (12, 50), tool="Activate the label eraser")
    done()
    if sheet.labels.ndim > 2:
        hands.wheel(-1, CTRL)
    sheet.stroke((30, 10), (30, 40), (40, 40), label=2)
    done()
    sheet.polygon((45, 10), (45, 30), (55, 30), label=1)
    done()
    sheet.stroke((5, 60), tool="Activate the fill bucket", label=3)
    done()
    sheet.stroke((30, 20), tool="Pick mode")
    assert hands.value("label", "layer controls") == "2"
    assert hands.value("label", "layer controls") != "3"

    for state in states[-2::-1]:
        hands.key(KEYS.Key_Z, CTRL)
        np.testing.assert_array_equal(sheet.data(), state)
        hands.wait(sheet.shown, 5)
    for state in states[1:]:
        hands.key(KEYS.Key_Z, CTRL | SHIFT)
        np.testing.assert_array_equal(sheet.data(), state)
        hands.wait(sheet.shown, 5)


@pytest.mark.parametrize(
    ("kind", "backing"), [(kind, "numpy") for kind in KINDS if kind != "stack"] + [("stack", "zarr")]
)
def test_a_stroke_on_any_layer_is_counted_and_undone(page, kind, backing):
    sheet = page(kind, backing)
    hands = sheet.hands
    states = [sheet.data()]
    for places, label in ((((10, 10), (10, 40)), 1), (((30, 10), (30, 40)), 2)):
        sheet.stroke(*places, label=label)
        states.append(sheet.data())
        assert set(np.unique(states[-1] - states[-2])) == {0, label}
        hands.wait(sheet.shown, 5)
    for keys, state in ((CTRL, states[1]), (CTRL, states[0]), (CTRL | SHIFT, states[1])):
        hands.key(KEYS.Key_Z, keys)
        np.testing.assert_array_equal(sheet.data(), state)
        hands.wait(sheet.shown, 5)


@pytest.mark.parametrize("backing", BACKINGS)
def test_a_brush_with_depth_and_strokes_in_the_3d_view_are_counted(page, backing):
    sheet = page("stack", backing)
    hands = sheet.hands
    hands.type("n edit dim", "3", "layer controls")
    sheet.stroke((20, 20), (20, 40), label=1)
    assert len(hands.wait(lambda: hands.entries("painted"), 5)) > 3
    hands.wait(sheet.shown, 5)
    ball = sheet.data()

    hands.press("Toggle 2D/3D view")
    sheet.stroke((20, 30), label=2)
    assert (sheet.data() == 2).any()
    hands.wait(sheet.shown, 5)
    hands.key(KEYS.Key_Z, CTRL)
    np.testing.assert_array_equal(sheet.data(), ball)
    hands.wait(sheet.shown, 5)
    hands.press("Toggle 2D/3D view")
    hands.key(KEYS.Key_Z, CTRL)
    assert not sheet.data().any()
    hands.wait(sheet.shown, 5)
