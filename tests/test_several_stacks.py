"""Training on several stacks at once: each in its own intensities, scored on a whole one of three."""

import json
from dataclasses import replace

import dask.array as da
import numpy as np
import pytest
import tifffile

import napari_salt as ns
import tiny
from napari_salt.cli import main
from napari_salt.core.metrics import dice
from napari_salt.core.paint.annotations import IGNORE, PaintedSlice
from napari_salt.core.paint.choices import choose_preprocess
from napari_salt.core.paint.crops import Augmentation
from napari_salt.core.paint.split import hold_out
from napari_salt.core.paint.stacks import read_paint, readers_of, training_stacks
from napari_salt.core.train import training
from napari_salt.core.train.forest import forest_held_out_dice
from napari_salt.terms.config import TrainConfig
from napari_salt.terms.errors import InputError
from napari_salt.terms.fingerprint import painted_slices
from napari_salt.terms.preprocess import Preprocess
from tiny import QUICK

IMAGE, TRUTH = tiny.discs(6)
OTHER, OTHER_TRUTH = tiny.discs(8, seed=5)
BRIGHT = 1000 + 30 * OTHER.astype(np.float32)
"""Another stack of the kind, as another microscope would have measured it."""

pytestmark = pytest.mark.usefixtures("tiny_base")


def paint(truth, *slices, value=1):
    return value * tiny.painted(truth, *slices)


PAINT, OTHER_PAINT = paint(TRUTH, 1), paint(OTHER_TRUTH, 2)


def test_two_stacks_are_learnt_from_each_in_its_own_intensities():
    config = replace(QUICK, steps=60, batch_size=4)
    adapter = ns.train([IMAGE, BRIGHT], [paint(TRUTH, 1), paint(OTHER_TRUTH, 2)], config)
    for image, truth in ((IMAGE, TRUTH), (BRIGHT, OTHER_TRUTH)):
        assert dice(ns.segment(image, adapter) == 1, truth == 1) > 0.8


def test_an_adapter_knows_all_its_stacks():
    adapter = ns.train([IMAGE, BRIGHT], [paint(TRUTH, 1, 3), paint(OTHER_TRUTH, 2)], QUICK)
    assert painted_slices(IMAGE, adapter) == (1, 3)
    assert painted_slices(BRIGHT, adapter) == (2,)
    assert painted_slices(OTHER, adapter) == ()
    assert adapter.training["held_out"] == "a block of slice 1, 3 of stack 1, slice 2 of stack 2"


def test_of_three_stacks_one_is_held_out_whole():
    stacks = [IMAGE, BRIGHT, OTHER[:4]]
    paints = [paint(TRUTH, 1, 3, 5), paint(OTHER_TRUTH, 2, 4, 6), paint(OTHER_TRUTH[:4], 0)]
    seen = list(ns.training_events(stacks, paints, QUICK))
    assert "held out: stack 3" in seen[0].message
    assert seen[-1].adapter.training["leak_free"]
    assert any(event.held_out_dice for event in seen)


def slices_of(stack, values):
    """A slice for each group of values, painted with these."""
    targets = [np.array([[0, *some]], np.int16) for some in values]
    return [PaintedSlice(index, target, stack) for index, target in enumerate(targets)]


@pytest.mark.parametrize(
    ("stacks", "chosen"),
    [
        ([[[1, 2]], [[1, 2]], [[1]]], {0, 1}),  # one that shows all classes
        ([[[1, 2]], [[1]], [[1]]], {1, 2}),  # class 2 must be left to learn from
        ([[[1]] * 5, [[1]] * 2, [[1]] * 3], {1}),  # the nearest to a fifth
    ],
)
def test_the_stack_that_is_held_out(stacks, chosen):
    slices = [painted for number, values in enumerate(stacks) for painted in slices_of(number, values)]
    split = hold_out(slices)
    held_out = {painted.stack for painted in split.held_out}
    assert len(held_out) == 1
    assert held_out <= chosen
    assert held_out.isdisjoint(painted.stack for painted in split.training)


def test_slices_of_different_stacks_are_no_neighbours():
    """Slices 3 and 4 lie beside each other in one stack; of two they tell nothing of each other."""
    targets = [tiny.discs(4, seed=seed)[1][0].astype(np.int16) for seed in range(4)]
    places = [(0, 3), (0, 9), (1, 4), (1, 10)]
    slices = [PaintedSlice(index, t, stack) for t, (stack, index) in zip(targets, places, strict=True)]
    split = hold_out(slices)
    assert split.leak_free
    assert len(split.held_out) == 1
    assert "of stack" in split.description


