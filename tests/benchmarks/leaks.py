"""What grows: python tests/benchmarks/leaks.py [--trainings 200] [--windows 50] (a display is needed).

Trains and stops on the tiny base again and again in one session, then opens and closes napari's window with
the dock. Before, in the middle and after: processes, threads, open files and resident memory, of this process
and of its children, into results/leaks.json.
"""

import argparse
import gc
import json
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).parents[1]))

import psutil

RESULTS = Path(__file__).parent / "results" / "leaks.json"
WARM = 5
"""Rounds before the first look: caches fill, libraries are loaded."""
SETTLE_SECONDS = 0.5


def look():
    """What this process and its children have now."""
    gc.collect()
    own = psutil.Process()
    children = [child for child in own.children(recursive=True) if child.status() != psutil.STATUS_ZOMBIE]
    engines = [child for child in children if "engine._serve" in " ".join(child.cmdline())]
    return {
        "processes": len(children),
        "engines": len(engines),
        "threads": own.num_threads(),
        "files": own.num_fds(),
        "megabytes": round(own.memory_info().rss / 1e6, 1),
        "engine_threads": sum(engine.num_threads() for engine in engines),
        "engine_files": sum(engine.num_fds() for engine in engines),
        "engine_megabytes": round(sum(engine.memory_info().rss for engine in engines) / 1e6, 1),
    }


def rounds(count, act):
    """Do `act` so often; looks at the start, in the middle and at the end, and all memory between."""
    moments = {WARM: "start", (WARM + count) // 2: "middle", count: "end"}
    seen, began = {"count": count, "warm_up": WARM, "megabytes": []}, time.monotonic()
    for number in range(1, count + 1):
        act()
        if number % 10 == 0 or number in moments:
            now = look()
            seen["megabytes"].append([number, now["megabytes"], now["engine_megabytes"]])
            if number in moments:
                seen[moments[number]] = now
                sys.stdout.write(f"{number}: {now}\n")
                sys.stdout.flush()
    return seen | {"seconds": round(time.monotonic() - began, 1)}


def trainings(count, folder):
    """Train and stop after the first step, always in the same session."""
    from napari.components import ViewerModel

    import headless
    import tiny
    from napari_salt.session._autosave import Autosave

    loop = headless.Loop()
    session = headless.session(ViewerModel(), loop, Autosave(folder / "autosave"))
    session.options.base, session.options.device = str(tiny.checkpoint(folder / "tiny.pth")), "cpu"
    session.ask = lambda _question, _answers: "Discard"
    image, truth = tiny.discs(6)
    session.set_image(session.viewer.add_image(image))
    session.set_labels(session.viewer.add_labels(tiny.painted(truth, 1, 4)))
    session.options.change("train", steps=100_000)

    def act():
        session.set_adapter(None)
        session.training.start()
        loop.run(lambda: session.training.history.steps)
        session.stop()
        loop.run(lambda: not session.job)

    seen = rounds(count, act)
    session.close()
    time.sleep(SETTLE_SECONDS)
    return seen | {"closed": look()}


def windows(count, folder):
    """Open napari's window with the dock and an image, and close it."""
    import napari
    from qtpy.QtCore import QEvent
    from qtpy.QtTest import QTest
    from qtpy.QtWidgets import QApplication

    import tiny
    from napari_salt.gui._dock import SaltWidget
    from napari_salt.session._autosave import Autosave

    image, truth = tiny.discs(6)

    def act():
        viewer = napari.Viewer(show=True)
        widget = SaltWidget(viewer, autosave=Autosave(folder / "autosave"))
        viewer.window.add_dock_widget(widget, name="SALT")
        viewer.add_image(image)
        viewer.add_labels(tiny.painted(truth, 1, 4))
        QTest.qWait(200)
        viewer.close()
        del widget, viewer
        QTest.qWait(200)
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)

    return rounds(count, act)


def bare_windows(count, _folder):
    """The same without the dock: what napari itself keeps."""
    import napari
    from qtpy.QtCore import QEvent
    from qtpy.QtTest import QTest
    from qtpy.QtWidgets import QApplication

    import tiny

    image, truth = tiny.discs(6)

    def act():
        viewer = napari.Viewer(show=True)
        viewer.add_image(image)
        viewer.add_labels(tiny.painted(truth, 1, 4))
        QTest.qWait(200)
        viewer.close()
        del viewer
        QTest.qWait(200)
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)

    return rounds(count, act)


PARTS = {"trainings": trainings, "windows": windows, "bare_windows": bare_windows}


def main():
    """Run one part or all, each in a process of its own, and add its numbers to the file."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trainings", type=int, default=200)
    parser.add_argument("--windows", type=int, default=50)
    parser.add_argument("--only", choices=PARTS, help="this part alone")
    options = parser.parse_args()
    counts = {"trainings": options.trainings, "windows": options.windows, "bare_windows": options.windows}
    if options.only is None:
        import subprocess

        for part in PARTS:
            subprocess.run([sys.executable, *sys.argv, "--only", part], check=True)
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NAPARI_SALT_CACHE"] = str(Path(folder) / "cache")
        found = PARTS[options.only](counts[options.only], Path(folder))
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps(known | {options.only: found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
