"""What our callbacks raise never reaches the sender of an event, and is told once."""

import ast
import gc
import logging
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.utils.events import EmitterGroup
from napari.utils.notifications import notification_manager
from psygnal import Signal
from qtpy.QtCore import QObject
from qtpy.QtCore import Signal as QtSignal

import headless
import napari_salt
from napari_salt.session._guard import Connections, connect, guarded
from napari_salt.terms.errors import InputError

SOURCE = Path(napari_salt.__file__).parent


class Psygnal:
    signal = Signal(int, str)


class Qt(QObject):
    signal = QtSignal(int, str)


class Receiver:
    def __init__(self):
        self.got = []

    def none(self):
        self.got.append(())

    def one(self, number):
        self.got.append((number,))

    def optional(self, number, text="default"):
        self.got.append((number, text))

    def several(self, *values):
        self.got.append(values)


@pytest.fixture
def told():
    """Notifications of napari."""
    notification_manager.records.clear()
    return lambda: [record.message for record in notification_manager.records]


@pytest.mark.parametrize("kind", [Psygnal, Qt])
@pytest.mark.parametrize(
    ("name", "got"), [("none", ()), ("one", (3,)), ("optional", (3, "default")), ("several", (3, "x"))]
)
def test_a_callback_gets_as_many_arguments_as_it_needs(qapp, kind, name, got):
    sender, receiver = kind(), Receiver()
    connect(sender.signal, getattr(receiver, name))
    sender.signal.emit(3, "x")
    assert receiver.got == [got]


@pytest.mark.parametrize("kind", [Psygnal, Qt])
def test_a_receiver_that_is_gone_is_not_called(qapp, kind):
    sender, receiver = kind(), Receiver()
    got = receiver.got
    connect(sender.signal, receiver.none)
    del receiver
    gc.collect()
    sender.signal.emit(3, "x")
    assert got == []


def test_what_a_callback_raises_is_told_once_and_the_others_are_called(told, caplog):
    events = EmitterGroup(paint=None)
    receiver = Receiver()

    def broken(event):
        raise KeyError("x")

    connect(events.paint, receiver.none)
    connect(events.paint, broken)
    connect(events.paint, receiver.none)
    events.paint()
    events.paint()
    assert receiver.got == [()] * 4
    assert len(told()) == 1
    assert "KeyError: 'x'; napari goes on" in told()[0]
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1
    assert caplog.records[0].exc_info[0] is KeyError


def test_an_error_for_the_user_is_told_in_its_own_words(told):
    def refuse():
        raise InputError("there is no image; open one")

    assert guarded(refuse)() is None
    assert told() == ["there is no image; open one"]


def test_connections_are_cut_together(qapp):
    senders, receiver, connections = (Psygnal(), Qt()), Receiver(), Connections()
    connections.add(receiver.none, *(sender.signal for sender in senders))
    connections.cut()
    for sender in senders:
        sender.signal.emit(3, "x")
    assert receiver.got == []


def test_no_callback_is_connected_past_the_guard():
    past = [
        f"{path.relative_to(SOURCE)}:{node.lineno}"
        for path in SOURCE.rglob("*.py")
        if path.name != "_guard.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "connect"
    ]
    assert past == []


HANDLERS = {
    "napari_salt.session._paint.PaintWatch": ("_on_stroke", "_on_edit", "_on_drawn"),
    "napari_salt.session._session.Session": ("_on_touched", "_on_moved", "_on_labels_replaced"),
}


@pytest.mark.parametrize(
    "handler", [f"{owner}.{name}" for owner, names in HANDLERS.items() for name in names]
)
def test_a_broken_handler_leaves_napari_its_strokes_and_its_undo(monkeypatch, handler, told):
    def broken(*_):
        raise TypeError("broken on purpose")

    monkeypatch.setattr(handler, broken)
    viewer = ViewerModel()
    session = headless.session(viewer)
    session.set_image(viewer.add_image(np.zeros((8, 24, 30), np.uint8)))
    session.make_labels()
    labels = session.labels
    for x in (5, 20):
        with labels.block_history():
            labels.paint((4, 10, x), 1)
    both = np.count_nonzero(labels.data)
    labels.undo()
    assert np.count_nonzero(labels.data) == both // 2
    labels.translate = (5, 0, 0)
    labels.data = np.zeros((8, 24, 30), np.uint8)
    labels.paint((4, 10, 5), 1)
    assert np.count_nonzero(labels.data) == both // 2
    assert len(told()) >= 1
    assert all("broken on purpose" in text for text in told())
