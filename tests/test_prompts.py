"""Objects from clicks and boxes, by the base as it is."""

from dataclasses import replace

import numpy as np
import pytest
import tifffile
import torch
from scipy import ndimage
from segment_anything import SamPredictor

import tiny
from napari_salt import samples
from napari_salt.core.bases.load import load_base
from napari_salt.core.paint.preprocess import SliceReader
from napari_salt.core.segment.prompts import PromptPredictor
from napari_salt.terms.errors import InputError
from napari_salt.terms.preprocess import Preprocess
from napari_salt.terms.prompt_set import PromptSet

BOX = (10.0, 5.0, 50.0, 40.0)


def picture(height=64, width=64, channels=3):
    """Whole 255ths, as SAM's own predictor reads them."""
    pixels = np.random.default_rng(0).integers(0, 256, (channels, height, width))
    return (pixels / 255).astype(np.float32)


def reference(plane):
    predictor = SamPredictor(tiny.module())
    predictor.set_image((plane * 255).round().astype(np.uint8).transpose(1, 2, 0))
    return predictor


def logits(plane, prompts):
    predictor = PromptPredictor(tiny.base())
    return predictor.logits(predictor.embed(plane), prompts)


def xy(points):
    return np.array(points)[:, ::-1]


def test_a_box_gives_what_sam_gives():
    box = np.array([BOX[1], BOX[0], BOX[3], BOX[2]])
    expected, _, _ = reference(picture()).predict(box=box, multimask_output=False, return_logits=True)
    np.testing.assert_allclose(logits(picture(), PromptSet(box=BOX)), expected[0], atol=1e-4)


def test_clicks_and_a_box_together_give_what_sam_gives():
    points, signs = ((20.0, 15.0), (45.0, 30.0)), (True, False)
    for box in (None, BOX):
        corners = None if box is None else np.array([box[1], box[0], box[3], box[2]])
        expected, _, _ = reference(picture()).predict(
            xy(points), np.array(signs), corners, multimask_output=False, return_logits=True
        )
        found = logits(picture(), PromptSet(points, signs, box))
        np.testing.assert_allclose(found, expected[0], atol=1e-4)


def test_of_a_clicks_meanings_the_best_is_taken():
    masks, quality, _ = reference(picture()).predict(
        xy(((20.0, 15.0),)), np.array([1]), multimask_output=True, return_logits=True
    )
    found = logits(picture(), PromptSet(((20.0, 15.0),), (True,)))
    np.testing.assert_allclose(found, masks[quality.argmax()], atol=1e-4)


@pytest.mark.parametrize("size", [(64, 64), (30, 47), (200, 90), (1, 300)])
def test_the_mask_has_the_slices_own_shape(size):
    predictor = PromptPredictor(tiny.base())
    prompts = PromptSet(((0.0, 0.0), (size[0] - 1.0, size[1] - 1.0)), (True, False))
    mask = predictor.mask(predictor.embed(picture(*size)), prompts)
    assert (mask.shape, mask.dtype) == (size, bool)


def test_prompts_land_on_the_same_place_at_every_size():
    plane = picture(32, 32)
    doubled = np.kron(plane, np.ones((2, 2), np.float32))
    fine = PromptPredictor(tiny.base())
    small = fine.embed(plane)
    large = fine.embed(doubled)
    places = [fine._placed(small, ((7.0, 3.0),)), fine._placed(large, ((14.5, 6.5),))]
    torch.testing.assert_close(*places)


@pytest.fixture
def knows_boxes():
    base = tiny.base()
    return PromptPredictor(replace(base, spec=replace(base.spec, boxes_only=True)))


