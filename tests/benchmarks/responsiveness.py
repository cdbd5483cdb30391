"""What a training costs napari, and what napari costs a training.

Run as ``xvfb-run -a -s "-screen 0 1600x1000x24" python tests/benchmarks/responsiveness.py``. In turns, a
training of LiteMedSAM on the EM stack runs headless (as ``napari-salt train`` does), beside a napari that is
left alone, and beside one in which a script scrolls and paints ten times a second. Printed are medians of
the step times, their ratios to headless, and the gaps of the event loop.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

DATA = Path(__file__).parents[3] / "shared" / "data" / "vnc_sstem_half"
RESULTS = Path(__file__).parent / "results" / "responsiveness.json"
MITOCHONDRIA, PAINTED = 2, [4, 14]
SETTLED = 6  # the first steps warm up
USE_MS, GAP_MS = 100, 5


def stack():
    from napari_salt.io import read_labels, read_stack

    image = np.asarray(read_stack(DATA / "image.tif").data)
    truth = np.asarray(read_labels(DATA / "label.tif").data) == MITOCHONDRIA
    paint = np.zeros(image.shape, np.uint8)
    paint[PAINTED] = truth[PAINTED]
    return image, paint


def headless(steps):
    from napari_salt import TrainConfig, training_events

    image, paint = stack()
    events = training_events(image, paint, TrainConfig(steps=steps, device="cpu"))
    return {"steps": step_seconds([(e.step, e.seconds) for e in events if e.held_out_dice is None])}


def beside_napari(steps, *, used, preview):
    import napari
    from qtpy.QtCore import QTimer
    from qtpy.QtWidgets import QApplication

    from napari_salt.gui._commands import open_widget

    image, paint = stack()
    viewer = napari.Viewer()
    viewer.add_image(image)
    labels = viewer.add_labels(paint, name="paint")
    scribble = viewer.add_labels(np.zeros_like(paint), name="scribble")
    widget = open_widget(viewer)
    session = widget.session
    session.set_labels(labels)
    session.previewing.enable(preview)
    session.options.device = "cpu"
    session.options.change("train", steps=steps)
    moments, ticks, previews = [], [], []
    session.engine.message.connect(lambda m: note(m, moments, previews))
    viewer.layers.selection.active = scribble
    timers = []

    def every(milliseconds, action):
        timer = QTimer()
        timer.setInterval(milliseconds)
        timer.timeout.connect(action)
        timers.append(timer)
        return timer

    count = iter(range(10**9))

    def use():
        n = next(count)
        viewer.dims.set_current_step(0, n % len(image))
        scribble.paint((n % len(image), 100 + n % 200, 200), 1)

    if used:
        every(USE_MS, use).start()
        every(GAP_MS, lambda: ticks.append(time.perf_counter())).start()
    watch = every(200, lambda: None if session.job else QApplication.instance().quit())
    QTimer.singleShot(1000, session.training.start)
    QTimer.singleShot(2000, watch.start)
    napari.run()
    result = {"steps": step_seconds(moments), "preview_seconds": previews}
    if ticks:
        gaps = 1000 * np.diff(ticks[len(ticks) // 10 :])
        result["gap_ms"] = {q: round(float(np.percentile(gaps, q)), 1) for q in (50, 99, 100)}
    return result


def note(message, moments, previews):
    from napari_salt.engine._news import Looked, Trained

    if isinstance(message, Trained) and message.event.held_out_dice is None:
        moments.append((message.event.step, message.event.seconds))
    if isinstance(message, Looked):
        previews.append(round(message.seconds, 3))


def step_seconds(moments):
    """Seconds between consecutive steps, after the warm-up."""
    pairs = itertools.pairwise(moments)
    return [round(b[1] - a[1], 4) for a, b in pairs if b[0] == a[0] + 1 and a[0] >= SETTLED]


def run(mode, steps):
    """One run in a process of its own; its result."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "NAPARI_SALT_AUTOSAVE": folder}
        command = [sys.executable, __file__, "--mode", mode, "--steps", str(steps)]
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=300, check=False
        )
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def say(*words):
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mode", choices=("headless", "alone", "preview", "used"))
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if options.mode == "headless":
        say(json.dumps(headless(options.steps)))
        return
    if options.mode:
        used, preview = options.mode == "used", options.mode in ("preview", "used")
        say(json.dumps(beside_napari(options.steps, used=used, preview=preview)))
        return
    modes = ("headless", "alone", "preview", "used")
    found = {mode: [] for mode in modes}
    for _ in range(options.rounds):
        for mode in modes:
            result = run(mode, options.steps)
            found[mode].append(result)
            say(mode, np.median(result["steps"]).round(3), result.get("gap_ms", ""))
    medians = {mode: float(np.median([s for r in rs for s in r["steps"]])) for mode, rs in found.items()}
    summary = {
        "median_step_seconds": {mode: round(m, 4) for mode, m in medians.items()},
        "over_headless": {mode: round(m / medians["headless"], 3) for mode, m in medians.items()},
        "gap_ms": [r["gap_ms"] for r in found["used"]],
    }
    RESULTS.write_text(json.dumps(summary, indent=1) + "\n")
    say(json.dumps(summary))


if __name__ == "__main__":
    main()
