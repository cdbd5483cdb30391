"""Two results side by side: arrays on both sides of a line, and their layers; without a window."""

import numpy as np
import pytest
from napari.components import ViewerModel

import headless
from napari_salt.session._autosave import Autosave
from napari_salt.session._colors import colormap_of
from napari_salt.session._halves import Divided, Divider, DividingLine, PreviewPlane
from napari_salt.terms.card import ClassInfo
from napari_salt.terms.events import Preview

SHAPE = (3, 6, 10)
LEFT, RIGHT = np.full(SHAPE, 1, np.uint8), np.full(SHAPE, 300, np.uint16)
PLACED = {"scale": (2, 0.5, 0.25), "translate": (10, 20, 30)}
KEYS = (
    np.s_[:], np.s_[1], np.s_[1, :, :], np.s_[:, 2, :], np.s_[:, :, 7], np.s_[..., 2:9], np.s_[1, 2, 3],
    np.s_[1, 2:4, ...], np.s_[np.int64(1), ..., ::-1],
)  # fmt: skip


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("place", [0, 0.3, 1])
def test_each_side_of_the_line_shows_its_array(axis, mirrored, place):
    divider = Divider(axis, SHAPE[axis], mirrored=mirrored, place=place)
    divided = Divided(LEFT, RIGHT, divider)
    at = np.moveaxis(np.broadcast_to(np.arange(SHAPE[axis]), np.moveaxis(LEFT, axis, -1).shape), -1, axis)
    seen = (SHAPE[axis] - 1 - at if mirrored else at) + 0.5
    expected = np.where(seen < place * SHAPE[axis], 1, 300)
    line = DividingLine(SHAPE, divider)
    for key in KEYS:
        np.testing.assert_array_equal(divided[key], expected[key])
        assert line[key].shape == expected[key].shape
    np.testing.assert_array_equal(np.asarray(divided), expected)
    drawn = np.flatnonzero(np.asarray(line).any(axis=tuple(n for n in range(3) if n != axis)))
    assert len(drawn) == (0 if place in (0, 1) else 1)


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_line_is_moved_to_where_the_mouse_is(mirrored):
    divider = Divider(2, 10, mirrored=mirrored)
    for position in (0.0, 3.0, 8.5):
        divider.move_to(position)
        assert divider.position == pytest.approx(position)
    divider.move_to(99)
    assert divider.place == (0 if mirrored else 1)


def test_a_preview_lies_where_it_was_found():
    plane = PreviewPlane(SHAPE, np.uint8)
    assert not np.asarray(plane).any()
    plane.found, plane.place = Preview(1, 2, 3, np.full((2, 4), 5, np.uint8)), (1,)
    expected = np.zeros(SHAPE[1:], np.uint8)
    expected[2:4, 3:7] = 5
    np.testing.assert_array_equal(plane[1], expected)
    np.testing.assert_array_equal(plane[1, 2:, 4], expected[2:, 4])
    assert not plane[0].any()
    assert plane[:, 2].shape == (3, 10)


@pytest.fixture
def session(tmp_path):
    made = headless.session(ViewerModel(), autosave=Autosave(tmp_path / "autosave"))
    made.problems = []
    made.problem.connect(lambda text, control: made.problems.append((control, text)))
    made.set_image(made.viewer.add_image(np.zeros(SHAPE), name="cells", **PLACED))
    yield made
    made.close()


@pytest.fixture
def two(session):
    """Two labels layers, and where they are seen."""
    first = session.viewer.add_labels(LEFT, name="first", **PLACED)
    second = session.viewer.add_labels(RIGHT, name="second", **PLACED)
    session.comparing.choose(first, second)
    return session


def shown(session):
    """The picture of the comparison as it is stored: (z, y, x)."""
    return np.asarray(session.viewer.layers["first | second"].data)