def test_a_base_that_knows_boxes_gets_boxes_around_a_click(knows_boxes):
    embedding = knows_boxes.embed(picture())
    halves = [side / 8 for side in (14, 26, 46, 84)]
    boxes = [tuple(np.clip((30 - h, 25 - h, 30 + h, 25 + h), 0, 63)) for h in halves]
    offered = [knows_boxes.logits(embedding, PromptSet(box=box)) for box in boxes]
    found = knows_boxes.logits(embedding, PromptSet(((30.0, 25.0),), (True,)))
    # Clicks are decoded in bfloat16 where the processor has it: 8 bits of each number.
    errors = sorted(np.abs(found - logits).max() / np.abs(logits).max() for logits in offered)
    assert errors[0] < 0.02
    assert errors[1] > 2 * errors[0]


def test_more_clicks_are_heeded_by_a_base_that_knows_boxes(knows_boxes):
    embedding = knows_boxes.embed(picture())
    one = PromptSet(((30.0, 25.0),), (True,))
    off = np.argwhere(knows_boxes.mask(embedding, one))[0]
    two = PromptSet((*one.points, (float(off[0]), float(off[1]))), (True, False))

    def agreeing(prompts):
        mask = knows_boxes.mask(embedding, prompts)
        return sum(
            mask[int(y), int(x)] == sign for (y, x), sign in zip(two.points, two.positive, strict=True)
        )

    assert agreeing(two) >= agreeing(one)


def test_the_bundled_base_finds_nuclei():
    truth = tifffile.imread(samples.nuclei3d_instances())[10]
    reader = SliceReader(tifffile.imread(samples.nuclei3d_image()), Preprocess())
    predictor = PromptPredictor(load_base("lite-medsam"))
    embedding = predictor.embed(reader.raw(10))
    scores = []
    for place, number in zip(ndimage.find_objects(truth), range(1, truth.max() + 1), strict=True):
        nucleus = truth == number
        if nucleus.sum() < 60:
            continue
        box = (place[0].start - 0.5, place[1].start - 0.5, place[0].stop - 0.5, place[1].stop - 0.5)
        inside = np.unravel_index(ndimage.distance_transform_edt(nucleus).argmax(), nucleus.shape)
        click = PromptSet(((float(inside[0]), float(inside[1])),), (True,))
        masks = [predictor.mask(embedding, prompts) for prompts in (PromptSet(box=box), click)]
        scores.append([2 * (mask & nucleus).sum() / (mask.sum() + nucleus.sum()) for mask in masks])
    by_box, by_click = np.mean(scores, axis=0)
    assert by_box > 0.6, scores
    assert by_click > 0.3, scores


def test_grey_is_colour_without_colour():
    grey = picture(channels=1)
    colour = np.repeat(grey, 3, 0)
    np.testing.assert_array_equal(logits(grey, PromptSet(box=BOX)), logits(colour, PromptSet(box=BOX)))


def test_the_base_stays_as_it_is():
    base = tiny.base()
    before = {name: tensor.clone() for name, tensor in base.module.state_dict().items()}
    predictor = PromptPredictor(base)
    predictor.mask(predictor.embed(picture()), PromptSet(box=BOX))
    assert all(torch.equal(tensor, before[name]) for name, tensor in base.module.state_dict().items())


@pytest.mark.parametrize(
    ("prompts", "words"),
    [
        ({}, "no prompt"),
        ({"points": ((10.0, 20.0),), "positive": (False,)}, "no prompt"),
        ({"points": ((10.0, 64.0),), "positive": (True,)}, "x=64 is outside"),
        ({"points": ((-1.0, 5.0),), "positive": (True,)}, "y=-1, x=5 is outside"),
        ({"points": ((float("nan"), 5.0),), "positive": (True,)}, "outside"),
        ({"box": (0.0, 0.0, 70.0, 20.0)}, "y=70, x=20 is outside"),
        ({"points": ((1.0, 2.0),)}, "1 points but 0 signs"),
        ({"box": (5.0, 5.0, 5.0, 9.0)}, "is empty"),
    ],
)
def test_prompts_that_say_nothing_are_refused(prompts, words):
    with pytest.raises(InputError, match=words):
        logits(picture(), PromptSet(**prompts))
