"""Objects: painted by number, separated in a slice, linked through slices, scored."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from skimage.measure import label

import napari_salt as ns
import tiny
from napari_salt.cli import main
from napari_salt.core.paint.annotations import IGNORE
from napari_salt.core.paint.choices import choose_preprocess
from napari_salt.core.paint.objects import BORDER, INSIDE, areas_of, border_width, inside_and_border
from napari_salt.core.paint.stacks import read_paint, training_stacks
from napari_salt.core.segment import objects
from napari_salt.core.segment.objects import numbered, separated
from napari_salt.io import read_labels
from napari_salt.terms.card import AdapterCard
from napari_salt.terms.config import SegmentConfig, TrainConfig
from napari_salt.terms.errors import AdapterError, InputError
from napari_salt.terms.events import SliceResult
from tiny import QUICK

pytestmark = pytest.mark.usefixtures("tiny_base")

OBJECTS = replace(QUICK, painted="objects")


def squares(shape, *places, side=6):
    """Squares numbered from 1 at (row, column)."""
    plane = np.zeros(shape, np.int64)
    for number, (row, column) in enumerate(places, start=1):
        plane[row : row + side, column : column + side] = number
    return plane


def touching_discs(count=4):
    """A stack of pairs of bright discs that touch, and the number of each disc."""
    image, numbers = np.full((count, 64, 64), 100.0), np.zeros((count, 64, 64), np.uint16)
    rows, columns = np.mgrid[:64, :64]
    for index in range(count):
        for number, (row, column) in enumerate([(20, 18), (20, 35), (46, 28), (46, 45)], start=1):
            disc = (rows - row) ** 2 + (columns - column - index) ** 2 < 9**2
            numbers[index][disc] = number
            image[index][disc] = 1000
    edge = [inside_and_border(plane.astype(np.int64), 1) == BORDER for plane in numbers]
    image[edge] = 600
    noise = np.random.default_rng(0).normal(0, 20, image.shape)
    return (image + noise).astype(np.float32), numbers


# What is painted


def test_borders_lie_inside_objects_against_others_and_background():
    target = inside_and_border(squares((8, 14), (1, 1), (1, 7)), 1)
    assert (target[2:6, 2:6] == INSIDE).all()
    assert (target[2:6, 8:12] == INSIDE).all()
    assert (target[2:6, [1, 6, 7, 12]] == BORDER).all()
    assert (target[[1, 6], 1:13] == BORDER).all()
    assert not target[0].any()


def test_what_is_not_known_makes_no_border():
    plane = squares((8, 14), (1, 1), (1, 7))
    plane[plane == 2] = 9  # painted background
    target = inside_and_border(plane, 1, 9, unpainted_is_background=False)
    assert (target[plane == 0] == IGNORE).all()
    assert (target[plane == 9] == 0).all()
    assert (target[1:7, 1:6] == INSIDE).all()
    assert (target[1:7, 6] == BORDER).all()


def test_an_object_that_is_nothing_but_border_is_inside():
    plane = squares((8, 8), (1, 1), side=2)
    plane[4:8, 4:8] = 2
    target = inside_and_border(plane, 1)
    assert (target[plane == 1] == INSIDE).all()
    assert set(np.unique(target[plane == 2])) == {INSIDE, BORDER}


@pytest.mark.parametrize(("side", "width"), [(4, 1), (12, 3), (30, 7)])
def test_large_objects_have_wide_borders(side, width):
    assert border_width(areas_of([squares((100, 100), (0, 0), (50, 50), side=side)])) == width
    assert border_width(areas_of([np.zeros((4, 4), np.int64)])) == 1


def test_hundreds_of_objects_are_two_classes():
    rows, columns = np.mgrid[:60, :60]
    numbers = (rows // 3 * 20 + columns // 3 + 1)[None]
    found = read_paint(training_stacks(numbers, numbers), OBJECTS)
    assert (found.values, found.border) == ((1, 2), 2)
    with pytest.raises(InputError, match="numbers of objects"):
        read_paint(training_stacks(numbers, numbers), QUICK)


def test_an_image_in_the_place_of_objects_is_refused():
    grey = np.random.default_rng(0).integers(0, 60_000, (2, 32, 32), np.uint16)
    with pytest.raises(InputError, match=r"half of the \d+ objects have no more than 1 pixels"):
        read_paint(training_stacks(grey, grey), OBJECTS)


def scale_for(numbers, kind):
    """The pixel scale that is chosen for a large slice full of such objects."""
    config = TrainConfig(painted=kind)
    paint = numbers if kind == "objects" else (numbers > 0).astype(np.uint8)
    stacks = training_stacks(np.zeros(paint.shape) + np.arange(paint.shape[-1]), paint)
    return choose_preprocess([stacks[0].image], read_paint(stacks, config), config, 256, None).pixel_scale


def test_the_scale_is_chosen_for_objects_not_for_their_borders():
    """Objects of 18 pixels are enlarged to 28; larger ones are seen as classes are."""
    _, numbers = touching_discs(1)
    small = np.tile(numbers, (1, 8, 8))
    assert 1.3 < scale_for(small, "objects") < 1.8
    assert scale_for(small, "classes") <= 1
    large = np.kron(numbers, np.ones((1, 8, 8), np.uint16))
    assert scale_for(large, "objects") == scale_for(large, "classes")


def test_how_objects_are_divided_is_learnt_from_the_painted_ones():
    """Round ones may be divided at a slight waist; where painted ones have a waist, only at a deep one."""
    rows, columns = np.mgrid[:40, :80]
    round_ones, waisted = np.zeros((2, 40, 80), np.int64)
    for number, middle in enumerate((20, 60), start=1):
        round_ones[(rows - 20) ** 2 + (columns - middle) ** 2 < 12**2] = number
        for side in (-9, 9):
            waisted[(rows - 20) ** 2 + (columns - middle - side) ** 2 < 11**2] = number
    learnt = {}
    for name, plane in (("round", round_ones), ("waisted", waisted)):
        paint = read_paint(training_stacks(plane[None], plane[None]), OBJECTS)
        learnt[name] = paint.divided
        inside = (255 * (paint.slices[0].target == INSIDE)).astype(np.uint8)
        found = separated((plane > 0)[None], inside[None], paint.divided)
        assert len(np.unique(found)) == 3
    assert learnt["round"] == 0.05
    assert learnt["waisted"] > 0.1


# From classes to objects


def seen(plane):
    """What an adapter that knows everything finds of a slice of numbered objects."""
    target = inside_and_border(np.asarray(plane, np.int64), 1)
    return 0.1 + 0.7 * np.stack([target == number for number in (0, INSIDE, BORDER)]).astype(np.float32)


def separate(probabilities):
    """Objects of a slice by itself."""
    inside = np.rint(255 * probabilities[INSIDE]).astype(np.uint8)
    return separated((probabilities[0] < 0.5)[None], inside[None])[0]


def test_touching_objects_come_apart():
    plane = squares((10, 16), (1, 1), (1, 7))
    assert len(np.unique(final(numbered(results([plane]), borders=False)))) == 2
    found = separate(seen(plane))
    assert len(np.unique(found)) == 3
    assert not found[plane == 0].any()
    first, second = (np.unique(found[plane == number]) for number in (1, 2))
    assert len(first) == len(second) == 1
    assert first != second


def test_a_speck_is_no_object_and_one_without_an_inside_is():
    plane = squares((60, 60), (2, 2), (2, 32), side=24)
    probabilities = seen(plane)
    sure = np.array([0.1, 0.1, 0.8])
    probabilities[:, 8:11, 8:11] = sure[:, None, None]
    probabilities[:, 9, 9] = 0.1, 0.8, 0.1  # an inside of one pixel within another's
    probabilities[:, 40:46, 40:46] = sure[:, None, None]  # nothing but border
    probabilities[:, 50, 50] = sure  # a speck
    found = separate(probabilities)
    assert len(np.unique(found)) == 4
    assert found[43, 43]
    assert not found[50, 50]
    assert found[9, 9] == found[20, 20]


def results(planes, classes=None):
    """Slices as `segmentation_events` finds them, of planes of numbered objects."""
    for index, plane in enumerate(planes):
        labels = (plane > 0).astype(np.uint8) if classes is None else classes[index]
        yield SliceResult(index, labels, seen(plane), 1)


def final(found):
    """The numbers of each slice, which come once, and after its classes."""
    found = list(found)
    first = [result.index for result in found if not result.final]
    numbers = [result for result in found if result.final]
    assert [result.index for result in numbers] == first == sorted(first)
    places = {(result.index, result.final): place for place, result in enumerate(found)}
    assert all(places[index, False] < places[index, True] for index in first)
    assert all(result.labels.dtype == np.int32 for result in numbers)
    assert sum(result.tiles for result in found) == len(first)
    return [result.labels for result in numbers]


def test_objects_are_those_of_the_volume():
    planes = [
        squares((20, 30), (2, 2), (2, 12)),
        squares((20, 30), (3, 13), (3, 3)),  # numbered the other way round
        squares((20, 30), (3, 3)),
        squares((20, 30), (3, 3), (3, 13)),  # another one in the old place: the slice above is empty there
    ]
    found = final(numbered(results(planes), borders=True))
    assert [int(plane[5, 5]) for plane in found] == [1, 1, 1, 1]
    assert [int(plane[5, 15]) for plane in found] == [2, 2, 0, 3]


def test_objects_that_touch_in_one_slice_are_two_in_the_volume():
    apart, touching = squares((20, 30), (2, 2), (2, 10)), squares((20, 30), (2, 2), (2, 8))
    found = final(numbered(results([apart, touching, apart]), borders=True))
    assert len(np.unique(found)) == 3
    assert found[0][5, 5] == found[2][5, 5] != found[0][5, 12] == found[2][5, 12]


@pytest.mark.parametrize(
    ("options", "same"),
    [({}, True), ({"unrelated": True}, False), ({"group": 1}, False), ({"group": 2}, True)],
)
@pytest.mark.parametrize("borders", [True, False])
def test_objects_reach_only_through_what_belongs_together(borders, options, same):
    planes = [squares((20, 30), (2, 2))] * 2
    first, second = (
        int(plane.max()) for plane in final(numbered(results(planes), borders=borders, **options))
    )
    assert (first, second) == ((1, 1) if same else (1, 2))


def test_objects_end_at_a_gap():
    planes = [squares((20, 30), (2, 2))] * 3
    apart = (result for result in results(planes) if result.index != 1)
    assert [int(plane.max()) for plane in final(numbered(apart, borders=True))] == [1, 2]


@pytest.mark.parametrize("borders", [True, False])
def test_a_volume_in_blocks_has_the_objects_of_the_whole(monkeypatch, borders):
    """Columns that lean, begin and end in any slice; two of them touch in some."""
    planes = np.zeros((40, 24, 64), np.int64)
    for number, (first, last, left) in enumerate(
        [(0, 40, 2), (0, 40, 11), (5, 9, 34), (14, 40, 34)], start=1
    ):
        for z in range(first, last):
            lean = (0, 0 if 15 < z < 20 else 1, 0, z // 4)[number - 1]
            planes[z, 4:12, left + lean : left + lean + 9] = number
    whole = np.stack(final(numbered(results(planes), borders=borders)))
    monkeypatch.setattr(objects, "BLOCK_VOXELS", 12 * 24 * 64)
    assert objects.block_length(24 * 64) == 12
    seen_when_told = []
    events = []
    for event in numbered(results(planes), borders=borders):
        events.append(event)
        if event.final:
            seen_when_told.append(sum(not each.final for each in events) - event.index)
    assert max(seen_when_told) <= (12 if borders else 40)
    blocks = np.stack(final(iter(events)))
    pairs = set(zip(whole.ravel().tolist(), blocks.ravel().tolist(), strict=True))
    assert len(pairs) == len({one for one, _ in pairs}) == len({other for _, other in pairs})
    assert len(pairs) == 1 + (4 if borders else 3)


def test_pieces_are_those_that_the_whole_volume_has():
    classes = np.random.default_rng(0).integers(0, 3, (6, 20, 20)) * np.indices((6, 20, 20)).sum(0) % 4
    found = final(numbered(results(classes, classes.astype(np.uint8)), borders=False))
    np.testing.assert_array_equal(found, label(classes, background=0, connectivity=3))
    assert 3 < np.max(found) < 300


def test_objects_of_two_classes_are_two():
    plane = squares((20, 30), (2, 2))
    classes = [(plane > 0).astype(np.uint8), 2 * (plane > 0).astype(np.uint8)]
    found = final(numbered(results([plane, plane], classes), borders=False))
    assert [int(each.max()) for each in found] == [1, 2]


def test_what_the_memory_cannot_hold_is_refused_before(trained, monkeypatch):
    monkeypatch.setattr(objects, "BYTES_PER_VOXEL", 10**12)
    image, _ = touching_discs()
    with pytest.raises(InputError, match=r"takes .* GB of memory, and .* GB are free; close other programs"):
        ns.segment(image, trained, SegmentConfig(objects=True))


# The whole job


@pytest.fixture(scope="module")
def trained():
    with pytest.MonkeyPatch.context() as monkeypatch:
        tiny.use(monkeypatch)
        image, numbers = touching_discs()
        paint = np.zeros_like(numbers)
        paint[[0, 3]] = numbers[[0, 3]]
        return ns.train(image, paint, replace(OBJECTS, steps=150, batch_size=4))


def test_what_is_smaller_than_painted_objects_is_none(trained, tmp_path):
    rows, columns = np.mgrid[:40, :160]
    painted = np.zeros((40, 160), np.int64)
    for number, (middle, radius) in enumerate(((15, 7), (40, 8), (70, 9), (100, 9), (130, 9)), start=1):
        painted[(rows - 20) ** 2 + (columns - middle) ** 2 < radius**2] = number
    (smallest,) = read_paint(training_stacks(painted[None], painted[None]), OBJECTS).smallest
    areas = np.bincount(painted.ravel())[1:]
    assert 0.5 * areas.min() <= smallest < areas.min()
    found = np.zeros((3, 40, 160), bool)
    found[1] = painted > 0
    found[0, 18:23, 68:73] = True  # the end of the third: it is judged by where it is largest
    found[2, 5:9, 5:9] = True
    inside = (255 * found).astype(np.uint8)
    assert separated(found, inside, 0.4, smallest).max() == 5
    assert separated(found, inside, 0.4).max() == 6

    discs = np.bincount(touching_discs()[1][0].ravel())[1:]
    assert trained.smallest == pytest.approx(0.5 * trained.preprocess.pixel_scale**2 * discs.min(), rel=0.1)
    trained.save(tmp_path / "a.safetensors")
    assert ns.Adapter.load(tmp_path / "a.safetensors").smallest == trained.smallest


def test_an_adapter_of_objects_finds_classes_as_others_do(trained):
    image, numbers = touching_discs()
    assert (trained.border, trained.values) == (2, (1, 2))
    assert [info.name for info in trained.classes] == ["object", "object border"]
    found = ns.segment(image, trained)
    assert found.dtype == np.uint8
    assert set(np.unique(found)) == {0, 1}
    assert ns.evaluate(found, (numbers > 0).astype(np.uint8)).mean_dice > 0.9


def test_objects_of_a_volume_have_numbers(trained):
    """The tiny base sees pixels in blocks of eight, and cannot part what touches."""
    image, _ = touching_discs()
    found = ns.segment(image, trained, SegmentConfig(objects=True))
    assert found.dtype == np.int32
    assert ns.evaluate(found > 0, ns.segment(image, trained) > 0).mean_dice > 0.95  # but for specks
    assert len(np.unique(found)) >= 2
    assert found[0].any()
    assert set(np.unique(found[0])) <= set(np.unique(found[-1]))


def test_the_file_says_which_class_is_border(trained, tmp_path):
    path = trained.save(tmp_path / "a.safetensors")
    assert ns.Adapter.load(path).border == AdapterCard.read(path).border == 2
    assert "border" not in tiny.adapter().metadata()
    for wrong in ("1", "3", "-2", "x", "1e9"):
        metadata = trained.metadata() | {"border": wrong}
        with pytest.raises(AdapterError, match="border"):
            AdapterCard.from_metadata(path, metadata, {}, {})


def test_training_goes_on_only_from_an_adapter_that_knows_borders(trained):
    image, numbers = touching_discs()
    assert ns.train(image, numbers, OBJECTS, init=trained).border == 2
    classes = ns.train(image, (numbers > 0).astype(np.uint8), QUICK)
    with pytest.raises(InputError, match="has the classes 1, and no borders of objects"):
        ns.train(image, numbers, OBJECTS, init=classes)


@pytest.fixture
def files(tmp_path, monkeypatch, trained):
    monkeypatch.chdir(tmp_path)
    image, numbers = touching_discs()
    tifffile.imwrite("image.tif", image, photometric="minisblack")
    tifffile.imwrite("numbers.tif", numbers, photometric="minisblack")
    trained.save("a.safetensors")


@pytest.mark.usefixtures("files")
def test_objects_on_the_command_line(capsys):
    segment = ["segment", "image.tif", "--adapter", "a.safetensors", "--device", "cpu"]
    train = ["train", "image.tif", "numbers.tif", "--painted", "objects", "--base", "tiny", "--steps", "2"]
    assert main([*train, "--out", "b.safetensors"]) == 0
    assert AdapterCard.read("b.safetensors").border == 2
    assert main([*segment, "--objects", "--out", "o.tif"]) == 0
    assert read_labels("o.tif").data.dtype == np.int32
    capsys.readouterr()
    assert main(["evaluate", "o.tif", "numbers.tif", "--objects", "--json"]) == 0
    score = json.loads(capsys.readouterr().out)
    assert (score["true"], score["predicted"]) == (4, int(read_labels("o.tif").data.max().compute()))
    assert main(["evaluate", "o.tif", "numbers.tif", "--objects", "--each-slice"]) == 0
    assert "16 are labelled" in capsys.readouterr().out
    for wrong in (["--resume"], ["--dask", "tcp://127.0.0.1:1"]):
        assert main([*segment, "--objects", "--out", "o.tif", *wrong]) == 2
        assert f"leave out {wrong[0]}" in capsys.readouterr().err
    assert main(["evaluate", "o.tif", "numbers.tif", "--objects", "--3d"]) == 2
    assert "leave out --classes and --3d" in capsys.readouterr().err


# Scores


def test_scores_of_objects():
    truth = squares((20, 30), (2, 2), (2, 12), (10, 2))[None]
    found = squares((20, 30), (2, 2), (2, 14), (12, 20))[None]
    found[0, 10:16, 2:6] = 7  # two thirds of the third
    score = ns.evaluate_objects(found, truth)
    # (2, 14) and (2, 12) share 24 of 48 pixels, no match; matched are the first wholly, the third by 2/3.
    assert (score.predicted, score.true, score.matched) == (4, 3, 2)
    assert score.ap50 == pytest.approx(2 / 5)
    assert score.pq == pytest.approx((1 + 2 / 3) / 3.5)


def test_objects_end_with_their_slice_if_one_says_so():
    plane = squares((20, 30), (2, 2))
    truth, found = np.stack([plane, plane]), np.stack([plane, 5 * plane])
    assert ns.evaluate_objects(found, truth).matched == 0
    assert ns.evaluate_objects(found, truth, each_slice=True).matched == 2
    assert ns.evaluate_objects(found, truth, mask=np.stack([plane > 0, plane < 0])).ap50 == 1


def test_nothing_agrees_with_nothing():
    empty = np.zeros((2, 4, 4), np.uint8)
    assert ns.evaluate_objects(empty, empty).ap50 == 1
    assert TrainConfig().painted == "classes"
