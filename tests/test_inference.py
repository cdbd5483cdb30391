"""Tiles, their blending, and whole stacks, segmented slice by slice."""

import dask.array as da
import numpy as np
import pytest
import torch
import zarr
from torch import nn

import tiny
from napari_salt.core.devices import precision
from napari_salt.core.segment.predictor import SlicePredictor
from napari_salt.core.segment.stack import segmentation_events
from napari_salt.core.segment.whole import segment
from napari_salt.core.tiles import VIEWS, tiles_of
from napari_salt.terms.config import SegmentConfig
from napari_salt.terms.errors import DeviceError, InputError
from napari_salt.terms.preprocess import Preprocess
from napari_salt.terms.stack import label_dtype

pytestmark = pytest.mark.usefixtures("tiny_base")


class Constant(nn.Module):
    """A model that sees the same everywhere: logit k + 1 for class k, and how often it was asked."""

    input_size, n_classes, device = 64, 2, torch.device("cpu")

    def __init__(self, largest_batch=100):
        super().__init__()
        self.anything = nn.Parameter(torch.zeros(1))
        self.largest_batch, self.batches = largest_batch, []

    def forward(self, images):
        if len(images) > self.largest_batch:
            raise torch.OutOfMemoryError
        self.batches.append(len(images))
        return torch.tensor([1.0, 2.0]).view(1, 2, 1, 1).expand(len(images), 2, 64, 64)


class Itself(Constant):
    """A model whose logits are the pixels that it sees."""

    n_classes = 1

    def forward(self, images):
        return images[:, :1]


# Tiles


@pytest.mark.parametrize("overlap", [0, 8, 31])
@pytest.mark.parametrize("size", [(64, 64), (10, 200), (65, 129), (300, 64), (1, 1), (127, 128)])
def test_tiles_cover_and_overlap(size, overlap):
    tiles = tiles_of(size, 64, overlap)
    seen = np.zeros(size, int)
    for tile in tiles:
        assert tile.top >= 0
        assert tile.left >= 0
        seen[tile.top : tile.top + 64, tile.left : tile.left + 64] += 1
    assert seen.min() >= 1
    assert len(set(tiles)) == len(tiles)
    for places, length in (
        (sorted({t.top for t in tiles}), size[0]),
        (sorted({t.left for t in tiles}), size[1]),
    ):
        assert max(np.diff(places), default=0) <= 64 - overlap
        assert max(places) + 64 <= max(length, 64)
        assert len(places) == max(1, int(np.ceil((length - overlap) / (64 - overlap))))


@pytest.mark.parametrize("overlap", [0, 16, 32, 64, 500])
@pytest.mark.parametrize("size", [(64, 64), (90, 200), (20, 30), (65, 64)])
def test_a_constant_stays_constant(size, overlap):
    logits = SlicePredictor(Constant(), overlap).logits(torch.rand(3, *size))
    assert logits.shape == (2, *size)
    torch.testing.assert_close(logits[0], torch.ones(size))
    torch.testing.assert_close(logits[1], 2 * torch.ones(size))


@pytest.mark.parametrize("size", [(64, 64), (90, 200), (20, 30)])
def test_every_pixel_lands_where_it_was(size):
    image = torch.rand(1, *size).expand(3, -1, -1)
    logits = SlicePredictor(Itself(), 16).logits(image)
    torch.testing.assert_close(logits, image[:1], atol=1e-5, rtol=1e-5)


def test_only_tiles_that_are_wanted_are_computed():
    model = Constant()
    wanted = torch.zeros(200, 200, dtype=torch.bool)
    wanted[5, 190] = True
    logits = SlicePredictor(model, 0).logits(torch.rand(3, 200, 200), wanted)
    assert 1 <= sum(model.batches) <= 2
    assert logits[0, 5, 190] == 1
    assert not logits[:, 150:, :50].any()


def test_too_large_batches_are_halved():
    model = Constant(largest_batch=2)
    logits = SlicePredictor(model, 0, batch_size=9).logits(torch.rand(3, 192, 192))
    assert sum(model.batches) == 9
    assert max(model.batches) == 2
    torch.testing.assert_close(logits[0], torch.ones(192, 192))


def test_no_memory_for_one_tile_is_an_error_of_the_user():
    with pytest.raises(DeviceError, match="out of memory"):
        SlicePredictor(Constant(largest_batch=0), 0, batch_size=4).logits(torch.rand(3, 64, 64))