def test_two_layers_side_by_side(two):
    viewer, swiping = two.viewer, two.swiping
    before = [(layer.data.copy(), layer.visible) for layer in viewer.layers[1:]]
    swiping.start()
    assert not two.problems
    np.testing.assert_array_equal(shown(two)[..., :5], LEFT[..., :5])
    np.testing.assert_array_equal(shown(two)[..., 5:], RIGHT[..., 5:])
    layer = viewer.layers["first | second"]
    assert layer.extent.world.tolist() == viewer.layers["cells"].extent.world.tolist()
    assert [each.visible for each in viewer.layers] == [True, False, False, True, True]
    swiping.move(0.2)
    assert (shown(two) == 1).sum() == 3 * 6 * 2
    edge = layer.data_to_world((0, 0, 1.5))
    assert swiping.grab((*edge[:2], edge[2] + 0.1), reach=0.2)
    assert not swiping.grab((*edge[:2], edge[2] + 0.3), reach=0.2)
    swiping.drag(layer.data_to_world((0, 0, 6.5)))
    assert (shown(two) == 1).sum() == 3 * 6 * 7
    swiping.flip()
    assert (shown(two) == 1).all()
    assert swiping.words.startswith("Shown: first.")
    swiping.flip()
    assert (shown(two) == 300).all()
    swiping.end()
    assert [layer.name for layer in viewer.layers] == ["cells", "first", "second"]
    for layer, (data, visible) in zip(viewer.layers[1:], before, strict=True):
        np.testing.assert_array_equal(layer.data, data)
        assert layer.visible == visible


def test_the_line_stays_upright_when_the_view_is_turned(two):
    two.swiping.start()
    two.viewer.dims.order = (2, 1, 0)
    two.swiping.follow()
    assert (shown(two)[0] == 1).all()
    assert (shown(two)[2] == 300).all()


def test_a_mirrored_image_is_divided_as_it_is_seen(session):
    mirrored = {**PLACED, "scale": (2, 0.5, -0.25)}
    session.set_image(session.viewer.add_image(np.zeros(SHAPE), name="mirrored", **mirrored))
    layers = [
        session.viewer.add_labels(a, name=n, **mirrored) for a, n in ((LEFT, "first"), (RIGHT, "second"))
    ]
    session.comparing.choose(*layers)
    session.swiping.start()
    assert (shown(session)[..., 5:] == 1).all()
    assert (shown(session)[..., :5] == 300).all()


def test_it_ends_with_its_layers_or_its_view(two):
    viewer, swiping = two.viewer, two.swiping
    swiping.start()
    viewer.layers.remove(viewer.layers["comparison line"])
    swiping.follow()
    assert not swiping.on
    assert [layer.name for layer in viewer.layers if layer.visible] == ["cells", "first", "second"]
    swiping.start()
    viewer.dims.ndisplay = 3
    swiping.follow()
    assert not swiping.on
    assert two.problems.pop()[1].startswith("two sides need the 2D view")
    swiping.start()
    assert two.problems.pop()[1].startswith("two sides need the 2D view")
    viewer.dims.ndisplay = 2
    swiping.start()
    assert swiping.on
    two.close()
    assert [layer.name for layer in viewer.layers] == ["cells", "first", "second"]


def test_what_cannot_be_compared_is_told(session):
    session.swiping.flip()
    assert session.problems.pop() == ("compare", session.swiping.cannot)
    first = session.viewer.add_labels(LEFT, name="first", **PLACED)
    session.comparing.choose(first, first)
    session.swiping.start()
    assert "chosen twice" in session.problems.pop()[1]
    session.comparing.start()
    assert "chosen twice" in session.problems.pop()[1]
    other = session.viewer.add_labels(RIGHT, name="elsewhere", **{**PLACED, "translate": (0, 0, 0)})
    session.comparing.choose(first, other)
    session.swiping.start()
    assert "does not lie on image layer" in session.problems.pop()[1]
    assert not session.swiping.on


def test_both_sides_have_one_set_of_colours(two):
    first, second = (two.viewer.layers[name] for name in ("first", "second"))
    first.colormap = colormap_of([ClassInfo(1, "cell", "#ff0000")])
    two.swiping.start()
    both = two.viewer.layers["first | second"]
    np.testing.assert_array_equal(both.get_color(300), second.get_color(300))
    two.swiping.end()
    second.colormap = colormap_of([ClassInfo(1, "cell", "#00ff00"), ClassInfo(300, "wall", "#0000ff")])
    two.swiping.start()
    both = two.viewer.layers["first | second"]
    assert [both.get_color(value).tolist() for value in (1, 300)] == [[1, 0, 0, 1], [0, 0, 1, 1]]
