"""Stopping, closing and crashing: nothing is lost, and nothing is left behind."""

import gc
import threading
import time
import weakref

import numpy as np
import pytest

pytest.importorskip("pytestqt")

from qtpy.QtCore import QEvent

import tiny
from gui import Desk, alive

pytestmark = pytest.mark.gui


def test_stop_ends_training_within_a_step_and_leaves_a_usable_adapter(painted):
    painted.begin()
    painted.wait(lambda: len(painted.session.training.history.steps) >= 2)
    painted.hands.press("Stop", "Train")
    steps = painted.session.training.history.steps[-1]
    painted.finish()
    # Steps of the tiny base take milliseconds: some are on their way when Stop is pressed.
    assert painted.session.training.history.steps[-1] < steps + 100
    assert painted.session.adapter is not None
    painted.hands.press("Slice")
    painted.finish()
    assert "discs class 1" in painted.hands.layers()


def test_training_can_be_cancelled_in_the_activity_dock(painted):
    painted.begin()
    painted.wait(lambda: len(painted.session.training.history.steps) >= 2)
    hands = painted.hands
    hands.press("activity")
    hands.wait(lambda: hands.reads("SALT training"))
    hands.press("Cancel")
    painted.finish()
    assert hands.reads("not saved yet", "Model")
    hands.wait(lambda: not hands.reads("SALT training"))


def test_closing_the_session_while_training_ends_the_engine(painted):
    painted.begin()
    painted.wait(lambda: painted.session.training.history.steps)
    process = painted.session.engine._process
    assert alive(process)
    painted.close()
    assert not alive(process)


def test_closing_the_viewer_while_training_ends_the_engine(painted):
    painted.begin()
    painted.wait(lambda: painted.session.training.history.steps)
    process = painted.session.engine._process
    painted.viewer.close()
    painted.wait(lambda: not alive(process))


def test_layers_may_be_removed_while_training(painted):
    painted.begin()
    painted.wait(lambda: painted.session.training.history.steps)
    hands = painted.hands
    for name in hands.layers():
        if name in hands.layers():  # the preview goes with its image
            hands.layer(name)
            hands.press("Delete selected layers")
    assert hands.layers() == []
    hands.press("Stop", "Train")
    painted.finish()
    assert painted.session.adapter is not None
    assert not painted.problems


def test_removing_the_output_stops_segmenting(painted):
    painted.train()
    painted.hands.press("Stack")
    painted.wait(lambda: "discs class 1" in painted.hands.layers())
    painted.hands.layer("discs class 1")
    painted.hands.press("Delete selected layers")
    painted.finish()
    assert "discs class 1" not in painted.hands.layers()
    assert painted.session.segmenting.left == ()


class Slow:
    """A stack on a disk that takes its time."""

    def __init__(self, data):
        self.data, self.shape, self.dtype, self.ndim = data, data.shape, data.dtype, data.ndim

    def __getitem__(self, key):
        time.sleep(0.3)
        return self.data[key]


def test_a_stopped_segmentation_goes_on_where_it_was(desk):
    image, truth = tiny.discs(100)
    desk.open(image, tiny.painted(truth, 1, 4))
    desk.train()
    desk.session.source.stack._data = Slow(image)
    hands = desk.hands
    hands.type("0-9, 20", "0-79, 90", "Segment")
    hands.press("Range")
    desk.wait(lambda: desk.session.segmenting.progress[0] >= 1)
    hands.press("Stop", "Segment")
    desk.finish()
    left = desk.session.segmenting.left
    assert 0 < len(left) < 81
    assert hands.reads(f"Resume ({len(left)} left)", "Segment")
    desk.session.source.stack._data = image
    hands.press("Resume")
    desk.finish()
    assert desk.session.segmenting.left == ()
    assert desk.session.segmenting.progress == (81, 81)
    assert hands.layers().count("discs class 1") == 1


