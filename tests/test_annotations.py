"""From paint to targets, the split that scores it, and what is read from its shape."""

import dask.array as da
import numpy as np
import pytest

import tiny
from napari_salt.core.paint.annotations import (
    IGNORE,
    PaintedSlice,
    orientation_matters,
    painted_diameter,
    read_annotations,
)
from napari_salt.core.paint.split import hold_out
from napari_salt.terms.errors import InputError
from napari_salt.terms.paint_checks import MOST_CLASSES


def stack(*planes):
    return np.array(planes, np.uint8)


def scene(seed=0, side=64):
    """One slice with background and two classes in random places."""
    random = np.random.default_rng(seed)
    target = np.zeros((side, side), np.int16)
    for value in (1, 2, 1, 2):
        y, x = random.integers(0, side - 16, 2)
        target[y : y + 12, x : x + 12] = value
    return target


def scenes(*indices, side=64):
    return [PaintedSlice(index, scene(seed, side)) for seed, index in enumerate(indices)]


EMPTY = [[0, 0], [0, 0]]


# What paint means


def test_unpainted_is_background_on_slices_with_paint():
    found = read_annotations(stack(EMPTY, [[0, 5], [9, 0]], EMPTY, [[5, 5], [0, 0]]))
    assert found.values == (5, 9)
    assert [painted.index for painted in found.slices] == [1, 3]
    np.testing.assert_array_equal(found.slices[0].target, [[0, 1], [2, 0]])
    np.testing.assert_array_equal(found.slices[1].target, [[1, 1], [0, 0]])


def test_unpainted_may_say_nothing():
    found = read_annotations(stack([[0, 5], [1, 9]]), unpainted="ignore")
    assert found.values == (5, 9)
    np.testing.assert_array_equal(found.slices[0].target, [[IGNORE, 1], [0, 2]])


def test_complete_slices_and_strokes_are_mixed_in_one_stack():
    labels = stack([[0, 5], [5, 0]], EMPTY, [[0, 5], [0, 0]])
    found = read_annotations(labels, marks={1: "background", 2: "ignore"})
    assert [painted.index for painted in found.slices] == [0, 1, 2]
    np.testing.assert_array_equal(found.slices[0].target, [[0, 1], [1, 0]])
    np.testing.assert_array_equal(found.slices[1].target, EMPTY)
    np.testing.assert_array_equal(found.slices[2].target, [[IGNORE, 1], [IGNORE, IGNORE]])
    found = read_annotations(labels, unpainted="ignore", background_label=9, marks={0: "background"})
    assert [painted.index for painted in found.slices] == [0, 2]
    np.testing.assert_array_equal(found.slices[0].target, [[0, 1], [1, 0]])
    assert (found.slices[1].target == [[IGNORE, 1], [IGNORE, IGNORE]]).all()


def test_another_label_may_mean_background():
    found = read_annotations(stack([[0, 5], [1, 9]]), unpainted="ignore", background_label=9)
    assert found.values == (1, 5)
    np.testing.assert_array_equal(found.slices[0].target, [[IGNORE, 2], [1, 0]])


def test_slices_that_are_named_count_even_without_paint():
    labels = stack(EMPTY, [[0, 5], [0, 0]], [[7, 0], [0, 0]])
    found = read_annotations(labels, slices=(1, 0, 1))
    assert [painted.index for painted in found.slices] == [0, 1]
    assert found.values == (5,)
    assert not found.slices[0].target.any()


def test_a_slice_without_paint_says_nothing_where_unpainted_says_nothing():
    labels = stack(EMPTY, [[0, 5], [1, 0]])
    found = read_annotations(labels, slices=(0, 1), unpainted="ignore")
    assert [painted.index for painted in found.slices] == [1]


def test_an_adapters_classes_come_first_and_stay():
    found = read_annotations(stack([[0, 5], [9, 0]]), values=(9, 4))
    assert found.values == (9, 4, 5)
    np.testing.assert_array_equal(found.slices[0].target, [[0, 3], [1, 0]])