def test_other_failures_are_not_taken_for_lack_of_memory():
    model = Constant()
    model.forward = lambda images: torch.zeros(2, 3) @ torch.zeros(2, 3)
    with pytest.raises(RuntimeError, match="shapes"):
        SlicePredictor(model, 0, batch_size=4).logits(torch.rand(3, 64, 64))


# Stacks


def an_adapter(values=(3, 200), **rule):
    return tiny.adapter(values, preprocess=Preprocess(**rule))


@pytest.fixture(scope="module")
def stack():
    return tiny.discs(4, 90)[0]


def test_the_batch_size_does_not_matter(stack):
    one, three = (
        next(segmentation_events(stack, an_adapter(), SegmentConfig(batch_size=count, overlap=16)))
        for count in (1, 3)
    )
    assert one.tiles == three.tiles == 4
    np.testing.assert_allclose(one.probabilities, three.probabilities, atol=1e-3)


def test_lazy_stacks_give_the_same(stack):
    expected = segment(stack, an_adapter())
    assert set(np.unique(expected)) <= {0, 3, 200}
    lazy, stored = da.from_array(stack, chunks=(1, -1, -1)), zarr.create_array(store={}, data=stack)
    for other in (lazy, stored):
        np.testing.assert_array_equal(segment(other, an_adapter()), expected)


def test_slices_that_were_not_asked_for_are_0(stack):
    everything = segment(stack, an_adapter())
    some = segment(stack, an_adapter(), SegmentConfig(slices=(3, 1)))
    np.testing.assert_array_equal(some[[1, 3]], everything[[1, 3]])
    assert not some[[0, 2]].any()
    assert everything[[0, 2]].any()
    picked = [r.index for r in segmentation_events(stack, an_adapter(), SegmentConfig(slices=(3, 1)))]
    assert picked == [3, 1]


def test_results_are_what_their_docstring_says(stack):
    (result,) = segmentation_events(stack[:1], an_adapter())
    assert result.probabilities.shape == (3, 90, 90)
    assert result.probabilities.dtype == np.float32
    np.testing.assert_allclose(result.probabilities.sum(0), 1, atol=1e-5)
    expected = np.array([0, 3, 200])[result.probabilities.argmax(0)]
    np.testing.assert_array_equal(result.labels, expected)


@pytest.mark.parametrize(("scale", "side"), [(1.0, 20), (0.5, 90), (2.0, 30), (0.01, 90)])
def test_any_size_and_scale_gives_the_slices_own_shape(scale, side):
    image = tiny.discs(1, side)[0][:, :, : side - 3]
    result = next(segmentation_events(image, an_adapter(pixel_scale=scale)))
    assert result.labels.shape == image.shape[1:]


@pytest.mark.parametrize("overlap", [0, 40, 64, 100])
def test_any_overlap_is_fine_and_tiles_are_counted(stack, overlap):
    config = SegmentConfig(slices=(0,), overlap=overlap)
    result = next(segmentation_events(stack, an_adapter(pixel_scale=1.4), config))
    assert result.tiles == len(tiles_of((126, 126), 64, min(overlap, 32)))


@pytest.mark.parametrize(
    ("values", "dtype"),
    [((1,), "u1"), ((255,), "u1"), ((3, 256), "u2"), ((65_535,), "u2"), ((70_000,), "u4")],
)
def test_label_types_follow_the_values(values, dtype, stack):
    assert label_dtype(values) == np.dtype(dtype)
    found = segment(stack[:1], an_adapter(values))
    assert found.dtype == np.dtype(dtype)
    assert set(np.unique(found)) <= {0, *values}


def test_colour(stack):
    colour = np.stack([stack] * 3, axis=-1)
    grey = next(segmentation_events(stack, an_adapter())).probabilities
    found = next(segmentation_events(colour, an_adapter(channels=3))).probabilities
    np.testing.assert_allclose(found, grey, atol=1e-4)


def test_pixel_sizes_are_made_up_for(stack):
    adapter = an_adapter(pixel_scale=1.0, pixel_size=0.5)
    doubled = np.kron(stack[:1, :48, :48], np.ones((2, 2), stack.dtype))
    coarse = next(segmentation_events(stack[:1, :48, :48], adapter, pixel_size=0.5)).probabilities
    fine = next(segmentation_events(doubled, adapter, pixel_size=0.25)).probabilities
    assert np.abs(fine[:, ::2, ::2] - coarse).mean() < 0.05


