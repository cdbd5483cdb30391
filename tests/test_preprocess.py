"""From a measured slice to model input, for every type of number."""

import json
import logging

import dask.array as da
import numpy as np
import pytest
import torch
import zarr
from safetensors import safe_open

import tiny
from napari_salt.core.paint.annotations import read_annotations
from napari_salt.core.paint.choices import choose_preprocess
from napari_salt.core.paint.preprocess import SliceReader, intensity_window, resize
from napari_salt.terms.card import AdapterCard
from napari_salt.terms.config import TrainConfig
from napari_salt.terms.errors import InputError
from napari_salt.terms.preprocess import Preprocess
from napari_salt.terms.stack import to_micrometres

PERCENTILES = (0.1, 99.9)


def ramp(count=3, side=32):
    """Every value from 0 to 100 on every slice, float64."""
    plane = np.linspace(0, 100, side * side).round().reshape(side, side)
    return np.stack([np.roll(plane, 7 * z) for z in range(count)])


def reader(stack, **options):
    return SliceReader(stack, Preprocess(**options))


# Intensities


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "u4", "i1", ">i2", "i4", "i8", "f2", ">f4", "f8"])
def test_types(dtype):
    array = (ramp() - 50 * (np.dtype(dtype).kind != "u")).astype(dtype)
    expected = reader(ramp()).raw(1)
    found = reader(array).raw(1)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert (found.min(), found.max()) == (0, 1)


def test_a_mask_is_an_image_too():
    mask = ramp() > 50
    np.testing.assert_array_equal(reader(mask).raw(2)[0], mask[2])


@pytest.mark.parametrize("dtype", ["u2", "i1"])
def test_far_values_do_not_wrap_around(dtype):
    limits = np.iinfo(dtype)
    array = np.where(ramp() > 50, limits.max, limits.min).astype(dtype)
    np.testing.assert_array_equal(reader(array).raw(0)[0], ramp()[0] > 50)


@pytest.mark.parametrize("hot", [65_535, 0])
def test_hot_and_dead_pixels_do_not_count(hot):
    array = (1000 + 10 * ramp(side=64)).astype(np.uint16)
    clean = reader(array).raw(1)
    for z in range(3):
        array[z, 5 * z, 9] = hot
    found = reader(array).raw(1)
    clean[0, 5, 9] = found[0, 5, 9]
    np.testing.assert_allclose(found, clean, atol=0.02)


def test_lazy_arrays_give_the_same():
    array = ramp(20).astype(np.uint16)
    lazy, stored = da.from_array(array, chunks=(1, -1, -1)), zarr.create_array(store={}, data=array)
    for other in (lazy, stored):
        assert intensity_window(other, PERCENTILES) == intensity_window(array, PERCENTILES)
        assert torch.equal(reader(other).read(4), reader(array).read(4))


def test_one_window_serves_all_slices():
    array = ramp()
    array[1] *= 0.5
    assert reader(array).raw(1).max() == pytest.approx(0.5, abs=0.01)


def test_unrelated_images_have_windows_of_their_own():
    array = ramp()
    array[1] = 20 * array[1] + 3000
    independent = reader(array, independent=True)
    for z in range(3):
        raw = independent.raw(z)
        assert (raw.min(), raw.max()) == (0, 1)
    np.testing.assert_allclose(independent.raw(1), reader(ramp()).raw(1), atol=0.01)


def test_the_window_follows_from_a_few_slices_of_a_long_stack():
    class Counting:
        shape, dtype, taken = (500, 16, 16), np.dtype("u2"), ()

        def __getitem__(self, index):
            assert isinstance(index, int)
            self.taken += (index,)
            return ramp(1, 16)[0].astype("u2")

    stack = Counting()
    intensity_window(stack, PERCENTILES)
    assert len(stack.taken) <= 16
    assert stack.taken[0] == 0
    assert stack.taken[-1] == 499


