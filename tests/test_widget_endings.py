"""Stopping, closing and crashing: nothing is lost, and nothing is left behind."""

import gc
import threading
import weakref

import numpy as np
import pytest

pytest.importorskip("pytestqt")

from qtpy.QtCore import QEvent

import tiny
from gui import Desk, alive

pytestmark = pytest.mark.gui


def test_stop_ends_training_within_a_step_and_leaves_a_usable_adapter(painted):
    painted.session.options.steps = 100_000
    painted.widget.train.train.click()
    painted.wait(lambda: len(painted.session.training.history.steps) >= 2)
    painted.widget.train.stop.click()
    steps = painted.session.training.history.steps[-1]
    painted.finish()
    # Steps of the tiny base take milliseconds: some are on their way when Stop is pressed.
    assert painted.session.training.history.steps[-1] < steps + 100
    assert painted.session.adapter is not None
    painted.widget.segment.slice.click()
    painted.finish()
    assert "discs class 1" in painted.viewer.layers


def test_training_can_be_cancelled_in_the_activity_dock(painted):
    from napari.utils import progress

    painted.session.options.steps = 100_000
    painted.widget.train.train.click()
    painted.wait(lambda: len(painted.session.training.history.steps) >= 2)
    bars = [bar for bar in progress._all_instances if "SALT" in (bar.desc or "")]
    assert len(bars) == 1
    bars[0].cancel()
    painted.finish()
    assert painted.session.adapter is not None
    assert not [bar for bar in progress._all_instances if "SALT" in (bar.desc or "")]


def test_closing_the_session_while_training_ends_the_engine(painted):
    painted.session.options.steps = 100_000
    painted.widget.train.train.click()
    painted.wait(lambda: painted.session.training.history.steps)
    process = painted.session.engine._process
    assert alive(process)
    painted.close()
    assert not alive(process)


def test_closing_the_viewer_while_training_ends_the_engine(painted):
    painted.session.options.steps = 100_000
    painted.widget.train.train.click()
    painted.wait(lambda: painted.session.training.history.steps)
    process = painted.session.engine._process
    painted.viewer.close()
    painted.wait(lambda: not alive(process))


def test_layers_may_be_removed_while_training(painted):
    painted.session.options.steps = 100_000
    painted.widget.train.train.click()
    painted.wait(lambda: painted.session.training.history.steps)
    painted.viewer.layers.clear()
    assert painted.session.source is None
    painted.session.stop()
    painted.finish()
    assert painted.session.adapter is not None
    assert not painted.problems


def test_removing_the_output_stops_segmenting(painted):
    painted.train()
    painted.widget.segment.stack.click()
    painted.wait(lambda: "discs class 1" in painted.viewer.layers)
    painted.viewer.layers.remove("discs class 1")
    painted.finish()
    assert "discs class 1" not in painted.viewer.layers
    assert painted.session.segmenting.left == ()


def test_a_stopped_segmentation_goes_on_where_it_was(painted):
    painted.train()
    painted.widget.segment.range.setText("0-3, 5")
    painted.widget.segment.run_range.click()
    painted.wait(lambda: painted.session.segmenting.progress[0] >= 1)
    painted.session.stop()
    painted.finish()
    left = painted.session.segmenting.left
    if left:  # the tiny base may have been faster than the stop
        assert painted.widget.segment.resume.isVisibleTo(painted.widget)
        painted.widget.segment.resume.click()
        painted.finish()
    assert painted.session.segmenting.left == ()
    assert painted.session.segmenting.progress == (5, 5)
    assert [layer.name for layer in painted.viewer.layers].count("discs class 1") == 1


class Failing:
    """A stack of which one slice cannot be read for the second time, once that is wanted."""

    def __init__(self, data):
        self.data, self.shape, self.dtype, self.ndim = data, data.shape, data.dtype, data.ndim
        self.index, self.reads = None, 0

    def __getitem__(self, key):
        plane = self.data[key]
        self.reads += self.index == key
        if self.index == key and self.reads == 2:
            raise OSError("the disk is gone")
        return plane


def test_a_failure_while_segmenting_keeps_what_is_done_and_says_so(desk):
    image, truth = tiny.discs(6)
    failing = Failing(image)
    desk.open(image, tiny.painted(truth, 1, 4))
    desk.session.source.stack._data = failing
    desk.widget.train.preview.setChecked(False)  # it would read slices as well
    desk.train(3)
    failing.index = (4,)
    desk.widget.segment.stack.click()
    desk.finish()
    control, text = desk.problems[-1]
    assert control == "segment"
    assert "slice 4 of the layer cannot be read (OSError: the disk is gone)" in text
    assert "the 4 finished slices are kept, and Resume goes on" in text
    assert desk.widget.segment._problem.text() == text
    desk.widget.segment.resume.click()
    desk.finish()
    assert desk.session.segmenting.progress == (6, 6)


