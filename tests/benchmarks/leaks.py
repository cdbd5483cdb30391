"""What grows: python tests/benchmarks/leaks.py [--trainings 200] [--windows 50] [--minutes 15].

Trains on the tiny base, and stops after a step, again and again in one session; then opens and closes
napari's window, with the dock and without. What this process and its children have is noted on the way,
and its growth per round, after a warm-up, goes into results/leaks.json. A part ends earlier if its minutes
are over.
"""

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import psutil

RESULTS = Path(__file__).parent / "results" / "leaks.json"
LOOKS = 50
"""Rounds that are looked at, evenly spaced."""
WARM = 0.3
"""Share of the rounds before growth is measured: caches fill, libraries are loaded."""
PATIENCE_SECONDS = 900
"""For one message of the engine, on a machine that has other work."""


def memory(process):
    """Resident megabytes that the process has made itself: no libraries, which others may load and leave."""
    info = process.memory_info()
    return round((info.rss - info.shared) / 1e6, 1)


def look():
    """What this process and its engines have now."""
    gc.collect()
    own = psutil.Process()
    children = [child for child in own.children(recursive=True) if child.status() != psutil.STATUS_ZOMBIE]
    engines = [child for child in children if "napari_salt.engine._serve" in child.cmdline()]
    return {
        "processes": len(children),
        "threads": own.num_threads(),
        "files": own.num_fds(),
        "megabytes": memory(own),
        "engine_threads": sum(engine.num_threads() for engine in engines),
        "engine_files": sum(engine.num_fds() for engine in engines),
        "engine_megabytes": sum(map(memory, engines)),
    }


def growth(numbers, looks):
    """Change per round of each figure, by a line through the looks after the warm-up."""
    after = [index for index, number in enumerate(numbers) if number >= WARM * numbers[-1]]
    x = np.array(numbers)[after]
    values = {name: [looks[index][name] for index in after] for name in looks[0]}
    return {name: round(float(np.polyfit(x, y, 1)[0]), 4) for name, y in values.items()}


def rounds(act, count, minutes):
    """Do `act` so often, or for so long."""
    numbers, looks, began = [], [], time.monotonic()
    for number in range(1, count + 1):
        act()
        over = time.monotonic() - began > 60 * minutes
        if number % max(1, count // LOOKS) == 0 or over:
            numbers.append(number)
            looks.append(look())
            sys.stdout.write(f"{number}: {looks[-1]}\n")
            sys.stdout.flush()
        if over:
            break
    return {
        "rounds": numbers[-1],
        "seconds": round(time.monotonic() - began),
        "growth_per_round": growth(numbers, looks),
        "at": numbers,
        **{name: [one[name] for one in looks] for name in looks[0]},
    }


def trainings(count, minutes, folder):
    """Train and stop after the first step, always in the same session; then close it."""
    from napari.components import ViewerModel

    import headless
    import loop
    import tiny
    from napari_salt.session._autosave import Autosave

    loop.SECONDS = PATIENCE_SECONDS
    wait = headless.Loop()
    session = headless.session(ViewerModel(), wait, Autosave(folder / "autosave"))
    session.problem.connect(lambda text, _control: sys.exit(text))
    session.options.base, session.options.device = str(tiny.checkpoint(folder / "tiny.pth")), "cpu"
    image, truth = tiny.discs(6)
    session.set_image(session.viewer.add_image(image))
    session.set_labels(session.viewer.add_labels(tiny.painted(truth, 1, 4)))
    session.options.change("train", steps=8)  # a short warm start, and time to stop in

    def act():
        session.set_adapter(None)
        session.training.start()
        wait.run(lambda: session.training.history.steps)
        session.stop()
        wait.run(lambda: not session.job)

    seen = rounds(act, count, minutes)
    session.close()
    time.sleep(1)
    return seen | {"closed": look()}


def windows(count, minutes, folder, *, dock=True):
    """Open napari's window with an image and labels, and with the dock, and close it (needs a display)."""
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
        if dock:
            widget = SaltWidget(viewer, autosave=Autosave(folder / "autosave"))
            viewer.window.add_dock_widget(widget, name="SALT")
        viewer.add_image(image)
        viewer.add_labels(tiny.painted(truth, 1, 4))
        QTest.qWait(200)
        viewer.close()
        QTest.qWait(200)
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)

    return rounds(act, count, minutes)


PARTS = {"trainings": trainings, "windows": windows, "windows_without_dock": partial(windows, dock=False)}


def main():
    """Run one part or all, each in a process of its own, and add its numbers to the file."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trainings", type=int, default=200)
    parser.add_argument("--windows", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=15, help="for each part")
    parser.add_argument("--only", choices=PARTS, help="this part alone")
    options = parser.parse_args()
    if options.only is None:
        for part in PARTS:
            subprocess.run([sys.executable, *sys.argv, "--only", part], check=True)
        return
    count = options.trainings if options.only == "trainings" else options.windows
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NAPARI_SALT_CACHE"] = str(Path(folder) / "cache")
        found = PARTS[options.only](count, options.minutes, Path(folder))
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps(known | {options.only: found}) + "\n")


if __name__ == "__main__":
    main()