def test_slices_that_are_not_there_are_refused(stack):
    for wrong in (4, -1):
        with pytest.raises(InputError, match=f"slice {wrong} is out of range"):
            segment(stack, an_adapter(), SegmentConfig(slices=(0, wrong)))


def test_one_slice_is_read_ahead(stack):
    class Counting:
        shape, dtype, taken = stack.shape, stack.dtype, []

        def __getitem__(self, index):
            assert isinstance(index, int)
            self.taken.append(index)
            return stack[index]

    counting = Counting()
    events = segmentation_events(counting, an_adapter())
    for expected in range(4):
        assert next(events).index == expected
        for_the_window, in_turn = counting.taken[:4], counting.taken[4:]
        assert for_the_window == list(range(4))
        assert in_turn in (list(range(expected + 1)), list(range(min(4, expected + 2))))


def test_a_caller_comes_in_between_tiles(stack):
    calls = []
    config = SegmentConfig(overlap=16, batch_size=3)
    events = segmentation_events(stack, an_adapter(), config, between=lambda: calls.append("tiles"))
    for result in events:
        assert result.tiles == 4
        assert len(calls) == 2 * (result.index + 1)


def test_a_caller_can_stop_in_between(stack):
    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        next(segmentation_events(stack, an_adapter(), between=stop))


@pytest.mark.parametrize("settings", [{"overlap": -1}, {"batch_size": 0}])
def test_bad_settings_are_refused(settings):
    with pytest.raises(InputError):
        SegmentConfig(**settings)


# Views


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_can_be_undone(view):
    image = torch.rand(3, 40, 90)
    torch.testing.assert_close(view.back(view.of(image)), image, rtol=0, atol=0)


def test_views_differ():
    image = torch.rand(3, 50, 50)
    seen = [view.of(image) for view in VIEWS]
    assert all(not torch.equal(a, b) for i, a in enumerate(seen) for b in seen[:i])


def test_views_are_averaged_where_they_were_looked_from():
    image = torch.rand(3, 90, 130)
    mean = SlicePredictor(Itself(), 16).mean_logits(image, VIEWS)
    torch.testing.assert_close(mean, image[:1])


def test_views_are_computed_together():
    model = Constant()
    SlicePredictor(model, 0, batch_size=3).mean_logits(torch.rand(3, 64, 128), VIEWS)
    assert model.batches == [3, 3, 2]


class TopRow(Constant):
    """A model that sees only the tile's first row."""

    n_classes = 1

    def forward(self, images):
        logits = torch.zeros(len(images), 1, 64, 64)
        logits[:, :, 0] = 1
        return logits


def test_each_view_counts_the_same():
    mean = SlicePredictor(TopRow(), 0).mean_logits(torch.rand(3, 64, 64), VIEWS)
    assert mean[0, 0, 30] == pytest.approx(0.5)  # the original and the left-right mirror image
    assert mean[0, -1, 30] == pytest.approx(0.25)  # mirrored top to bottom
    assert mean[0, 30, 0] + mean[0, 30, -1] == pytest.approx(0.25)  # turned


@pytest.mark.parametrize(("turns", "views", "factor"), [(True, None, 4), (False, None, 1), (True, 2, 2)])
def test_views_follow_the_adapter_unless_told(turns, views, factor):
    stack = np.random.default_rng(0).random((2, 64, 64))
    adapter = tiny.adapter(preprocess=Preprocess(turns=turns))
    results = list(segmentation_events(stack, adapter, SegmentConfig(views=views)))
    assert [result.tiles for result in results] == [factor, factor]


@pytest.mark.parametrize("views", [0, -1, 5])
def test_bad_numbers_of_views_are_refused(views):
    with pytest.raises(InputError, match="views"):
        SegmentConfig(views=views)


# Looking again only where the first view is unsure


class Slanted(Itself):
    """A model that is sure where the image is 0, and else not, and whose logits differ from view to view."""

    def forward(self, images):
        self.batches.append(len(images))
        slope = torch.linspace(0.1, 0.9, 64)
        return torch.where(images[:, :1] == 0, torch.tensor(-9.0), slope.expand(len(images), 1, 64, 64))


def test_an_unsure_slice_is_looked_at_in_all_views():
    image = torch.rand(3, 64, 64) + 0.1
    again = SlicePredictor(Slanted(), 16).looked_again(image, VIEWS[:3])
    ramp = SlicePredictor(Slanted(), 16).logits(image)
    inner = (..., slice(16, 48), slice(16, 48))  # edges of tiles count less
    torch.testing.assert_close(again[inner], (2 * ramp + ramp.flip(2))[inner] / 3)