def test_nearly_empty_images_use_their_extremes():
    array = np.zeros((3, 64, 64), np.uint8)
    array[1, 3, 3] = 200
    assert reader(array).raw(1)[0, 3, 3] == 1


@pytest.mark.parametrize("where", ["scattered", "block", "dark"])
def test_half_a_percent_of_the_voxels_spoils_no_window_with_a_reach(where):
    array = (1000 + 10 * ramp(side=64)).astype(np.uint16)  # 1000 to 2000
    clean = intensity_window(array, PERCENTILES, 0.25)
    spoiled = array.copy()
    if where == "scattered":
        spoiled.reshape(3, -1)[:, ::200] = 65_535
    else:
        spoiled[:, :4, :5] = 0 if where == "dark" else 65_535
    found = intensity_window(spoiled, PERCENTILES, 0.25)
    assert (clean.low[0], clean.high[0]) == pytest.approx((1000, 2000), abs=10)
    assert 700 < found.low[0] <= 1010
    assert 1990 <= found.high[0] < 2300
    old = intensity_window(spoiled, PERCENTILES)
    assert old.high[0] == 65_535 or old.low[0] == 0


def test_a_reach_leaves_a_clean_window_and_one_of_mostly_one_value_as_they_are():
    array = ramp(side=64)
    assert intensity_window(array, PERCENTILES, 0.25) == intensity_window(array, PERCENTILES)
    nearly_empty = np.zeros((3, 64, 64), np.uint8)
    nearly_empty[1, 3:6, 3:6] = 200
    assert intensity_window(nearly_empty, PERCENTILES, 0.25).high == (200,)


# What is not a number


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_odd_pixels_are_the_darkest_and_it_is_said_once(odd, caplog):
    array = ramp()
    array[:, 4, 5:8] = odd
    stack = reader(array)
    with caplog.at_level(logging.WARNING):
        values = [stack.raw(z) for z in (1, 2)]
    for raw in values:
        assert np.isfinite(raw).all()
        assert not raw[0, 4, 5:8].any()
    (record,) = caplog.records
    assert "slice 1 has 3 pixels" in record.getMessage()


@pytest.mark.parametrize("independent", [False, True])
def test_a_colour_channel_without_values_is_dark_and_leaves_the_others_as_they_are(independent):
    colour = np.stack([ramp(), ramp() + 5, ramp()], -1)
    expected = reader(colour, channels=3, independent=independent).read(1)
    colour[..., 1] = np.nan
    found = reader(colour, channels=3, independent=independent).read(1)
    assert not found[1].any()
    assert torch.equal(found[[0, 2]], expected[[0, 2]])


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.full((2, 8, 8), np.nan), "no finite value"),
        (np.full((2, 8, 8, 3), (np.nan, 7, np.nan)), "only the value 7"),
        (np.full((2, 8, 8), 7), "only the value 7"),
        (np.full((2, 8, 8, 3), 7), "only the value 7"),
        (np.zeros((2, 8)), "shape"),
        (np.zeros((2, 8, 8, 4)), "shape"),
        (np.zeros((0, 8, 8)), "empty"),
        (np.zeros((2, 8, 8), complex), "complex"),
        (np.full((2, 8, 8), "a"), "dtype"),
    ],
)
def test_what_cannot_be_seen_is_refused(array, words):
    with pytest.raises(InputError, match=words):
        reader(array, channels=3 if array.shape[-1] == 3 else 1)


def test_a_blank_among_unrelated_images_is_named():
    array = ramp()
    array[2] = 5
    with pytest.raises(InputError, match="image 2 holds only the value 5"):
        reader(array, independent=True).raw(2)


def test_colour_is_not_grey():
    colour = np.stack([ramp()] * 3, axis=-1)
    with pytest.raises(InputError, match=r"the image is colour .* trained on grey"):
        reader(colour)
    with pytest.raises(InputError, match=r"the image is grey, .* trained on colour"):
        reader(ramp(), channels=3)