class Failing:
    """A stack of which slice 90 cannot be read, once, when it follows slice 89 as in segmenting."""

    def __init__(self, data):
        self.data, self.shape, self.dtype, self.ndim = data, data.shape, data.dtype, data.ndim
        self.last, self.failed = None, False

    def __getitem__(self, key):
        fails = (self.last, key) == ((89,), (90,)) and not self.failed
        self.last = key
        if fails:
            self.failed = True
            raise OSError("the disk is gone")
        return self.data[key]


def test_a_failure_while_segmenting_keeps_what_is_done_and_says_so(desk):
    image, truth = tiny.discs(120)  # so many messages at a time that they must not be taken in each other
    desk.open(image, tiny.painted(truth, 1, 4))
    desk.session.source.stack._data = Failing(image)
    hands = desk.hands
    hands.tick("live preview", on=False)  # it would read slices as well
    desk.train(3)
    desk.segment()
    assert hands.reads("slice 90 of the layer cannot be read (OSError: the disk is gone)", "Segment")
    assert hands.reads("the 90 finished slices are kept, and Resume goes on", "Segment")
    assert "the disk is gone" in desk.problems[-1]
    hands.press("Resume")
    desk.finish()
    assert desk.session.segmenting.progress == (120, 120)


def test_unsaved_adapters_are_asked_about_before_they_go(painted):
    painted.train(3)
    hands = painted.hands
    hands.press("Reset", "Model", hands.answer("Keep"))
    assert hands.reads("not saved yet", "Model")
    hands.tick("go on from the loaded adapter", on=False)
    hands.press("Train", "Train", hands.answer("Cancel"))
    assert painted.session.job == ""
    assert hands.reads("not saved yet", "Model")
    hands.press("Reset", "Model", hands.answer("Discard"))
    assert hands.reads("no adapter", "Model")


def test_the_autosaved_adapter_and_paint_come_back(painted):
    painted.train(3)
    content, paint = painted.session.adapter.content, painted.paint.data.copy()
    hands = painted.hands
    hands.press("Reset", "Model", hands.answer("Discard"))
    hands.layer("paint")
    hands.press("Delete selected layers")
    hands.pick("Restore", "adapter of discs")
    assert hands.reads("not saved yet", "Model")
    assert painted.session.adapter.content == content
    hands.pick("Restore", "paint of discs")
    np.testing.assert_array_equal(hands.layer("discs paint (restored)").data, paint)
    assert hands.entries("painted") == ["1", "4"]


def test_a_crash_of_the_engine_is_told_and_loses_nothing(painted):
    painted.begin()
    painted.wait(lambda: painted.session.adapter is not None)
    painted.session.engine._process.kill()
    painted.finish()
    assert "stopped unexpectedly" in painted.problems[-1]
    assert painted.session.adapter is not None
    painted.hands.press("Slice")
    painted.finish()
    assert "discs class 1" in painted.hands.layers()


def test_the_widget_can_be_thrown_away(make_napari_viewer, tmp_path, base, engine):
    desk = Desk(make_napari_viewer(show=True), tmp_path, base, engine)
    image, truth = tiny.discs(6)
    desk.open(image, tiny.painted(truth, 1, 4))
    desk.train(3)
    desk.hands.leave()
    session = weakref.ref(desk.session)
    desk.viewer.window.remove_dock_widget(desk.widget)
    del desk.widget, desk.session, desk.ties, desk.hands
    viewer = desk.viewer
    del desk
    from qtpy.QtWidgets import QApplication

    for _ in range(10):
        QApplication.processEvents()
        gc.collect()
    assert session() is None
    assert viewer.layers


def test_closing_the_dock_ends_the_engine(painted):
    painted.begin()
    painted.wait(lambda: painted.session.training.history.steps)
    process = painted.session.engine._process
    painted.hands.press("close this panel", "SALT")
    painted.wait(lambda: not alive(process))


def test_opening_and_closing_it_twenty_times_leaves_nothing_behind(make_napari_viewer, tmp_path):
    import psutil
    from qtpy.QtWidgets import QApplication

    from napari_salt.gui._dock import SaltWidget
    from napari_salt.session._autosave import Autosave

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
