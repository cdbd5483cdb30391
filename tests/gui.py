"""What the tests of the widget share: a viewer with the widget on a tiny base, and waiting."""

from __future__ import annotations

import time

import numpy as np
from qtpy.QtWidgets import QApplication

from napari_salt._autosave import Autosave
from napari_salt._widget import SaltWidget
from napari_salt._workers import ENGINE

SECONDS = 120


class Desk:
    """A viewer with the widget docked, the image and the paint that were asked for.

    `answers` are given, one by one, to the questions that the widget asks.
    """

    def __init__(self, viewer, folder, base, engine=ENGINE):
        self.viewer = viewer
        self.answers = []
        self.asked = []
        self.problems = []
        self.widget = SaltWidget(viewer, engine, Autosave(folder / "autosave"))
        viewer.window.add_dock_widget(self.widget, name="SALT")
        self.session, self.ties = self.widget.session, self.widget.ties
        self.session.ask = self._answer
        self.session.problem.connect(lambda text, control: self.problems.append((control, text)))
        self.session.options.base = str(base)
        self.session.options.steps = 6
        self.session.options.device = "cpu"

    def _answer(self, text, answers):
        self.asked.append(text)
        answer = self.answers.pop(0)
        assert answer is None or answer in answers
        return answer

    def open(self, image, paint=None, **kwargs):
        """Add the image and the paint as napari would; give the layers."""
        layer = self.viewer.add_image(image, name="discs", **kwargs)
        labels = None if paint is None else self.viewer.add_labels(paint, name="paint")
        return layer, labels

    def wait(self, condition, seconds=SECONDS):
        """Let the event loop run until `condition()`."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"waited {seconds} s; problems: {self.problems}"
            QApplication.processEvents()
            time.sleep(0.005)

    def finish(self):
        """Wait until no job runs."""
        self.wait(lambda: not self.session.job)

    def train(self, steps=None):
        """Press Train and wait for the end."""
        if steps is not None:
            self.session.options.steps = steps
        self.widget.train.train.click()
        assert self.session.job == "train", self.problems
        self.finish()

    def close(self):
        self.ties.cut()


def alive(process):
    """Whether the engine's process runs."""
    return process is not None and process.poll() is None


def bytes_of(layer):
    return np.asarray(layer.data).tobytes()
