"""Stacks that are unlike the one that the adapter was trained on, and those that are like it."""

import json
import logging
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from safetensors import safe_open
from safetensors.torch import save_file
from scipy import ndimage

import napari_salt as ns
import tiny
from napari_salt.core.paint.annotations import read_annotations
from napari_salt.core.paint.choices import REACH, choose_reach, robust_windows
from napari_salt.core.paint.likeness import intensity_profile, unlikeness
from napari_salt.core.paint.preprocess import SliceReader
from napari_salt.terms.preprocess import Preprocess

DATA = Path(__file__).parents[2] / "shared" / "data"


def tissue(seed=0, count=6, side=96):
    """Bright blobs of two sizes on dark noise, uint16."""
    random = np.random.default_rng(seed)
    noise = random.normal(size=(count, side, side))
    coarse, fine = (ndimage.gaussian_filter(noise, (0, s, s)) for s in (6, 1.5))
    field = coarse / coarse.std() + 0.4 * fine / fine.std()
    return (1000 + 300 * np.exp(field)).astype(np.uint16)


def adapter_of(stack, **preprocess):
    """An adapter as if it was trained on the stack."""
    rule = Preprocess(channels=3 if stack.ndim == 4 else 1, reach=REACH, **preprocess)
    made = tiny.adapter(preprocess=rule)
    return replace(made, training={"intensities": intensity_profile(SliceReader(stack, rule))})


def said(adapter, stack, pixel_size=None):
    return list(unlikeness(adapter, SliceReader(stack, adapter.preprocess, pixel_size)))


# Bits


@pytest.mark.parametrize(
    ("trained", "more", "now", "warned"),
    [
        ("uint16", None, np.uint8, True),
        ("uint16", None, np.uint16, False),
        ("uint8", None, np.uint16, False),
        ("uint16", "uint8", np.uint8, False),
        ("float32", None, np.uint8, False),
        (None, None, np.uint8, False),
    ],
)
def test_an_image_of_fewer_bits_is_worth_a_word(trained, more, now, warned):
    facts = {"data_type": trained, "more_stacks": [{"data_type": more}] if more else []}
    adapter = replace(tiny.adapter(), training=facts)
    texts = said(adapter, (tissue() / 20).clip(0, 255).astype(now))
    assert ["values of 8 bits" in text for text in texts] == [True] * warned


# Intensities


@pytest.mark.parametrize(
    "other",
    [
        tissue(1),
        tissue(1, count=20, side=160),
        3 * tissue(1).astype(np.int32) - 2000,
        (tissue(1) / 100).astype(np.float32),
    ],
    ids=["another", "larger", "another gain and offset", "another type"],
)
def test_an_ordinary_other_stack_is_like_it(other):
    assert said(adapter_of(tissue()), other) == []


@pytest.mark.parametrize("seed", [0, 1])
def test_inverted_contrast_is_said_with_numbers(seed):
    (text,) = said(adapter_of(tissue()), 8000 - tissue(seed).astype(np.int32))
    assert "contrast looks inverted" in text
    assert "invert the image" in text
    assert "%" in text


def test_another_brightness_is_said_with_both_medians():
    stack = tissue()
    bright = np.minimum(stack, 1300)  # most of it is saturated
    (text,) = said(adapter_of(stack), bright)
    middles = [np.median(SliceReader(s, Preprocess(reach=REACH)).raw(0)) for s in (bright, stack)]
    assert "unlike the training stack's" in text
    found = [int(part.rpartition(" ")[2]) for part in text.partition("medians at ")[2].split("%")[:2]]
    assert found == pytest.approx([100 * m for m in middles], abs=6)


def test_colours_are_compared_one_by_one():
    colour = np.stack([tissue(0), tissue(1), tissue(2)], -1)
    other = np.stack([tissue(3), tissue(4), tissue(5)], -1)
    assert said(adapter_of(colour), other) == []
    (text,) = said(adapter_of(colour), 8000 - other.astype(np.int32))
    assert "inverted" in text
    one = other.copy()
    one[..., 2] = np.minimum(one[..., 2], 1200)
    (text,) = said(adapter_of(colour), one)
    assert "unlike" in text


@pytest.mark.parametrize("known", [None, [], "much", [[1, 2]], [[[float("nan")] * 9] * 4], [[["a"] * 9] * 4]])
def test_an_adapter_that_does_not_know_its_intensities_says_nothing(known):
    adapter = replace(tiny.adapter(), training={"intensities": known})
    assert said(adapter, 8000 - tissue().astype(np.int32)) == []


