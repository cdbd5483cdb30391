"""What is painted is counted right, whatever edits it, on layers of every kind; no Qt, no window."""

import itertools

import numpy as np
import pytest
import zarr
from napari.components import ViewerModel
from napari.layers import Labels

import headless
from napari_salt.session._flat_stack import FlatStack, PaintSnapshot
from napari_salt.session._image_source import ImageSource
from napari_salt.session._layers import new_labels
from napari_salt.session._paint import PaintTable, PaintWatch
from napari_salt.terms.paint_checks import lines_of, painted_across

IMAGES = {
    "2D": ((24, 30), {}, {}),
    "stack": ((8, 24, 30), {}, {}),
    "time series": ((3, 5, 24, 30), {}, {}),
    "channels in front": ((2, 8, 24, 30), {}, {"channel_axis": 0, "channels": (1,)}),
    "channels in the middle": ((5, 2, 24, 30), {}, {"channel_axis": 1, "channels": (0,)}),
    "scaled and moved": ((8, 24, 30), {"scale": (4, 0.5, 0.5), "translate": (7, -2, 3)}, {}),
    "turned in the plane": ((8, 24, 30), {"rotate": 30}, {}),
}
EDITS = {
    "brush": lambda labels, at: labels.paint((*at, 8, 9), 1),
    "another class": lambda labels, at: labels.paint((*at, 15, 20), 3),
    "eraser": lambda labels, at: labels.paint((*at, 8, 9), 0),
    "polygon": lambda labels, at: labels.paint_polygon([[*at, 2, 2], [*at, 2, 14], [*at, 12, 14]], 2),
    "fill": lambda labels, at: labels.fill((*at, 20, 3), 4),
}


@pytest.fixture(params=itertools.product(IMAGES, ("numpy", "zarr")), ids=" ".join)
def session(request):
    name, backing = request.param
    shape, layer, choice = IMAGES[name]
    viewer = ViewerModel()
    made = headless.session(viewer)
    made.set_image(viewer.add_image(np.zeros(shape, np.uint8), **layer), **choice)
    if backing == "numpy":
        made.make_labels()
    else:
        data = zarr.zeros(made.source.label_shape, dtype="uint8", chunks=made.source.label_shape)
        made.set_labels(viewer.add_labels(data, **made.source.placement()))
    made.labels.brush_size = 5
    return made


def truth(session):
    """Pixels by slice and value, counted afresh."""
    stack = session.source.labels_stack(session.labels)
    found = {}
    for index in range(len(stack)):
        for value, number in zip(*np.unique(stack[index], return_counts=True), strict=True):
            if value:
                found[index, int(value)] = int(number)
    return found


def counted(session):
    paint = session.paint
    return {(i, v): n for v in paint.values for i in paint.slices_of(v) if (n := paint.pixels_on(i, v))}


def stroke(session, edit, index):
    """Edit slice `index` as napari's mouse bindings do: shown, as one step of the history."""
    session.go_to(index)
    at = session.source.place(index)
    with session.labels.block_history():
        EDITS[edit](session.labels, at)