# Colours and sizes


def test_each_colour_has_its_window():
    colour = np.stack([ramp(), 9 * ramp() + 50, 1000 - ramp()], axis=-1)
    raw = reader(colour, channels=3).raw(0)
    assert raw.shape == (3, 32, 32)
    np.testing.assert_allclose(raw[0], raw[1], atol=1e-5)
    np.testing.assert_allclose(raw[0], 1 - raw[2], atol=1e-5)


def test_grey_fills_three_channels():
    image = reader(ramp(), pixel_scale=1.5).read(0)
    assert image.shape == (3, 48, 48)
    assert image.dtype == torch.float32
    assert torch.equal(image[0], image[2])


@pytest.mark.parametrize(("trained", "met"), [(0.5, 1.0), (0.5, 0.5), (2.0, 0.25)])
def test_an_object_keeps_its_size_in_the_models_eyes(trained, met):
    rule = Preprocess(pixel_scale=1.5, pixel_size=trained)
    micrometres = 6.0
    in_training = micrometres / trained * rule.pixel_scale
    assert micrometres / met * rule.scale_for(met) == pytest.approx(in_training)
    stack = SliceReader(ramp(), rule, met)
    assert stack.size == (round(32 * 1.5 * met / trained),) * 2


def test_without_both_pixel_sizes_pixels_stay_pixels():
    assert Preprocess(pixel_scale=2, pixel_size=0.5).scale_for(None) == 2
    assert Preprocess(pixel_scale=2).scale_for(0.5) == 2


def test_units():
    assert to_micrometres((1, 250, 250), "nm") == pytest.approx(0.25)
    assert to_micrometres((1, 0.5, 2), "mm") == pytest.approx(1000)
    assert to_micrometres((1, 1, 1), None) is None
    assert to_micrometres(None, "um") is None


def test_resizing_keeps_means_and_places():
    image = torch.zeros(1, 1, 64, 64)
    image[..., 16:32, 32:48] = 1
    for size in ((32, 32), (128, 128), (48, 96)):
        small = resize(image, size)
        assert small.mean() == pytest.approx(float(image.mean()), rel=0.02)
        y, x = (int(share * length) for share, length in zip((24 / 64, 40 / 64), size, strict=True))
        assert small[0, 0, y, x] == pytest.approx(1)
    assert resize(image, (64, 64)) is image


def faded(share, *, noise=0.0, count=40):
    """A stack that fades linearly to `share`, and how bright each slice is."""
    random = np.random.default_rng(0)
    light = np.linspace(1, share, count) * (1 + noise * random.standard_normal(count))
    return (1000 * light[:, None, None] * random.random((count, 32, 32))).astype(np.uint16), light


def test_a_window_follows_a_stack_that_fades():
    stack, light = faded(0.4)
    bright = [
        SliceReader(stack, Preprocess(fade=fade)).raw(index).mean()
        for fade in (False, True)
        for index in (2, 37)
    ]
    assert bright[1] / bright[0] == pytest.approx(light[37] / light[2], rel=0.05)
    assert bright[3] / bright[2] == pytest.approx((light[37] / light[2]) ** 0.5, rel=0.07)


@pytest.mark.parametrize(
    ("share", "noise", "fades"),
    [(0.4, 0, True), (0.5, 0.05, True), (0.9, 0, False), (0.5, 0.5, False), (1, 0.3, False)],
)
def test_only_a_steady_and_strong_trend_is_fading(share, noise, fades):
    stack, _ = faded(share, noise=noise)
    assert (intensity_window(stack, (0.1, 99.9), fade=True).fade != (1, 1)) == fades
    assert intensity_window(stack, (0.1, 99.9)).fade == (1, 1)
    assert intensity_window(stack[:10], (0.1, 99.9), fade=True).fade == (1, 1), "too few slices to tell"