@pytest.mark.parametrize("dtype", ["u1", ">u2", "i4", "i8", "f4", "?"])
def test_types(dtype):
    found = read_annotations(np.array([[[0, 1], [1, 0]]], dtype))
    assert found.values == (1,)
    np.testing.assert_array_equal(found.slices[0].target, [[0, 1], [1, 0]])


def test_large_values_are_kept():
    assert read_annotations(np.array([[[0, 70_000], [300, 0]]], np.uint32)).values == (300, 70_000)


def test_dask_is_as_good_as_numpy():
    labels = stack(EMPTY, [[0, 5], [9, 0]])
    found = read_annotations(da.from_array(labels, chunks=(1, 2, 2)))
    np.testing.assert_array_equal(found.slices[0].target, [[0, 1], [2, 0]])


@pytest.mark.parametrize(
    ("labels", "options", "words"),
    [
        (stack(EMPTY), {}, "nothing is painted"),
        (stack(EMPTY, [[1, 0], [0, 0]]), {"slices": (0,)}, "nothing is painted"),
        (stack([[4, 4], [4, 4]]), {}, "label 4 covers all"),
        (stack([[4, 4], [0, 4]]), {"marks": {0: "ignore"}}, "marked as strokes"),
        (stack([[4, 4], [4, 4]], [[4, 0], [0, 0]]), {"marks": {1: "ignore"}}, "label 4 covers all"),
        (stack([[4, 4], [0, 4]]), {"unpainted": "ignore"}, "background label 1 is not painted"),
        (stack([[1, 1], [0, 0]]), {"unpainted": "ignore"}, "only background"),
        (-1 * np.ones((1, 2, 2)), {}, "-1 on slice 0"),
        (np.array([[[0, -3], [1, 2]]]), {}, "-3 on slice 0"),
        (np.array([[[0, 1.5], [1, 2]]]), {}, "1.5 on slice 0"),
        (np.array([[[0, np.nan], [1, 2]]]), {}, "nan on slice 0"),
        (np.array([[[0, np.inf], [1, 2]]]), {}, "inf on slice 0"),
        (np.zeros((1, 2, 2), complex), {}, "complex"),
        (np.zeros((2, 2), int), {}, "shape"),
        (stack(EMPTY), {"slices": (1,)}, "slice 1 is out of range"),
        (stack(EMPTY), {"slices": (-1,)}, "slice -1 is out of range"),
        (stack(EMPTY), {"background_label": 1}, "unpainted='ignore'"),
        (stack(*3 * [[[0, 2, 0], [0, 2, 0], [0, 0, 0]]]), {}, "x = 1 is one pixel wide.*--plane x"),
        (stack(*3 * [[[0, 0, 0], [2, 2, 2], [0, 0, 0]]]), {}, "y = 1 is one pixel wide.*--plane y"),
    ],
)
def test_what_cannot_be_meant_is_refused(labels, options, words):
    with pytest.raises(InputError, match=words):
        read_annotations(labels, **options)


def objects(count, slices=2, side=96):
    """As many numbered objects, 4 by 4 pixels each, on each of the slices, as Cellpose writes them."""
    rows, columns = np.mgrid[:side, :side]
    numbers = 1 + rows // 6 * (side // 6) + columns // 6
    plane = np.where((rows % 6 < 4) & (columns % 6 < 4) & (numbers <= count), numbers, 0)
    return np.stack([plane.astype(np.uint16)] * slices)


def test_numbers_of_objects_are_no_classes():
    with pytest.raises(InputError, match=r"240 different values .* numbers of objects.* labels > 0"):
        read_annotations(objects(240))
    assert read_annotations(objects(240) > 0).values == (1,)


def test_as_many_classes_as_an_atlas_may_be_learnt():
    assert len(read_annotations(objects(MOST_CLASSES)).values) == MOST_CLASSES
    with pytest.raises(InputError, match=f"{MOST_CLASSES + 1} different values"):
        read_annotations(objects(MOST_CLASSES + 1))
    strokes = read_annotations(objects(MOST_CLASSES + 1), unpainted="ignore")  # 1 is background
    assert len(strokes.values) == MOST_CLASSES