def test_unsaved_adapters_are_asked_about_before_they_go(painted):
    painted.train(3)
    painted.answers = ["Keep", None, "Discard"]
    kept = painted.session.adapter
    painted.widget.model.reset.click()
    assert painted.session.adapter is kept
    painted.session.options.go_on = False
    painted.widget.train.train.click()
    assert painted.session.job == ""
    painted.widget.model.reset.click()
    assert painted.session.adapter is None


def test_the_autosaved_adapter_and_paint_come_back(painted):
    painted.train(3)
    content, paint = painted.session.adapter.content, painted.paint.data.copy()
    painted.session.set_adapter(None)
    painted.viewer.layers.remove(painted.paint)
    entries = {saved.kind: saved for saved in painted.session.autosave.entries()}
    painted.session.restore(entries["adapter"])
    assert painted.session.adapter.content == content
    assert painted.session.adapter.path is None
    painted.session.restore(entries["paint"])
    np.testing.assert_array_equal(painted.session.labels.data, paint)
    assert painted.session.paint.slices == (1, 4)


def test_a_crash_of_the_engine_is_told_and_loses_nothing(painted):
    painted.session.options.steps = 100_000
    painted.widget.train.train.click()
    painted.wait(lambda: painted.session.adapter is not None)
    painted.session.engine._process.kill()
    painted.finish()
    assert "stopped unexpectedly" in painted.problems[-1][1]
    assert painted.session.adapter is not None
    painted.widget.segment.slice.click()
    painted.finish()
    assert "discs class 1" in painted.viewer.layers


def test_the_widget_can_be_thrown_away(make_napari_viewer, tmp_path, base):
    desk = Desk(make_napari_viewer(), tmp_path, base)
    image, truth = tiny.discs(6)
    desk.open(image, tiny.painted(truth, 1, 4))
    desk.train(3)
    session = weakref.ref(desk.session)
    desk.viewer.window.remove_dock_widget(desk.widget)
    del desk.widget, desk.session, desk.ties
    viewer = desk.viewer
    del desk
    from qtpy.QtWidgets import QApplication

    for _ in range(10):
        QApplication.processEvents()
        gc.collect()
    assert session() is None
    assert viewer.layers


def test_closing_the_dock_ends_the_engine(painted):
    painted.session.options.steps = 100_000
    painted.widget.train.train.click()
    painted.wait(lambda: painted.session.training.history.steps)
    process = painted.session.engine._process
    painted.viewer.window.remove_dock_widget(painted.widget)  # what the dock's x does
    assert not alive(process)


def test_opening_and_closing_it_twenty_times_leaves_nothing_behind(make_napari_viewer, tmp_path):
    import psutil
    from qtpy.QtWidgets import QApplication

    from napari_salt._autosave import Autosave
    from napari_salt._widget import SaltWidget

    viewer = make_napari_viewer()
    image, truth = tiny.discs(6)
    viewer.add_image(image)
    viewer.add_labels(tiny.painted(truth, 1, 4))

    def once():
        widget = SaltWidget(viewer, autosave=Autosave(tmp_path))
        viewer.window.add_dock_widget(widget, name="SALT")
        QApplication.processEvents()
        gone = weakref.ref(widget.session)
        viewer.window.remove_dock_widget(widget)
        del widget
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        QApplication.processEvents()
        gc.collect()
        return gone

    def state():
        widgets = {type(w).__name__: 0 for w in QApplication.allWidgets()}
        for widget in QApplication.allWidgets():
            widgets[type(widget).__name__] += 1
        return widgets, threading.active_count(), len(viewer.mouse_drag_callbacks)

    for _ in range(3):  # what is made once and kept
        once()
    before, memory = state(), psutil.Process().memory_info().rss
    sessions = [once() for _ in range(20)]
    after = state()
    grown = {name: n - before[0].get(name, 0) for name, n in after[0].items() if n > before[0].get(name, 0)}
    assert grown == {}
    assert after[1:] == before[1:]
    once()  # napari's window may still know the last one
    assert [session() for session in sessions] == [None] * 20
    assert psutil.Process().memory_info().rss - memory < 20e6
