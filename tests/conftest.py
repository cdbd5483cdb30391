"""What all tests share."""

import contextlib
import gc
import os
import re
import sys
import threading
import time
from collections.abc import Generator

import pytest

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported, and in the processes that are started
"""Threads that wait for each other keep the processors busy, and the tiny base gains nothing by them."""

SECONDS_TO_END = 10
ENGINES = re.compile(r"engine\._serve|other_engine|warm_engine\.py (?!--serve)")
PASSED = pytest.StashKey[bool]()
TRACEBACK = "Traceback (most recent call last)"
QUIET = re.compile("does not support")
"""Qt's complaints about the display, not about us."""


def pytest_collection_finish() -> None:
    """Leave what is imported out of every later search for unused objects.

    napari's canvas and its fixture ask for such a search all the time, and a quarter of the GUI tests' time
    went there: there are millions of objects in what torch and napari import, and none is ever unused.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Generator[None, None, None]:
    """A cache folder and a library that are not the user's, for other processes as well."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("CACHE", "LIBRARY"):
            patch.setenv(f"NAPARI_SALT_{name}", str(tmp_path_factory.mktemp(name.lower())))
        yield


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A cache folder of the test's own, not made yet; a library beside it."""
    monkeypatch.setenv("NAPARI_SALT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NAPARI_SALT_LIBRARY", str(tmp_path / "library"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """Checkpoint of the tiny base, for engines."""
    import tiny

    return tiny.checkpoint(tmp_path_factory.mktemp("base") / "tiny.pth")


@pytest.fixture
def tiny_base(monkeypatch):
    """The name ``tiny`` is a base model."""
    import tiny

    tiny.use(monkeypatch)


@pytest.fixture(autouse=True)
def nothing_left(request):
    """A test of the GUI leaves no engine, no thread that reads from one, and no panel."""
    yield
    end = time.monotonic() + SECONDS_TO_END
    if request.node.get_closest_marker("gui"):
        while (left := engines_left()) and time.monotonic() < end:
            time.sleep(0.05)
        assert not left, f"left behind: {left}"
        if request.node.stash.get(PASSED, False):
            request.node.funcargs.clear()  # pytest would keep its fixtures a little longer
            while (left := panels_left()) and time.monotonic() < end:
                time.sleep(0.05)
            assert not left, f"kept alive: {left}, by {[type(r) for p in left for r in gc.get_referrers(p)]}"


def panels_left():
    """Widgets and sessions that something still refers to."""
    if "napari_salt.gui._dock" not in sys.modules:
        return []
    from qtpy.QtCore import QEvent
    from qtpy.QtWidgets import QApplication

    from napari_salt.gui._dock import SaltWidget
    from napari_salt.session._session import Session

    QApplication.processEvents()
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    gc.collect()
    return [found for found in gc.get_objects() if type(found) in (SaltWidget, Session)]


def engines_left():
    """Engines that run, and threads that read from them."""
    import psutil

    left = [thread.name for thread in threading.enumerate() if thread.name == "napari-salt"]
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            command = " ".join(child.cmdline())
            if child.status() != psutil.STATUS_ZOMBIE and ENGINES.search(command):
                left.append(command)
    return left


@pytest.fixture(scope="session")
def engine(tmp_path_factory):
    """How to start an engine that is ready at once, where processes can be forked."""
    from napari_salt.engine._client import ENGINE

    if not hasattr(os, "fork"):
        yield ENGINE
        return
    import warm_engine

    address = str(tmp_path_factory.mktemp("engine") / "socket")
    process = warm_engine.start(address)
    yield warm_engine.command(address)
    process.kill()
    process.wait()


@pytest.fixture
def desk(make_napari_viewer, tmp_path, base, folder, engine):
    """A viewer with the widget docked, on the tiny base."""
    from gui import Desk

    made = Desk(make_napari_viewer(show=True), tmp_path, base, engine)
    yield made
    made.close()


@pytest.fixture
def painted(desk):
    """The desk with an image and paint on two slices."""
    import tiny

    image, truth = tiny.discs(6)
    desk.image, desk.paint = desk.open(image, tiny.painted(truth, 1, 4))
    return desk


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test of the GUI fails if it shows, prints or logs an exception; on CI also if it is skipped."""
    report = yield
    if call.when == "call":
        item.stash[PASSED] = report.passed
    if not item.get_closest_marker("gui"):
        return report
    if report.skipped and os.environ.get("CI") == "true":  # a display is promised there
        report.outcome = "failed"
        report.longrepr = f"a test of the GUI was skipped on CI: {report.longrepr}"
    if report.passed:
        provoked = item.get_closest_marker("provoked")
        faults = [text for name, text in report.sections if name.endswith(call.when) and TRACEBACK in text]
        faults = [] if provoked else faults
        faults += [str(error) for error in errors_shown(item)]
        if faults:
            report.outcome = "failed"
            report.longrepr = "\n".join(["an exception did not reach the test:", *faults])
    return report


def errors_shown(item: pytest.Item) -> list[object]:
    """What napari showed as an error since the last look, and what Qt complained about."""
    from napari.utils.notifications import NotificationSeverity, notification_manager

    records = notification_manager.records
    errors: list[object] = [r for r in records if r.severity >= NotificationSeverity.ERROR]
    records.clear()
    complaints = getattr(item, "qt_log_capture", None)
    said = complaints.records if complaints is not None else ()
    loud = [r for r in said if r.type_name != "QtDebugMsg" and not QUIET.search(r.message)]
    return errors + [f"{r.type_name}: {r.message}" for r in loud]