def test_an_adapters_own_classes_may_be_more():
    values = tuple(range(1, MOST_CLASSES + 9))
    assert read_annotations(objects(len(values)), values=values).values == values


def test_an_image_in_the_place_of_the_labels_is_refused_at_its_first_slice():
    class Counting:
        shape, dtype, taken = (500, 64, 64), np.dtype("u2"), 0

        def __getitem__(self, index):
            self.taken += 1
            return tiny.discs(1)[0][0]

    image = Counting()
    with pytest.raises(InputError, match="image and labels are not swapped"):
        read_annotations(image)
    assert image.taken == 1


# What is scored


def known(slices):
    return {s.index: s.target != IGNORE for s in slices}


@pytest.mark.parametrize("indices", [(3,), (3, 9), (3, 9, 20)])
def test_few_slices_give_a_block_each(indices):
    slices = scenes(*indices)
    split = hold_out(slices)
    training, held_out = known(split.training), known(split.held_out)
    for painted in slices:
        learnt, scored = training[painted.index], held_out[painted.index]
        assert not (learnt & scored).any()
        assert (learnt | scored).all()
        assert 0.05 < scored.mean() < 0.3
        rows, columns = np.nonzero(scored)
        assert scored[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].all()
        for value in (1, 2):
            share = (scored & (painted.target == value)).sum() / (painted.target == value).sum()
            assert share < 0.6
    assert all(set(np.unique(s.target)) <= {IGNORE, 0, 1, 2} for s in split.held_out)
    assert split.leak_free


def test_what_is_held_out_keeps_its_meaning():
    slices = scenes(3, 9)
    split = hold_out(slices)
    for whole, learnt, scored in zip(slices, split.training, split.held_out, strict=True):
        together = np.where(scored.target == IGNORE, learnt.target, scored.target)
        np.testing.assert_array_equal(together, whole.target)


