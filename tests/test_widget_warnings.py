"""What may make a result wrong is said in the panels: before, and at the end."""

import numpy as np
import pytest

import tiny
from napari_salt.core.train.training import train
from napari_salt.terms.config import TrainConfig

pytestmark = pytest.mark.gui


def trained(desk, tmp_path, shift=0.0):
    """Load an adapter of discs with pixels of half a micrometre; `shift` finds them everywhere or nowhere."""
    image, truth = tiny.discs()
    config = TrainConfig(base=str(desk.session.options.base), steps=1, pixel_scale=1.0, device="cpu")
    adapter = train(image, tiny.painted(truth, 1, 4), config, pixel_size=0.5)
    adapter.tensors["class_head"][:, -1] += shift
    path = adapter.save(tmp_path / "a.safetensors")
    assert desk.widget.load(path)
    return image


def test_numbers_of_objects_cannot_be_trained_on(desk):
    image, truth = tiny.discs()
    rows, columns = np.mgrid[:64, :64]
    objects = np.stack([rows // 4 * 16 + columns // 4] * len(image)).astype(np.uint16)
    _, labels = desk.open(image, objects)
    panel = desk.widget.train
    assert not panel.train.isEnabled()
    assert "numbers of objects" in panel.reason.text()
    labels.data = tiny.painted(truth, 1, 4)
    desk.wait(panel.train.isEnabled)
    assert not panel.reason.text()


def test_an_image_unlike_the_training_stack_is_remarked_on_in_the_panel(desk, tmp_path):
    image = trained(desk, tmp_path, shift=1000)
    layer, _ = desk.open(image.max() - image)
    panel = desk.widget.segment
    panel.slice.click()
    desk.finish()
    desk.wait(lambda: "inverted" in panel.warnings.text())
    assert "trained on pixels of 0.5 micrometres" in panel.warnings.text()
    assert "nothing but background" not in panel.warnings.text()
    assert not panel.warnings.isHidden()
    desk.viewer.layers.remove(layer)
    desk.open(image, scale=(1, 0.5, 0.5), units=("um", "um", "um"))
    panel.slice.click()
    desk.finish()
    assert panel.warnings.isHidden()


def test_a_segmentation_of_nothing_is_said_in_the_panel(desk, tmp_path):
    image = trained(desk, tmp_path, shift=-1000)
    desk.open(image, scale=(1, 0.5, 0.5), units=("um", "um", "um"))
    desk.widget.segment.stack.click()
    desk.finish()
    desk.wait(lambda: "any of the 6 slices" in desk.widget.segment.warnings.text())


def test_an_adapter_below_the_forest_is_said_in_the_panel(painted):
    painted.train(steps=1)
    text = painted.widget.train.words.text()
    assert "a random forest on the same paint does better than this adapter" in text


def test_in_a_time_series_no_time_point_of_the_held_out_slice_is_learnt(desk):
    image, truth = tiny.discs(8)
    shape = (2, 4, 64, 64)
    desk.open(image.reshape(shape), tiny.painted(truth, 0, 2, 4, 7).reshape(shape))
    desk.train(steps=2)
    facts = desk.session.adapter.card.training
    leaks = "(next to a slice that training sees)"  # slice 2 of one time point, 3 of the other
    assert facts["held_out"] in (f"slice 2 {leaks}", f"slice 7 {leaks}")