def test_every_edit_is_counted_and_undone_by_itself(session):
    last = len(session.source.stack) - 1
    states = [truth(session)]
    for edit, index in zip(EDITS, (0, last, 0, last // 2, last), strict=True):
        stroke(session, edit, index)
        session.recount()
        states.append(truth(session))
        assert counted(session) == states[-1] != states[-2]
    for state in reversed(states[:-1]):
        session.labels.undo()
        session.recount()
        assert counted(session) == truth(session) == state
    for state in states[1:]:
        session.labels.redo()
        session.recount()
        assert counted(session) == truth(session) == state


def test_an_edit_of_three_dimensions_is_counted_on_all_of_its_slices(session):
    session.labels.n_edit_dimensions = min(3, session.labels.ndim)
    stroke(session, "brush", 2)
    session.recount()
    assert counted(session) == truth(session)
    session.labels.undo()
    session.recount()
    assert counted(session) == truth(session) == {}


def test_edits_that_a_script_makes_elsewhere_are_counted(session):
    last = len(session.source.stack) - 1
    session.go_to(0)
    place = (*session.source.place(last), slice(2, 5), slice(2, 5))
    full = np.zeros(session.source.label_shape, bool)
    full[place] = True
    session.labels.data_setitem(np.nonzero(full), 6)
    session.recount()
    assert counted(session) == truth(session) == {(last, 6): 9}


def test_what_is_written_into_the_array_is_counted_before_training(session):
    last = len(session.source.stack) - 1
    session.labels.data[(*session.source.place(last), slice(2, 5), slice(2, 5))] = 7
    session.count_paint()
    assert counted(session) == truth(session) == {(last, 7): 9}


def test_paint_across_the_slices_is_counted_on_all_of_them():
    viewer = ViewerModel()
    session = headless.session(viewer)
    session.set_image(viewer.add_image(np.zeros((8, 24, 30), np.uint8)))
    session.make_labels()
    viewer.dims.order = (2, 0, 1)
    session.labels.brush_size = 5
    session.labels.paint((4, 10, 15), 1)
    session.recount()
    assert len(session.paint.slices) > 3
    assert counted(session) == truth(session)


def test_a_stroke_goes_on_while_the_slice_changes():
    viewer = ViewerModel()
    session = headless.session(viewer)
    session.set_image(viewer.add_image(np.zeros((8, 24, 30), np.uint8)))
    session.make_labels()
    with session.labels.block_history():
        for index in (2, 5, 6):
            session.go_to(index)
            session.labels.paint((index, 10, 15), 1)
    session.recount()
    assert session.paint.slices == (2, 5, 6)


def test_counting_gives_way_after_its_time_and_goes_on():
    data = np.ones((50, 64, 64), np.uint8)
    viewer = ViewerModel()
    source = ImageSource(viewer.add_image(data))
    calls = []
    watch = PaintWatch(viewer, source, viewer.add_labels(data), lambda: calls.append(1))
    watch.count(0.0)
    assert len(watch.table.slices) == 1
    assert calls, "what is left must be asked for"
    watch.count()
    assert len(watch.table.slices) == 50
    assert not watch.table.stale


def table_of(data, seconds=float("inf")):
    table = PaintTable(FlatStack(data, data.shape[:1]))
    table.count(seconds=seconds)
    return table


def test_paint_is_counted_by_class_and_slice():
    data = np.zeros((5, 4, 4), np.uint16)
    data[1, :2], data[3, 0, 0], data[3, 1, 1] = 2, 2, 300
    table = table_of(data)
    assert table.slices == (1, 3)
    assert table.values == (2, 300)
    assert (table.pixels(2), table.pixels(300)) == (9, 1)
    assert table.slices_of(300) == (3,)
    data[3] = 0
    assert not table.count(), "nothing is stale"
    table.stale.add(3)
    assert table.count()
    table.stale.add(3)
    assert not table.count(), "nothing has changed"
    assert table.slices == (1,)


def test_paint_values_of_any_size_are_counted():
    data = np.zeros((2, 3, 3), np.int64)
    data[1, 0] = 10**9
    assert table_of(data).values == (10**9,)


def test_a_snapshot_does_not_change_with_the_layer():
    data = np.zeros((3, 4, 4), np.uint8)
    data[1] = 1
    snapshot = table_of(data).snapshot()
    data[1] = 0
    assert isinstance(snapshot, PaintSnapshot)
    assert snapshot[1].all()
    assert not snapshot[0].any()
    assert snapshot.shape == (3, 4, 4)


MOVED = {
    "scale": {"scale": (2, 1, 1)},
    "translate": {"translate": (0, 0, 3)},
    "rotate": {"rotate": 5},
    "affine": {"affine": np.diag([1, -1, 1, 1])},
}


@pytest.mark.parametrize(
    "image", [{}, {"scale": (3, 0.5, 0.5), "translate": (1, 2, 3)}], ids=["plain", "scaled"]
)
@pytest.mark.parametrize("moved", MOVED)
def test_labels_that_lie_elsewhere_are_refused_until_they_are_aligned(image, moved):
    viewer = ViewerModel()
    session = headless.session(viewer)
    session.set_image(viewer.add_image(np.zeros((8, 24, 30), np.uint8), **image))
    paint = np.zeros((8, 24, 30), np.uint8)
    paint[4, 3:9, 3:9] = 1
    layer = Labels(paint, **{**image, **MOVED[moved]})
    session.set_labels(layer)
    assert session.paint is None
    assert "does not lie on" in session.misfit
    assert "Align" in session.training.cannot
    session.align_labels()
    assert not session.misfit
    assert session.paint.slices == (4,)
    np.testing.assert_allclose(layer.data_to_world((4, 3, 9)), session.source.layer.data_to_world((4, 3, 9)))
    layer.translate = np.asarray(layer.translate) + 5
    assert session.paint is None, "moved away again"


def test_labels_less_than_half_a_voxel_off_fit():
    viewer = ViewerModel()
    session = headless.session(viewer)
    session.set_image(viewer.add_image(np.zeros((8, 24, 30), np.uint8), scale=(3, 0.5, 0.5)))
    session.set_labels(Labels(np.zeros((8, 24, 30), np.uint8), scale=(3, 0.5, 0.5), translate=(1.4, 0.2, 0)))
    assert not session.misfit


def test_new_labels_fit(session):
    assert not session.misfit
    assert not session.source.misplaced(new_labels(session.viewer, session.source))


@pytest.mark.parametrize(("order", "plane"), [((2, 0, 1), "x = 15"), ((1, 0, 2), "y = 10")])
def test_a_plane_across_the_slices_is_trained_on_as_such(order, plane):
    viewer = ViewerModel()
    session = headless.session(viewer)
    session.set_image(viewer.add_image(np.zeros((22, 24, 30), np.uint8)))
    paint_across(session, order)
    assert not session.training.cannot
    assert session.plane == plane[0]
    assert session.painted_places == (int(plane[4:]),)
    session.go_to(3, session.plane)
    assert viewer.dims.point["zyx".index(plane[0])] == 3
    session.labels.undo()
    viewer.dims.order = (0, 1, 2)
    stroke(session, "brush", 4)
    session.recount()
    assert not session.training.cannot
    assert session.plane == "z"
    assert session.painted_places == session.paint.slices


def test_a_time_series_has_no_plane_across():
    viewer = ViewerModel()
    session = headless.session(viewer)
    session.set_image(viewer.add_image(np.zeros((2, 22, 24, 30), np.uint8)))
    paint_across(session, (0, 3, 1, 2), 0)
    assert "time series have no other planes" in session.training.cannot


def paint_across(session, order, *time):
    session.make_labels()
    session.labels.brush_size = 5
    session.viewer.dims.order = order
    with session.labels.block_history():
        for z in range(4, 18):
            session.labels.paint((*time, z, 10, 15), 1)
    session.recount()


def lines_of_all(data):
    return {index: lines_of(plane) for index, plane in enumerate(data) if plane.any()}


def test_whole_slices_with_thin_ends_and_centrelines_are_not_planes_across():
    data = np.zeros((12, 20, 20), np.uint8)
    data[:8, 5:15, 5:15] = 1
    data[8:11, 9:12, 10] = 1
    assert not painted_across(lines_of_all(data))
    data[:] = 0
    data[:, 7, 9] = 1
    assert not painted_across(lines_of_all(data))
    data[:, 7:9, 9] = 1
    assert painted_across(lines_of_all(data)) == "x = 9"
    data[::2] = 0
    assert not painted_across(lines_of_all(data)), "not neighbours"