@pytest.mark.parametrize("count", [4, 5, 10, 11])
def test_more_slices_give_whole_slices(count):
    slices = scenes(*range(0, 7 * count, 7))
    split = hold_out(slices)
    assert {s.index for s in split.training} | {s.index for s in split.held_out} == {s.index for s in slices}
    assert not {s.index for s in split.training} & {s.index for s in split.held_out}
    assert 1 <= len(split.held_out) <= max(1, count // 5)
    assert split.leak_free
    assert all((s.target != IGNORE).all() for s in (*split.training, *split.held_out))


def test_neighbours_leak_and_it_is_said():
    split = hold_out(scenes(1, 2, 3, 4))
    assert not split.leak_free
    assert "next to" in split.description


def test_the_slice_that_stands_alone_is_held_out():
    split = hold_out(scenes(1, 2, 3, 30))
    assert [s.index for s in split.held_out] == [30]
    assert split.leak_free


def times(group, *places):
    """Slices at (time point, z) of a series with `group` slices each."""
    return scenes(*(t * group + z for t, z in places))


@pytest.mark.parametrize(
    ("places", "held_out"),
    [
        (
            [(0, 3), (0, 12), (1, 3), (1, 20)],
            {20},
        ),  # not 12 or 20 of one time point by chance: 3 is twice there
        ([(t, z) for t in range(4) for z in (2, 8, 14, 20, 26)], {8, 14, 20}),
    ],
)
def test_of_a_time_series_a_slice_is_held_out_at_all_times(places, held_out):
    group = 30
    split = hold_out(times(group, *places), group)
    scored, learnt = ({s.index % group for s in part} for part in (split.held_out, split.training))
    assert len(scored) == 1
    assert not scored & learnt
    assert scored <= held_out | {12}
    assert len(split.held_out) <= max(1, len(places) // 5)
    assert split.leak_free


def test_neighbours_at_another_time_leak_and_it_is_said():
    assert hold_out(scenes(3, 33, 60, 90)).leak_free  # a single stack
    split = hold_out(times(30, (0, 3), (1, 4), (2, 5), (3, 6)), 30)
    assert not split.leak_free


@pytest.mark.parametrize(
    ("slices", "group"),
    [
        (scenes(0, 1, 2, 3, 4, 5), 1),  # one slice at six times
        (times(30, (0, 7), (1, 7), (2, 7), (0, 21), (1, 21), (2, 21)), 30),  # each is half of the paint
        (scenes(7, 8), None),
    ],
)
def test_what_cannot_be_held_out_whole_gives_the_same_block_of_neighbours(slices, group):
    split = hold_out(slices, group)
    scored, learnt = known(split.held_out), known(split.training)
    for first in slices:
        for second in slices:
            if group is None or first.index % group == second.index % group:
                assert not (scored[first.index] & learnt[second.index]).any()
                assert scored[first.index].any()
    assert split.leak_free


def test_no_class_is_held_out_entirely():
    slices = scenes(0, 10, 20, 30, 40)
    for painted in slices[:-1]:
        painted.target[painted.target == 2] = 0
    split = hold_out(slices)
    assert any((s.target == 2).any() for s in split.training)


def test_strokes_are_split_as_well():
    target = np.full((64, 64), IGNORE, np.int16)
    target[10:13, 5:60], target[40:43, 5:60] = 0, 1
    split = hold_out([PaintedSlice(0, target)])
    for part in (*split.training, *split.held_out):
        assert {0, 1} <= set(np.unique(part.target).tolist())


# What the paint's shape tells


def ellipse(y, x, height, width, side=96):
    rows, columns = np.mgrid[:side, :side]
    return ((rows - y) / height) ** 2 + ((columns - x) / width) ** 2 < 1


def test_anatomy_has_an_orientation_and_cells_have_none():
    random = np.random.default_rng(0)
    organs, cells = [], []
    for index in range(3):
        dy, dx = random.normal(0, 1.5, 2)
        organs.append(PaintedSlice(index, ellipse(40 + dy, 30 + dx, 14 + index, 10).astype(np.int16)))
        blobs = [ellipse(*random.uniform(8, 88, 2), 7, 7) for _ in range(6)]
        cells.append(PaintedSlice(index, np.any(blobs, 0).astype(np.int16)))
    assert orientation_matters(organs)
    assert not orientation_matters(cells)
    assert not orientation_matters(organs[:1])


def test_classes_that_never_meet_tell_nothing():
    first, second = np.zeros((2, 32, 32), np.int16)
    first[4:10, 4:10], second[4:10, 4:10] = 1, 2
    assert not orientation_matters([PaintedSlice(0, first), PaintedSlice(5, second)])


def test_strokes_that_hardly_meet_tell_nothing():
    first, second = (np.full((64, 64), IGNORE, np.int16) for _ in range(2))
    first[20:24, :30], first[40:44, :30] = 1, 0
    second[20:30, 5:9], second[36:44, 5:9] = 1, 0
    assert not orientation_matters([PaintedSlice(0, first), PaintedSlice(5, second)])


@pytest.mark.parametrize("diameter", [6, 15, 40])
def test_the_diameter_is_that_of_the_discs(diameter):
    target = ellipse(48, 48, diameter / 2, diameter / 2).astype(np.int16)
    assert painted_diameter([PaintedSlice(0, target)]) == pytest.approx(diameter, rel=0.2)


def test_the_smallest_class_decides():
    target = ellipse(60, 60, 20, 20).astype(np.int16)
    target[ellipse(15, 15, 4, 4)] = 2
    assert painted_diameter([PaintedSlice(0, target)]) == pytest.approx(8, abs=2)


def test_strokes_are_told_from_whole_objects():
    lines = np.zeros((1, 200, 200), np.uint8)
    lines[0, 20:24, 20:150], lines[0, 60:180, 100:104] = 1, 2
    assert read_annotations(lines).looks_like_strokes
    assert not read_annotations(tiny.discs()[1]).looks_like_strokes
    lines[0, 100, 5] = 1
    both = np.where(lines == 2, 1, lines + (lines > 0))
    assert not read_annotations(both, unpainted="ignore").looks_like_strokes