def test_only_tiles_with_unsure_pixels_are_looked_at_again():
    image = torch.zeros(3, 64, 4 * 64)
    image[:, :32, :20] = 0.7
    model = Slanted()
    predictor = SlicePredictor(model, 0, batch_size=1)
    again = predictor.looked_again(image, VIEWS[:2])
    assert sum(model.batches) == 3  # one with something, one without (computed once), the first once more
    assert torch.equal(again[..., 64:], torch.full((1, 64, 192), -9.0))


def test_looking_again_leaves_no_seam():
    """Where logits are the same in all views, they are so in parts that were looked at twice."""
    image = torch.rand(3, 90, 130)
    torch.testing.assert_close(SlicePredictor(Itself(), 16).looked_again(image, VIEWS), image[:1])


@pytest.mark.parametrize(("settings", "most"), [({}, 2), ({"views": 1}, 1), ({"views": 4}, 4)])
def test_fast_looks_at_most_twice_unless_told(settings, most):
    stack, (model, seen) = tiny.discs(1)[0], counting()
    adapter = tiny.adapter(preprocess=Preprocess(turns=True))
    config = SegmentConfig(quality="fast", runtime="torch", **settings)
    (result,) = segmentation_events(stack, adapter, config, segmenter=model)
    assert 1 <= len(seen) <= most == result.tiles


# Tiles without content


def counting(n_classes=2):
    """A real model, and the tiles that it computed."""
    model, seen = tiny.segmenter(n_classes).merged(), []
    model.register_forward_pre_hook(lambda _module, inputs: seen.extend(inputs[0]))
    return model, seen


def padded(count=3):
    """Slices that fill a corner of 256x256 pixels; the rest is padding, here 0."""
    stack = np.zeros((count, 256, 256), np.uint16)
    stack[:, :50, :50] = tiny.discs(count, 50)[0]
    return stack


def test_padding_is_computed_once_for_all_slices_and_views():
    stack, (model, seen) = padded(), counting()
    config = SegmentConfig(overlap=0, views=4, runtime="torch")
    results = list(segmentation_events(stack, an_adapter(), config, segmenter=model))
    assert [result.tiles for result in results] == [64, 64, 64]
    empty = [tile for tile in seen if not tile.any()]
    assert len(empty) == 1
    assert len(seen) == 3 * 4 + 1


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_padding_gets_what_the_model_says_of_it(value):
    model, seen = counting()
    image = torch.full((3, 128, 192), value)
    image[:, :60, :60] = torch.rand(3, 60, 60)
    predictor = SlicePredictor(model, 16)
    found = predictor.logits(image)
    assert len(seen) < len(predictor.tiles(image.shape[1:]))
    total, weight = torch.zeros_like(found), torch.zeros(128, 192)
    for tile in predictor.tiles(image.shape[1:]):
        place = (slice(tile.top, tile.top + 64), slice(tile.left, tile.left + 64))
        with torch.no_grad(), precision(torch.device("cpu")):
            total[:, *place] += model(image[:, *place][None])[0] * predictor._taper
        weight[place] += predictor._taper
    torch.testing.assert_close(found, total / weight, rtol=0, atol=0)


def test_tiles_with_any_content_are_all_computed():
    model, seen = counting()
    image = torch.zeros(3, 128, 128)
    image[1, 63, 63] = image[1, 64, 64] = 1e-3  # a single pixel, in one channel
    SlicePredictor(model, 0).logits(image)
    assert len([tile for tile in seen if tile.any()]) == 2
    assert len(seen) == 3


def test_many_colours_are_not_all_remembered():
    model, seen = counting()
    image = torch.arange(16.0).view(4, 4).repeat_interleave(64, 0).repeat_interleave(64, 1) / 16
    predictor = SlicePredictor(model, 0)
    first, second = (predictor.logits(image.expand(3, -1, -1)) for _ in range(2))
    assert torch.equal(first, second)
    assert len(seen) == 16 + 12


@pytest.mark.parametrize("missing", [np.nan, -2000.0])
def test_missing_values_and_what_lies_below_the_window_are_padding(missing):
    stack, (model, seen) = padded().astype(np.float32), counting()
    stack[:, 50:] = stack[:, :, 50:] = missing
    with np.errstate(invalid="ignore"):
        config = SegmentConfig(overlap=0, runtime="torch")
        list(segmentation_events(stack, an_adapter(), config, segmenter=model))
    assert len(seen) == 3 + 1