def test_a_stack_with_values_that_are_not_finite_is_not_asked_whether_it_fades():
    stack = faded(0.4)[0].astype(np.float32)
    stack[3, 4, 5] = np.nan
    assert intensity_window(stack, (0.1, 99.9), fade=True).fade == (1, 1)


def test_an_adapter_learns_of_fading_by_itself():
    stack, _ = faded(0.4)
    for image, fade in ((stack, True), (faded(1)[0], False)):
        labels = np.zeros(image.shape, np.uint8)
        labels[3, 4:20, 4:20] = 1
        annotations = read_annotations(labels)
        assert choose_preprocess([image], annotations, TrainConfig(), 64, None).fade == fade
        unrelated = TrainConfig(independent=True)
        assert not choose_preprocess([image], annotations, unrelated, 64, None).fade


@pytest.mark.parametrize(
    ("pixel_size", "turns"), [(None, True), (0.5, True), (49, True), (50, False), (1000, False)]
)
def test_the_parts_of_a_body_keep_their_orientation(pixel_size, turns):
    image = faded(1)[0]
    labels = np.zeros(image.shape, np.uint8)
    labels[3, :9, :9] = labels[9, 20:, 20:] = 1
    annotations = read_annotations(labels)
    assert choose_preprocess([image], annotations, TrainConfig(), 64, pixel_size).turns == turns
    told = TrainConfig(orientation="any")
    assert choose_preprocess([image], annotations, told, 64, pixel_size).turns


# CT


def ct():
    """Air at -1000 and values up to 1500, on three slices."""
    return (25 * ramp() - 1000).astype(np.int16)


@pytest.mark.parametrize("independent", [False, True])
def test_a_ct_window_is_the_same_in_all_stacks(independent):
    rule = Preprocess(window=(-160.0, 240.0), independent=independent)
    expected = np.clip((ct() + 160.0) / 400, 0, 1)
    for index in range(3):
        np.testing.assert_allclose(SliceReader(ct(), rule).raw(index)[0], expected[index], atol=1e-6)
    half = np.minimum(ct(), 0)
    np.testing.assert_allclose(SliceReader(half, rule).raw(1)[0], np.minimum(expected[1], 0.4), atol=1e-6)


@pytest.mark.parametrize("image", [ramp(), (ct() + 1024).astype(np.uint16), np.full((2, 9, 9), np.nan)])
def test_what_cannot_be_hounsfield_units_is_refused(image):
    with pytest.raises(InputError, match="where air is at -1000, but the image's values are"):
        SliceReader(image, Preprocess(window=(0.0, 80.0)))


@pytest.mark.parametrize("window", [(80.0, 0.0), (0.0, float("nan")), (-1e9, 0.0)])
def test_a_ct_window_that_makes_no_sense_is_refused(window):
    with pytest.raises(InputError, match="window is"):
        Preprocess(window=window)


def test_a_training_chooses_the_ct_window_that_it_is_told():
    paint = np.zeros((3, 32, 32), np.uint8)
    paint[1, 4:20, 4:20] = 1
    for name, window in (("auto", None), ("bone", (-450, 1050))):
        chosen = choose_preprocess([ct()], read_annotations(paint), TrainConfig(window=name), 64, None)
        assert chosen.window == window
    with pytest.raises(InputError, match="is for grey images"):
        colour = np.stack([ct()] * 3, -1)
        choose_preprocess([colour], read_annotations(paint), TrainConfig(window="bone"), 64, None)


def test_an_adapter_keeps_its_ct_window_and_others_do_not_tell_of_it(tmp_path):
    for window in (None, (-450.0, 1050.0)):
        path = tiny.adapter(preprocess=Preprocess(window=window)).save(tmp_path / "a.safetensors")
        assert AdapterCard.read(path).preprocess.window == window
        with safe_open(path, framework="numpy") as file:
            assert ("window" in json.loads(file.metadata()["preprocess"])) == (window is not None)