def test_classes_are_those_of_all_stacks():
    stacks = training_stacks([IMAGE, BRIGHT], [paint(TRUTH, 1, value=9), paint(OTHER_TRUTH, 2, value=4)])
    found = read_paint(stacks, TrainConfig())
    assert found.values == (4, 9)
    assert [set(np.unique(painted.target)) for painted in found.slices] == [{0, 2}, {0, 1}]
    assert [(painted.stack, painted.index) for painted in found.slices] == [(0, 1), (1, 2)]
    assert read_paint(stacks, TrainConfig(), (7,)).values == (7, 4, 9)


def test_marks_of_complete_slices_are_each_stacks_own():
    paints = [paint(TRUTH, 1), paint(OTHER_TRUTH, 2)]
    stacks = training_stacks([IMAGE, BRIGHT], paints, marks=[{}, {2: "ignore", 3: "background"}])
    found = read_paint(stacks, TrainConfig())
    assert [(painted.stack, painted.index) for painted in found.slices] == [(0, 1), (1, 2), (1, 3)]
    assert [set(np.unique(painted.target)) for painted in found.slices] == [{0, 1}, {IGNORE, 1}, {0}]


def test_pixel_sizes_are_each_stacks_own():
    """A stack with pixels twice as large is seen at twice the scale."""
    stacks = training_stacks([IMAGE, BRIGHT], [paint(TRUTH, 1), paint(OTHER_TRUTH, 2)], [0.5, 1.0])
    first, second = readers_of(stacks, Preprocess(pixel_size=0.5, pixel_scale=1.0))
    assert (first.scale, second.scale) == (1, 2)
    images, annotations = [stack.image for stack in stacks], read_paint(stacks, TrainConfig())
    assert choose_preprocess(images, annotations, TrainConfig(), tiny.SIZE, 0.5).pixel_size == 0.5


@pytest.fixture
def varied(monkeypatch):
    """What the crops of each training were varied by."""
    found, real = [], training.CropSampler

    def noting(readers, slices, size, augmentation, seed):
        found.append((augmentation.contrast, augmentation.brightness, augmentation.gamma))
        return real(readers, slices, size, augmentation, seed)

    monkeypatch.setattr(training, "CropSampler", noting)
    return found


def test_intensities_are_varied_only_where_they_mean_something_else_elsewhere(varied):
    nothing, usual = (0, 0, 0), (Augmentation.contrast, Augmentation.brightness, Augmentation.gamma)
    adapter = ns.train(IMAGE, PAINT, QUICK)
    ns.train(IMAGE, paint(TRUTH, 1, 3), QUICK, init=adapter)  # more paint on the same stack
    assert set(varied) == {nothing}
    varied.clear()
    ns.train([IMAGE, BRIGHT], [PAINT, OTHER_PAINT], QUICK)
    ns.train(IMAGE, PAINT, replace(QUICK, independent=True))
    ns.train(OTHER, OTHER_PAINT, QUICK, init=adapter)
    assert set(varied) == {usual}


def test_the_rate_is_higher_for_what_is_learnt_from_one_stack():
    auto = replace(QUICK, learning_rate=None)

    def rate(*arguments, config=auto, **options):
        return ns.train(*arguments, config, **options).training["options"]["learning_rate"]

    adapter = ns.train(IMAGE, PAINT, auto)
    assert adapter.training["options"]["learning_rate"] == 4e-3
    assert rate(IMAGE, paint(TRUTH, 1, 3), init=adapter) == 4e-3
    assert rate([IMAGE, BRIGHT], [PAINT, OTHER_PAINT]) == 2e-3
    assert rate(IMAGE, PAINT, config=replace(auto, independent=True)) == 2e-3
    assert rate(OTHER, OTHER_PAINT, init=adapter) == 2e-3
    assert rate(IMAGE, PAINT, config=QUICK) == QUICK.learning_rate


def test_the_forest_is_scored_on_the_same_stack():
    stacks = training_stacks([IMAGE, BRIGHT, OTHER], [paint(TRUTH, 1), *[paint(OTHER_TRUTH, 2)] * 2])
    assert forest_held_out_dice(stacks, read_paint(stacks, TrainConfig()), TrainConfig())[1] > 0.9


