"""The whole loop on the bundled sample with the bundled base model, as a user goes through it in napari."""

import numpy as np
import pytest

pytest.importorskip("pytestqt")

import segment_anything  # noqa: F401 - with all of torch, before the graphics driver: cli.main computes here

from gui import Desk, bytes_of
from napari_salt import cli, samples
from napari_salt.gui._sample_data import two_painted_slices
from napari_salt.io import read_labels

pytestmark = pytest.mark.gui
SLICES = (0, 15)


def test_paint_train_stop_segment_save_load_and_again_as_the_command_line_does(make_napari_viewer, tmp_path):
    (image, _, _), (paint, _, _) = two_painted_slices()
    desk = Desk(make_napari_viewer(show=True), tmp_path / "first", "lite-medsam")
    _, painted = desk.open(image, paint)
    before = bytes_of(painted)
    stopped_after_two_steps(desk)
    one_view(desk)
    first = segmented(desk)
    path = tmp_path / "nuclei.salt.safetensors"
    desk.save(path)
    assert bytes_of(painted) == before
    desk.close()

    second = Desk(make_napari_viewer(show=True), tmp_path / "second", "lite-medsam")
    second.open(image)
    one_view(second)
    second.hands.press("Load...", "", second.hands.file(path))
    again = segmented(second)
    second.close()
    np.testing.assert_array_equal(again, first)

    out = tmp_path / "out.tif"
    options = ["--adapter", str(path), "--out", str(out), "--views", "1", "--device", "cpu"]
    chosen = ["--slices", ",".join(map(str, SLICES))]
    assert cli.main(["segment", str(samples.nuclei3d_image()), *options, *chosen]) == 0
    written = np.asarray(read_labels(out).data)
    # The command line may run with another number of threads than the engine.
    assert (written[list(SLICES)] == first[list(SLICES)]).mean() >= 0.999


def stopped_after_two_steps(desk):
    """Press Train, and Stop after the second step: it ends within one step, and there is an adapter."""
    desk.begin(1000)
    history = desk.session.training.history
    desk.wait(lambda: len(history.steps) >= 2)
    steps = history.steps[-1]
    desk.hands.press("Stop", "Train")
    desk.finish()
    assert history.steps[-1] <= steps + 1
    assert desk.session.adapter.card.training["steps"] <= steps + 1
    assert not desk.problems


def one_view(desk):
    desk.hands.unfold("options")
    desk.hands.type("views", "1", "Segment")


def segmented(desk):
    """Segment two slices; the layer's array."""
    desk.hands.type("0-9, 20", ", ".join(map(str, SLICES)), "Segment")
    desk.hands.press("Range")
    assert desk.session.job == "segment", desk.problems
    desk.finish()
    return np.asarray(desk.session.segmenting._result.output.layer.data).copy()
