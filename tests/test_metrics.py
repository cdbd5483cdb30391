"""The measures against published implementations, and their edge cases."""

import json
from itertools import pairwise

import dask.array as da
import numpy as np
import pytest
from medpy.metric import binary
from scipy import ndimage

from napari_salt.core.metrics import dice, evaluate
from napari_salt.terms.errors import InputError


def blobs(seed: int, shape: tuple[int, ...] = (6, 40, 32), classes: int = 2) -> np.ndarray:
    """Smooth random regions: class values 0 to `classes`, uint8."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2)
    edges = np.quantile(noise, np.linspace(0.5, 1, classes + 1))
    result = np.zeros(shape, np.uint8)
    for value, (low, high) in enumerate(pairwise(edges), start=1):
        result[(noise >= low) & (noise <= high)] = value
    return result


def reference_hd95(prediction, truth, spacing) -> float:
    """Mean of MedPy's HD95 over the slices; the slice's diagonal where one side is empty."""
    distances = []
    for a, b in zip(prediction, truth, strict=True):
        if a.any() and b.any():
            distances.append(binary.hd95(a, b, voxelspacing=spacing))
        elif a.any() or b.any():
            distances.append(np.hypot(*((np.array(a.shape) - 1) * spacing)))
    return float(np.mean(distances))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("spacing", [None, (3.0, 0.5, 1.25)])
def test_agrees_with_medpy(seed, spacing):
    prediction, truth = blobs(seed), blobs(seed + 100)
    result = evaluate(prediction, truth, spacing=spacing)
    volume = evaluate(prediction, truth, spacing=spacing, three_d=True)
    assert set(result.classes) == {1, 2}
    sizes = spacing or (1.0, 1.0, 1.0)
    for value, score in result.classes.items():
        a, b = prediction == value, truth == value
        assert score.dice == pytest.approx(binary.dc(a, b))
        assert score.iou == pytest.approx(binary.jc(a, b))
        assert score.hd95 == pytest.approx(reference_hd95(a, b, sizes[1:]))
        assert volume.classes[value].dice == score.dice
        assert volume.classes[value].hd95 == pytest.approx(binary.hd95(a, b, voxelspacing=sizes))
    assert result.mean_dice == pytest.approx(np.mean([s.dice for s in result.classes.values()]))


def test_perfect_agreement():
    truth = blobs(0)
    for score in evaluate(truth, truth).classes.values():
        assert (score.dice, score.iou, score.hd95) == (1, 1, 0)


def test_a_slice_with_one_side_empty_counts_as_its_diagonal():
    truth = np.zeros((3, 4, 5), np.uint8)
    truth[0, 1, 1] = truth[1, 2, 2] = 1
    prediction = truth.copy()
    prediction[1] = 0
    score = evaluate(prediction, truth, spacing=(9, 1, 2)).classes[1]
    assert score.hd95 == pytest.approx((0 + np.hypot(3 * 1, 4 * 2)) / 2)  # slice 2 has nothing
    assert score.dice == pytest.approx(2 / 3)
    assert score.iou == pytest.approx(1 / 2)


def test_a_class_on_one_side_only():
    truth = blobs(1, classes=1)
    score = evaluate(np.zeros_like(truth), truth).classes[1]
    assert (score.dice, score.iou) == (0, 0)
    assert score.hd95 == pytest.approx(np.hypot(39, 31))
    volume = evaluate(truth, np.zeros_like(truth), three_d=True).classes[1]
    assert volume.hd95 == pytest.approx(np.linalg.norm([5, 39, 31]))


@pytest.mark.parametrize("three_d", [False, True])
def test_nothing_to_score(three_d):
    empty = np.zeros((2, 4, 4), np.uint8)
    result = evaluate(empty, empty, three_d=three_d)
    assert result.to_json() == {"classes": {}, "mean_dice": None}


def test_the_mask_takes_voxels_out():
    truth = blobs(2)
    prediction = truth.copy()
    prediction[:, :, 20:] = 7
    mask = np.zeros(truth.shape, bool)
    mask[:, :, :20] = True
    result = evaluate(prediction, truth, mask=mask)
    assert set(result.classes) == {1, 2}
    assert result.mean_dice == 1


def test_json_is_valid_and_keeps_label_values():
    truth = blobs(3).astype(np.int64) * 300
    document = json.loads(json.dumps(evaluate(truth, truth).to_json(), allow_nan=False))
    assert document["classes"]["600"] == {"dice": 1, "iou": 1, "hd95": 0}


@pytest.mark.parametrize("dtype", [bool, np.int16, np.uint32])
def test_integer_types_and_single_slices(dtype):
    truth = blobs(4, (40, 32), classes=1).astype(dtype)
    assert evaluate(truth, truth.astype(np.uint8)).mean_dice == 1


def test_lazy_stacks_are_read_one_pair_at_a_time():
    truth, prediction = blobs(5), blobs(6)
    alive = []

    class Lazy:
        shape, dtype = truth.shape, truth.dtype

        def __init__(self, array):
            self.array = array

        def __getitem__(self, index):
            alive.append(index)
            return self.array[index]

    expected = evaluate(prediction, truth)
    assert evaluate(Lazy(prediction), Lazy(truth)) == expected
    assert alive == [z for z in range(6) for _ in range(2)]
    lazy = [da.from_array(side, chunks=(1, -1, -1)) for side in (prediction, truth)]
    assert evaluate(*lazy) == expected


def test_wrong_input():
    truth = np.zeros((2, 4, 5), np.uint8)
    with pytest.raises(InputError, match=r"\(2, 4, 4\).*\(2, 4, 5\)"):
        evaluate(truth[:, :, :4], truth)
    with pytest.raises(InputError, match="mask"):
        evaluate(truth, truth, mask=truth[:1])
    with pytest.raises(InputError, match="float64"):
        evaluate(truth.astype(float), truth)
    with pytest.raises(InputError, match="spacing"):
        evaluate(truth, truth, spacing=(1, 0, 1))
    with pytest.raises(InputError, match="neither"):
        evaluate(truth[None], truth[None])


def test_dice():
    a, b = blobs(7) > 0, blobs(8) > 0
    assert dice(a, b) == pytest.approx(binary.dc(a, b))
    assert dice(a & False, b & False) == 1
    assert dice(a, a & False) == 0
    with pytest.raises(InputError):
        dice(a, b[:1])
