"""Crops: image and target stay together, and follow the paint."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_salt.core.paint.annotations import IGNORE, PaintedSlice
from napari_salt.core.paint.choices import choose_pixel_scale
from napari_salt.core.paint.crops import Augmentation, CropSampler
from napari_salt.core.paint.preprocess import SliceReader
from napari_salt.core.paint.split import hold_out
from napari_salt.terms.preprocess import Preprocess

SIZE = 64
GEOMETRY = Augmentation(turns=True, contrast=0, brightness=0, gamma=0)
STILL = Augmentation(turns=False, degrees=0, zoom=0, shift=0, contrast=0, brightness=0, gamma=0)


def pattern(shape, seed=0):
    """Classes 0 to 3 in patches, int16."""
    random = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(random.normal(size=shape), 5)
    return np.digitize(noise, np.quantile(noise, [0.4, 0.6, 0.8])).astype(np.int16)


def sampler(targets, augmentation=GEOMETRY, *, images=None, seed=0, scale=1.0, size=SIZE):
    """A sampler whose image is made from the labels, so that each shows the other."""
    images = np.array(targets) if images is None else images
    reader = SliceReader(images.astype(np.float32), Preprocess(pixel_scale=scale))
    slices = [PaintedSlice(index, target) for index, target in enumerate(targets)]
    return CropSampler([reader], slices, size, augmentation, seed)


def settled(target):
    """Where a target is the same all around, so that interpolation changes nothing."""
    window, edge = (1, 5, 5), {"mode": "constant", "cval": -9}
    return ndimage.minimum_filter(target, window, **edge) == ndimage.maximum_filter(target, window, **edge)


@pytest.mark.parametrize("augmentation", [GEOMETRY, STILL], ids=["varied", "as it is"])
@pytest.mark.parametrize("shape", [(80, 100), (64, 64), (50, 40), (200, 40)])
def test_image_and_target_are_aligned(shape, augmentation):
    batch = sampler([pattern(shape, seed) for seed in (0, 1)], augmentation).draw(16)
    assert batch.images.shape == (16, 3, SIZE, SIZE)
    assert batch.target.shape == (16, SIZE, SIZE)
    assert batch.target.dtype == torch.int64
    image, target = batch.images[:, 0].numpy(), batch.target.numpy()
    sure = settled(target) & (target != IGNORE)
    assert sure.mean() > 0.1
    np.testing.assert_allclose(image[sure], target[sure] / 3, atol=1e-3)
    assert set(np.unique(target)) - {IGNORE} == {0, 1, 2, 3}


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_they_are_aligned_at_other_scales(scale):
    batch = sampler([pattern((160, 160))], scale=scale).draw(8)
    image, target = batch.images[:, 0].numpy(), batch.target.numpy()
    sure = settled(target) & (target != IGNORE)
    assert (np.abs(image[sure] - target[sure] / 3) < 0.15).mean() > 0.98


def test_outside_the_image_nothing_is_known():
    target = pattern((40, 50))
    image = 1.0 + target
    image[0, 0] = 0  # so that the darkest inside is not black
    batch = sampler([target], images=np.array([image])).draw(12)
    outside = batch.target.numpy() == IGNORE
    assert outside.mean() == pytest.approx(1 - 40 * 50 / SIZE**2, abs=0.25)
    assert not batch.images[:, 0].numpy()[outside & settled(batch.target.numpy())].any()
    as_is = sampler([target], STILL).draw(1)
    np.testing.assert_array_equal(as_is.target[0, :40, :50], target)
    assert (as_is.target[0, 40:] == IGNORE).all()
    assert (as_is.target[0, :, 50:] == IGNORE).all()


def test_large_images_are_cropped_inside():
    batch = sampler([pattern((150, 150))], STILL).draw(12)
    assert (batch.target != IGNORE).all()


def test_the_seed_decides():
    def draws(seed):
        crops = sampler([pattern((90, 90), s) for s in range(3)], Augmentation(turns=True), seed=seed)
        return [crops.draw(2) for _ in range(3)]

    first, again, other = draws(0), draws(0), draws(1)
    for a, b in zip(first, again, strict=True):
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.target, b.target)
    assert not torch.equal(first[0].images, other[0].images)


def test_nothing_of_what_is_held_out_is_learnt():
    slices = [PaintedSlice(index, pattern((90, 90), index)) for index in range(2)]
    split = hold_out(slices)
    held_out = np.array([s.target != IGNORE for s in split.held_out], np.float32)
    crops = CropSampler([SliceReader(held_out, Preprocess())], split.training, SIZE, GEOMETRY, 0).draw(24)
    image, target = crops.images[:, 0].numpy(), crops.target.numpy()
    learnt = ndimage.minimum_filter(target != IGNORE, (1, 5, 5), mode="constant", cval=0)
    assert learnt.any()
    assert not image[learnt].any()


def test_every_crop_shows_paint():
    target = np.full((400, 400), IGNORE, np.int16)
    target[30:34, 300:305], target[350:354, 20:24] = 1, 0
    batch = sampler([target], images=np.random.default_rng(0).random((1, 400, 400))).draw(40)
    assert (batch.target != IGNORE).any(dim=2).any(dim=1).all()
    shows = [(batch.target == value).any(dim=2).any(dim=1).sum() for value in (0, 1)]
    assert min(shows) >= 8


def test_rare_classes_are_drawn_often():
    target = np.zeros((400, 400), np.int16)
    target[200:204, 200:204] = 1
    batch = sampler([target]).draw(40)
    assert (batch.target == 1).any(dim=2).any(dim=1).sum() >= 8


def test_paint_too_fine_for_the_scale_still_counts():
    target = np.full((400, 400), IGNORE, np.int16)
    target[31, 33], target[151, 153] = 1, 0
    image = np.random.default_rng(0).random((1, 400, 400))
    assert (sampler([target], images=image, scale=0.2).draw(4).target != IGNORE).any()


def test_slices_take_turns():
    targets = [np.full((SIZE, SIZE), value, np.int16) for value in (0, 1, 2)]
    images = np.random.default_rng(0).random((3, SIZE, SIZE))
    target = sampler(targets, STILL, images=images).draw(9).target
    assert sorted(target[:, 5, 5].tolist()) == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_without_turns_up_stays_up():
    rows = np.repeat(np.arange(SIZE)[:, None], SIZE, 1)
    target = np.digitize(rows, [16, 32, 48]).astype(np.int16)
    still = Augmentation(turns=False, contrast=0, brightness=0, gamma=0)
    target_of = {turns: sampler([target], v).draw(16).target for turns, v in ((0, still), (1, GEOMETRY))}
    upright = {t: (x[:, 20, 32] < x[:, 44, 32]).float().mean() for t, x in target_of.items()}
    assert upright[0] == 1
    assert upright[1] < 1


def test_tone_stays_in_range_and_varies():
    images = sampler([pattern((SIZE, SIZE))], Augmentation(turns=False)).draw(8).images
    assert images.min() >= 0
    assert images.max() <= 1
    assert images.mean((1, 2, 3)).std() > 0


def test_colour_images_keep_their_colours():
    target = pattern((80, 80))
    colour = np.stack([target, 3 - target, target], -1)[None].astype(np.float32)
    slices = [PaintedSlice(0, target)]
    crops = CropSampler([SliceReader(colour, Preprocess(3))], slices, SIZE, GEOMETRY, 0)
    batch = crops.draw(4)
    inside = (batch.target != IGNORE).numpy() & settled(batch.target.numpy())
    red, green = batch.images[:, 0].numpy()[inside], batch.images[:, 1].numpy()[inside]
    np.testing.assert_allclose(red, 1 - green, atol=1e-3)


# How large the pixels should be


def square(side, object_side):
    target = np.zeros((side, side), np.int16)
    middle = slice(side // 2 - object_side // 2, side // 2 + object_side // 2)
    target[middle, middle] = 1
    return [PaintedSlice(0, target)]


def test_small_images_fill_the_input():
    assert choose_pixel_scale(square(64, 20), (64, 64), 256) == 4
    assert choose_pixel_scale(square(8, 4), (8, 8), 256) > 1


def scale_of(*shape):
    target = np.zeros(shape, np.int16)
    target[100:130, 100:130] = 1
    return choose_pixel_scale([PaintedSlice(0, target)], shape, 256)


@pytest.mark.parametrize(("shape", "seen"), [((512, 512), (464, 464)), ((512, 768), (464, 696))])
def test_a_little_is_shrunk_for_far_fewer_tiles(shape, seen):
    scale = scale_of(*shape)
    assert tuple(round(length * scale) for length in shape) == seen


@pytest.mark.parametrize("shape", [(464, 464), (600, 600), (1024, 1024)])
def test_nothing_is_shrunk_where_it_saves_little(shape):
    assert scale_of(*shape) == 1


@pytest.mark.parametrize("input_size", [32, 48, 64])
def test_inputs_smaller_than_two_overlaps_are_fitted_too(input_size):
    assert 0 < choose_pixel_scale(square(1000, 20), (1000, 1000), input_size) <= 1


def test_objects_end_up_neither_huge_nor_hair_thin():
    large = choose_pixel_scale(square(1000, 600), (1000, 1000), 256)
    thin = choose_pixel_scale(square(1000, 2), (1000, 1000), 256)
    assert large < 1 <= thin
    assert 600 * large <= 256
