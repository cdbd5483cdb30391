"""Make the README's pictures of the dock widget, on the bundled sample with the bundled base model.

Run as ``xvfb-run -a -s "-screen 0 1600x1100x24" python docs/screenshots.py [--minutes 1.5] [--out docs]``.
The pictures are those of a user's session: the sample with two painted slices, training with its plot and
preview, and the segmented stack in 2D and 3D, in the dark and (the last one) in the light theme.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

PAINTED, SHOWN = 8, 12
WINDOW = (1360, 1000)


class Session:
    """A napari window with the widget, driven like by a user."""

    def __init__(self, out):
        import napari
        from qtpy.QtWidgets import QApplication

        from napari_salt.gui._commands import open_widget

        self.out = out
        self.app = QApplication.instance
        self.viewer = napari.Viewer()
        self.viewer.window.resize(*WINDOW)
        self.viewer.open_sample("napari-salt", "cells")
        self.widget = open_widget(self.viewer)
        self.session = self.widget.session
        self.pause(1)

    def pause(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.app().processEvents()
            time.sleep(0.01)

    def wait(self, condition):
        while not condition():
            self.pause(0.1)

    def show(self, slice_):
        """Go to a slice, with the sections open that the work needs."""
        self.session.go_to(slice_)
        self.pause(2)

    def picture(self, name):
        self.viewer.window.screenshot(str(self.out / f"{name}.png"), canvas_only=False, flash=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.5)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    options = parser.parse_args()
    from napari_salt.session._layers import camera_of

    with tempfile.TemporaryDirectory() as folder:
        os.environ["NAPARI_SALT_AUTOSAVE"] = folder
        at = Session(options.out)
        widget, session = at.widget, at.session
        at.pause(0.5)
        at.show(PAINTED)
        at.picture("widget_annotate")

        session.options.change("train", minutes=options.minutes)
        session.changed.options.emit()
        at.show(SHOWN)
        widget.train.train.click()
        at.wait(lambda: session.training.history.fraction > 0.5 and "SALT preview" in at.viewer.layers)
        at.pause(6)
        at.picture("widget_train")
        at.wait(lambda: not session.job)

        session.save_adapter(Path(folder) / "nuclei.salt.safetensors", name="nuclei")
        session.previewing.enable(False)
        at.viewer.layers["cells painted"].visible = False
        at.show(SHOWN)
        widget.segment.stack.click()
        at.wait(lambda: not session.job)
        at.picture("widget_segment")
        at.viewer.dims.ndisplay = 3
        at.viewer.layers["cells"].visible = False
        at.viewer.reset_view()
        camera_of(at.viewer).angles = (0, 25, 60)
        at.viewer.theme = "light"
        at.pause(3)
        at.picture("widget_3d")
        widget.ties.cut()
        at.viewer.close()


if __name__ == "__main__":
    main()
