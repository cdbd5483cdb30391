"""What is painted over in a result becomes paint to learn from; without a window."""

import numpy as np
import pytest
from napari.components import ViewerModel

import headless
from napari_salt.core.paint.annotations import IGNORE, read_annotations
from napari_salt.session._autosave import Autosave
from napari_salt.session._colors import colormap_of
from napari_salt.session._correcting import Correcting
from napari_salt.session._layers import Output
from napari_salt.terms.card import ClassInfo

SHAPE = (4, 8, 10)
CELL = ClassInfo(1, "cell", "#ff0000")
FOUND = np.zeros(SHAPE, np.uint8)
FOUND[:, 2:6, 2:6] = 1


@pytest.fixture
def session(tmp_path):
    made = headless.session(ViewerModel(), autosave=Autosave(tmp_path / "autosave"))
    made.problems = []
    made.problem.connect(lambda text, control: made.problems.append((control, text)))
    made.set_image(made.viewer.add_image(np.zeros(SHAPE), name="cells", scale=(2, 1, 1)))
    yield made
    made.close()


@pytest.fixture
def result(session):
    """The layer of a segmentation, followed by `session.correcting`."""
    data = np.zeros(SHAPE, np.uint8)
    output = Output(session.viewer, session.source, "found", data, [CELL], colormap_of([CELL]), named=[CELL])
    for index, plane in enumerate(FOUND):
        output.write(index, plane, np.zeros((0, *plane.shape), np.float32))
    session.correcting = Correcting(session, lambda: [output])
    session.changed.segmenting.emit()
    return output.layer


def paint(session, layer, index, rows, columns, value):
    """A stroke on a slice that is shown."""
    session.go_to(index)
    rows, columns = (grid.ravel() for grid in np.mgrid[rows, columns])
    layer.data_setitem((np.full_like(rows, index), rows, columns), value)


def painted(session, truth):
    """Let a slice be painted as a whole."""
    data = np.zeros(SHAPE, np.uint8)
    data[0] = truth
    session.set_labels(session.viewer.add_labels(data, name="paint", scale=(2, 1, 1)))
    return session.labels


def targets(session):
    """What training would learn from: by slice, 0 background, 1 the class, `IGNORE` for unknown."""
    options = session.options
    found = read_annotations(
        session.labels.data,
        unpainted=options.train.unpainted,
        background_label=options.background_label,
        marks=session.marks,
    )
    return {each.index: each.target for each in found.slices}


def test_only_what_was_changed_is_learnt(session, result):
    labels = painted(session, FOUND[0])
    whole = targets(session)[0]
    before = labels.data.copy()
    paint(session, result, 2, slice(5, 8), slice(0, 3), 1)
    paint(session, result, 3, slice(2, 4), slice(2, 6), 0)
    shown = result.data.copy()
    assert session.correcting.layer is result
    session.correcting.take()
    assert not session.problems
    found = targets(session)
    np.testing.assert_array_equal(found[0], whole)
    new, wrong = np.full(SHAPE[1:], IGNORE), np.full(SHAPE[1:], IGNORE)
    new[5:8, 0:3], new[5, 2] = 1, IGNORE  # that pixel was found already
    wrong[2:4, 2:6] = 0
    np.testing.assert_array_equal(found[2], new)
    np.testing.assert_array_equal(found[3], wrong)
    assert {*found} == {0, 2, 3}
    assert "16 pixels on 2 slices" in session.correcting.words
    assert session.correcting.layer is None
    np.testing.assert_array_equal(result.data, shown)
    labels.undo()
    np.testing.assert_array_equal(labels.data, before)
    np.testing.assert_array_equal(targets(session)[0], whole)


def test_erasing_on_a_complete_slice_erases_the_paint(session, result):
    labels = painted(session, FOUND[0])
    paint(session, result, 0, slice(2, 4), slice(2, 6), 0)
    session.correcting.take()
    assert not labels.data[0, 2:4].any()
    assert session.options.train.unpainted == "background"
    assert "8 pixels on 1 slice taken" in session.correcting.words
    paint(session, result, 0, slice(2, 3), slice(2, 6), 1)  # what was taken is not taken again
    session.correcting.take()
    assert "4 pixels on 1 slice taken" in session.correcting.words


def test_what_is_undone_is_not_learnt(session, result):
    painted(session, FOUND[0])
    paint(session, result, 2, slice(5, 8), slice(0, 3), 1)
    result.undo()
    session.correcting.take()
    assert session.problems.pop() == (
        "correct", "the result is as it was found; paint over a wrong place first",
    )  # fmt: skip
    assert session.correcting.layer is None
    session.correcting.take()
    assert session.problems.pop()[0] == "correct"


def test_a_layer_is_made_where_there_is_none(session, result):
    paint(session, result, 1, slice(0, 2), slice(0, 2), 1)
    session.correcting.take()
    assert session.labels.name == "cells paint"
    assert np.asarray(session.labels.data).sum() == 4


def test_labels_that_do_not_fit_are_told(session):
    data = np.zeros(SHAPE, np.uint16)
    output = Output(session.viewer, session.source, "found", data, [CELL], None, named=[CELL])
    output.write(0, data[0], np.zeros((0, *SHAPE[1:]), np.float32))
    correcting = Correcting(session, lambda: [output])
    session.changed.segmenting.emit()
    labels = painted(session, FOUND[0])
    paint(session, output.layer, 0, slice(0, 1), slice(0, 1), 300)
    correcting.take()
    assert "label 300 does not fit into the layer 'paint' (uint8)" in session.problems.pop()[1]
    assert labels.data.max() == 1
    session.options.change("train", painted="objects")
    correcting.take()
    assert "objects" in session.problems.pop()[1]
