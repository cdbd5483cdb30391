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
    desk.hands.press("Load...", "", desk.hands.file(path))
    return image


def test_numbers_of_objects_cannot_be_trained_on(desk):
    image, truth = tiny.discs()
    rows, columns = np.mgrid[:64, :64]
    objects = np.stack([rows // 4 * 16 + columns // 4] * len(image)).astype(np.uint16)
    desk.open(image, objects)
    hands = desk.hands
    hands.wait(lambda: hands.reads("numbers of objects", "Train"))
    assert not hands.enabled("Train", "Train")
    desk.viewer.add_labels(tiny.painted(truth, 1, 4), name="classes")
    hands.choose("labels", "classes", "Paint")
    hands.wait(lambda: hands.enabled("Train", "Train"))
    assert not hands.reads("numbers of objects", "Train")


def test_an_image_unlike_the_training_stack_is_remarked_on_in_the_panel(desk, tmp_path):
    image = trained(desk, tmp_path, shift=1000)
    desk.open(image.max() - image)
    hands = desk.hands
    hands.press("Slice")
    desk.finish()
    hands.wait(lambda: hands.reads("inverted", "Segment"))
    assert hands.reads("trained on pixels of 0.5 micrometres", "Segment")
    assert not hands.reads("nothing but background", "Segment")
    for name in hands.layers():
        hands.layer(name)
        hands.press("Delete selected layers")
    desk.open(image, scale=(1, 0.5, 0.5), units=("um", "um", "um"))
    hands.press("Slice")
    desk.finish()
    hands.wait(lambda: "discs a" in hands.layers())
    assert not hands.reads("inverted", "Segment")
    assert not hands.reads("trained on pixels", "Segment")


def test_a_segmentation_of_nothing_is_said_in_the_panel(desk, tmp_path):
    image = trained(desk, tmp_path, shift=-1000)
    desk.open(image, scale=(1, 0.5, 0.5), units=("um", "um", "um"))
    desk.segment()
    desk.hands.wait(lambda: desk.hands.reads("any of the 6 slices", "Segment"))


def test_an_adapter_below_the_forest_is_said_in_the_panel(painted):
    painted.train(steps=1)
    said = "a random forest on the same paint does better than this adapter"
    painted.hands.wait(lambda: painted.hands.reads(said, "Train"))
    assert painted.hands.reads("What would help most: train longer", "Train")


def test_in_a_time_series_no_time_point_of_the_held_out_slice_is_learnt(desk):
    image, truth = tiny.discs(8)
    shape = (2, 4, 64, 64)
    desk.open(image.reshape(shape), tiny.painted(truth, 0, 2, 4, 7).reshape(shape))
    desk.train(steps=2)
    facts = desk.session.adapter.card.training
    leaks = "(next to a slice that training sees)"  # slice 2 of one time point, 3 of the other
    assert facts["held_out"] in (f"slice 2 {leaks}", f"slice 7 {leaks}")