def test_blank_slices_among_unrelated_images_are_passed_over():
    images = tissue()
    adapter = adapter_of(images, independent=True)
    images[2:] = 7
    assert said(adapter, images) == []
    images[:] = 7
    assert said(adapter, images) == []


needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="needs the folder of real stacks, shared/data")


@needs_data
def test_cases_of_hippocampus_are_like_each_other_and_unlike_inverted():
    files = sorted((DATA / "msd_hippocampus" / "cases").glob("*_image.tif"))[:8]
    stacks = [tifffile.imread(file) for file in files]
    adapters = [adapter_of(stack, pixel_scale=5.0) for stack in stacks]
    texts = [said(a, s) for a, own in zip(adapters, stacks, strict=True) for s in stacks if s is not own]
    assert sum(map(bool, texts)) <= 1
    assert all("inverted" in said(a, 255 - s)[0] for a, s in zip(adapters, stacks, strict=True))


@needs_data
@pytest.mark.parametrize(
    "name", ["vnc_sstem_half", "cells3d_nuclei", "fib25_medulla", "stardist_nuclei3d", "drive"]
)
def test_the_other_half_of_a_stack_is_like_it_and_unlike_inverted(name):
    stack = tifffile.imread(DATA / name / "image.tif")[:, ::2, ::2]
    first, second = np.array_split(stack, 2)
    adapter = adapter_of(first)
    assert said(adapter, second) == []
    assert "inverted" in said(adapter, second.max() - second)[0]


# Pixel size


@pytest.mark.parametrize(
    ("size", "words"), [(None, "does not say"), (0.25, "0.25 micro.* 0.5 times"), (1, "2 times")]
)
def test_a_pixel_size_that_is_missing_or_another_is_said(size, words):
    adapter = tiny.adapter(preprocess=Preprocess(pixel_size=0.5))
    (text,) = said(adapter, tissue(), size)
    assert "0.5" in text
    assert re.search(words, text)


@pytest.mark.parametrize(("trained", "size"), [(0.5, 0.5), (0.5, 0.6), (None, 0.5), (None, None)])
def test_a_pixel_size_that_fits_or_that_nobody_knows_is_not_spoken_of(trained, size):
    assert said(tiny.adapter(preprocess=Preprocess(pixel_size=trained)), tissue(), size) == []


# What training stores, and segmenting says


def test_it_is_said_before_the_first_slice_is_segmented(tiny_base, caplog):
    image, truth = tiny.discs()
    adapter = ns.train(image, tiny.painted(truth, 1, 4), tiny.QUICK, pixel_size=0.5)
    assert np.shape(adapter.training["intensities"]) == (1, 4, 9)
    assert adapter.preprocess.reach in (None, REACH)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        events = ns.segmentation_events(image.max() - image, adapter)
        next(events)
    first, second = [record.getMessage() for record in caplog.records]
    assert "0.5 micrometres" in first
    assert "inverted" in second
    events.close()
    caplog.clear()
    ns.segment(tiny.discs(seed=1)[0], adapter, pixel_size=0.5)
    assert "inverted" not in caplog.text
    assert "unlike" not in caplog.text


# The window


def test_the_window_is_limited_where_the_classes_lie_in_it():
    stack = tissue()
    middle = (stack > 1500) & (stack < 2000)
    painted = read_annotations(middle.astype(np.uint8)).slices
    assert choose_reach([stack], painted, robust_windows([stack])) == REACH
    spoiled = stack.copy()
    spoiled.reshape(len(stack), -1)[:, ::200] = 65_535
    assert choose_reach([spoiled], painted, robust_windows([spoiled])) == REACH


@pytest.mark.parametrize("independent", [False, True])
def test_the_window_is_not_limited_where_the_brightest_is_what_is_looked_for(independent):
    sparse = np.random.default_rng(0).normal(100, 5, (6, 96, 96))
    sparse[:, 40:46, 40:46] = 2000
    paint = (sparse > 1000).astype(np.uint8)
    slices = read_annotations(paint).slices
    assert choose_reach([sparse], slices, robust_windows([sparse], independent=independent)) is None
    window = SliceReader(sparse, Preprocess(reach=None)).window
    assert window.high[0] == 2000


def test_an_older_adapter_keeps_its_window(tmp_path):
    """Its file names no reach."""
    path = tiny.adapter().save(tmp_path / "a.safetensors")
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    rule = json.loads(metadata["preprocess"])
    del rule["reach"]
    save_file(tensors, path, {**metadata, "preprocess": json.dumps(rule)})
    old = ns.Adapter.load(path)
    assert old.preprocess == Preprocess()
    spoiled = tissue()
    spoiled[:, :7, :7] = 65_535
    assert SliceReader(spoiled, old.preprocess).window.high == (65_535,)