def test_a_list_of_planes_is_one_stack():
    stacks = training_stacks([np.asarray(plane) for plane in IMAGE], list(paint(TRUTH, 1)))
    assert [stack.image.shape for stack in stacks] == [IMAGE.shape]
    lazy = training_stacks([da.from_array(IMAGE), BRIGHT], (paint(TRUTH, 1), da.from_array(OTHER_TRUTH)))
    assert [stack.labels.shape for stack in lazy] == [IMAGE.shape, BRIGHT.shape]


COLOUR = np.stack([OTHER] * 3, -1)


@pytest.mark.parametrize(
    ("image", "labels", "options", "message"),
    [
        ([IMAGE], [PAINT, OTHER_PAINT], {}, "2 labels were given for 1: give a list of as many images"),
        (IMAGE, [PAINT, OTHER_PAINT], {}, "2 labels were given for one image"),
        (
            [IMAGE, OTHER],
            [PAINT, PAINT],
            {},
            r"the labels of stack 2 have shape \(6, 64, 64\)",
        ),
        ([IMAGE, COLOUR], [PAINT, OTHER_PAINT], {}, "stack 2 is of another kind than the first"),
        ([IMAGE, OTHER], [PAINT, 0 * OTHER_PAINT], {}, "stack 2: nothing is painted"),
        ([IMAGE, "b.tif"], [PAINT, OTHER_PAINT], {}, "b.tif does not exist: check the path"),
        (
            [IMAGE, OTHER],
            [PAINT, OTHER_PAINT],
            {"pixel_size": [1.0]},
            "1 pixel sizes were given for 2",
        ),
        ([IMAGE, OTHER], [PAINT, OTHER_PAINT], {"pixel_size": [1.0, -2]}, "pixel_size is -2"),
        (
            [IMAGE, OTHER],
            [PAINT, OTHER_PAINT],
            {"config": replace(QUICK, slices=(1,))},
            "slices can be chosen of one stack only",
        ),
    ],
)
def test_what_does_not_fit_together_is_named(image, labels, options, message):
    with pytest.raises(InputError, match=message):
        ns.train(image, labels, **{"config": QUICK, **options})


def test_on_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, data in (("a", IMAGE), ("la", PAINT), ("b", BRIGHT), ("lb", OTHER_PAINT)):
        tifffile.imwrite(f"{name}.tif", data, photometric="minisblack")
    command = ["train", "a.tif", "la.tif", "--stack", "b.tif", "lb.tif", "--out", "out.safetensors"]
    assert main([*command, "--base", "tiny", "--steps", "4", "--device", "cpu", "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["steps"] == 4
    assert "a block of slice 1 of stack 1, slice 2 of stack 2" in told.err
    adapter = ns.Adapter.load("out.safetensors")
    assert painted_slices(BRIGHT, adapter) == (2,)
    assert main([*command, "--base", "tiny", "--steps", "4", "--slices", "1"]) == 2
    assert "slices can be chosen of one stack only" in capsys.readouterr().err
    series = {"imagej": True, "metadata": {"axes": "TZYX"}}
    tifffile.imwrite("b.tif", BRIGHT.reshape(2, 4, 64, 64), **series)
    tifffile.imwrite("lb.tif", OTHER_PAINT.reshape(2, 4, 64, 64), **series)
    assert main([*command, "--base", "tiny", "--steps", "4"]) == 2
    assert "b.tif 4; train together on stacks that agree in that" in capsys.readouterr().err


def test_unrelated_images_of_several_sizes_are_learnt_from_by_folders(tmp_path, capsys):
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for number, side in enumerate((64, 48, 64)):
        image, truth = tiny.discs(1, side, seed=number)
        tifffile.imwrite(tmp_path / "images" / f"{number}.tif", image[0])
        tifffile.imwrite(tmp_path / "labels" / f"{number}.tif", truth[0])
    config = replace(QUICK, independent=True, steps=2)
    adapter = ns.train(tmp_path / "images", tmp_path / "labels", config)
    shapes = [each["data_shape"] for each in (adapter.training, *adapter.training["more_stacks"])]
    assert shapes == [[1, 64, 64], [1, 48, 48], [1, 64, 64]]
    given = ["train", str(tmp_path / "images"), str(tmp_path / "labels" / "*.tif"), "--independent"]
    given += ["--base", "tiny", "--out", str(tmp_path / "a.safetensors")]
    assert main([*given, "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 3
    (tmp_path / "labels" / "1.tif").unlink()
    assert main(given) == 2
    assert "has 3 images, and" in capsys.readouterr().err
