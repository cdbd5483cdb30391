"""What comes next, and painting by classes; a session without a window."""

import numpy as np
import pytest
from napari.components import ViewerModel

import headless
import tiny
from napari_salt.session._adapter_file import LoadedAdapter
from napari_salt.session._autosave import Autosave
from napari_salt.session._guide import advise
from napari_salt.terms.card import AdapterCard
from napari_salt.terms.slice_ranges import parse_slices, shown_slices
from napari_salt.terms.text import shown_size

IMAGE, TRUTH = tiny.discs(6)


@pytest.fixture
def session(folder):
    return headless.session(ViewerModel(), autosave=Autosave(folder))


@pytest.fixture
def painted(session):
    """A session with the brush in hand, and label 1 on slices 1 and 4."""
    session.set_image(session.viewer.add_image(IMAGE, name="discs"))
    session.painting.begin()
    for index in (1, 4):
        paint(session, index, 1)
    return session


def paint(session, index, value):
    """Paint the discs of a slice."""
    session.go_to(index)
    rows, columns = np.nonzero(TRUTH[index])
    session.labels.data_setitem((np.full_like(rows, index), rows, columns), value)
    session.edited([index])


def loaded():
    content = tiny.adapter().to_bytes()
    return LoadedAdapter(content, AdapterCard.from_bytes(content))


def test_each_step_names_the_next_action(session):
    assert (advise(session).step, advise(session).text) == ("image", "Open an image, or try the sample.")
    session.set_image(session.viewer.add_image(IMAGE))
    assert advise(session).step == "paint"
    assert "New" in advise(session).text
    session.painting.begin()
    session.name_class(1, "nucleus")
    assert advise(session).text == "Paint the class “nucleus” on this slice."
    paint(session, 1, 1)
    assert advise(session).text == "Train on the painted slice, or paint more."
    assert advise(session).shown == {"paint", "train"}
    session.job = "train"
    assert advise(session).shown == {"train"}
    session.job = ""
    session.previewing.enable(False)
    session.set_adapter(loaded())
    session.painting.begin()
    session.name_class(1, "nucleus")
    assert advise(session).text == "Paint “nucleus”, or segment with the adapter."
    session.painting.use("")
    assert advise(session).text == "Segment the stack with the adapter."
    session.set_image(session.viewer.add_image(IMAGE[0]))
    assert advise(session).text == "Segment the image with the adapter."
    session.close()


def test_the_paint_at_fault_is_said_before_training(painted):
    for index in (1, 4):
        painted.painting.mark(index, complete=False)
    assert "nothing says what background is" in painted.training.cannot
    assert advise(painted).shown == {"paint", "train"}
    painted.painting.mark(4, complete=True)
    assert not painted.training.cannot
    assert advise(painted).step == "train"


def test_new_takes_a_brush_that_fits_and_names_a_class(session):
    for side, size in ((64, 5), (512, 14), (4000, 38)):
        session.set_image(session.viewer.add_image(np.zeros((2, side, side), np.uint8)))
        session.painting.begin()
        assert (session.labels.mode, session.labels.brush_size) == ("paint", size)
        assert [(info.value, info.name) for info in session.classes] == [(1, "class 1")]
        assert session.viewer.layers.selection.active is session.labels


def test_classes_are_added_selected_recoloured_merged_and_deleted(painted):
    painting, labels = painted.painting, painted.labels
    assert painting.add_class() == labels.selected_label == 2
    assert [info.value for info in painted.classes] == [1, 2]
    assert painting.to_do == "To do: paint “class 2”."
    painting.color(2, "#0a64c8")
    assert {info.value: info.color for info in painted.classes}[2] == "#0a64c8"
    paint(painted, 3, 2)
    painting.select_known(7)
    assert labels.selected_label == 2
    painting.select_known(1)
    assert labels.selected_label == 1
    before = labels.data.copy()

    painting.merge_class(2, 1)
    assert painted.paint.slices_of(1) == (1, 3, 4)
    assert [info.value for info in painted.classes] == [1]
    labels.undo()
    np.testing.assert_array_equal(labels.data, before)
    painted.recount()
    assert painted.paint.slices_of(2) == (3,)

    painting.delete_class(1)
    assert painted.paint.slices == (3,)
    assert [info.value for info in painted.classes] == [2]
    labels.undo()
    np.testing.assert_array_equal(labels.data, before)
    painted.recount()
    assert painted.paint.slices_of(1) == (1, 4)


def test_one_tool_has_the_clicks(painted):
    painting = painted.painting
    assert painting.tool == "paint"
    painting.use("erase")
    assert (painting.tool, painted.labels.mode) == ("erase", "erase")
    painting.use("erase")
    assert (painting.tool, painted.labels.mode) == ("", "pan_zoom")


def test_marks_reach_training_and_come_back_with_the_paint(painted):
    assert [painted.is_complete(index) for index in (0, 1)] == [False, True]
    painted.painting.mark(1, complete=False)
    painted.painting.mark(0, complete=True)
    snapshot = painted.paint.snapshot(painted.marks)
    assert sorted(snapshot.planes) == [0, 1, 4]
    assert snapshot.marks == {0: "background", 1: "ignore"}
    painted.autosave.paint(snapshot, "discs")
    (saved,) = painted.autosave.entries()
    painted.restore(saved)
    assert [painted.is_complete(index) for index in range(6)] == [True, False, False, False, True, False]


@pytest.mark.parametrize(
    ("slices", "text"),
    [((), ""), ((8, 22), "8, 22"), ((4, 3, 2, 9, 10), "2-4, 9, 10"), ((0, 1, 2, 3, 7), "0-3, 7")],
)
def test_slices_are_written_as_they_are_read(slices, text):
    assert shown_slices(slices) == text
    assert not text or parse_slices(text) == tuple(sorted(slices))


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 bytes"), (999, "999 bytes"), (88_941, "88.9 kB"), (2_000_000_000, "2 GB")]
)
def test_sizes_have_a_unit_that_can_be_read(count, text):
    assert shown_size(count) == text
