"""What the tests of the widget share: a viewer with the widget on a tiny base, and waiting."""

from __future__ import annotations

import numpy as np
from napari.utils.notifications import notification_manager

from hands import Hands
from napari_salt.engine._client import ENGINE
from napari_salt.gui._dock import SaltWidget
from napari_salt.session._autosave import Autosave


class Desk:
    """A shown viewer with the widget docked on a base, the image and the paint that were asked for.

    `hands` use it; `session` is for what hands cannot do and eyes cannot see.
    """

    def __init__(self, viewer, folder, base, engine=ENGINE):
        self.engine = engine
        self.viewer = viewer
        self.widget = SaltWidget(viewer, engine, Autosave(folder / "autosave"))
        viewer.window.add_dock_widget(self.widget, name="SALT")
        self.session, self.ties = self.widget.session, self.widget.ties
        self.session.options.base = str(base)
        self.session.options.device = "cpu"
        self.hands = Hands(viewer)
        self._steps = None
        notification_manager.records.clear()

    def open(self, image, paint=None, **kwargs):
        """Add the image and the paint as napari would; give the layers."""
        layer = self.viewer.add_image(image, name="discs", **kwargs)
        labels = None if paint is None else self.viewer.add_labels(paint, name="paint")
        self.hands.press("Reset view")
        return layer, labels

    @property
    def problems(self):
        """What napari's notifications have said."""
        return [record.message for record in notification_manager.records]

    def wait(self, condition):
        """Look on until `condition()`."""
        return self.hands.wait(condition)

    def finish(self):
        """Wait until no job runs."""
        self.wait(lambda: not self.session.job)

    def begin(self, steps=100_000):
        """Type the number of steps, and press Train."""
        if self._steps is None:
            self.hands.unfold("advanced")
        if self._steps != steps:
            self.hands.type("steps", str(steps))
        self._steps = steps
        self.hands.press("Train", "Train")

    def train(self, steps=6):
        """Train and wait for the end."""
        self.begin(steps)
        assert self.session.job == "train", self.problems
        self.finish()

    def segment(self):
        """Segment the whole stack and wait for the end."""
        self.hands.press("Stack")
        self.finish()

    def save(self, path, **texts):
        """Save the adapter by its dialogs."""
        self.hands.press("Save...", "", self.hands.fill("OK", **texts), self.hands.file(path))

    def close(self):
        self.hands.leave()
        self.ties.cut()


def alive(process):
    """Whether the engine's process runs."""
    return process is not None and process.poll() is None


def bytes_of(layer):
    return np.asarray(layer.data).tobytes()
