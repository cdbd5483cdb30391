"""How well a segmentation agrees with labels: Dice, IoU and the 95 % Hausdorff distance (HD95).

One pair of slices at a time is in memory, so that stacks on disk can be scored; only HD95 in 3D
needs the whole stacks.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_salt.terms.errors import InputError
from napari_salt.terms.stack import StackLike, as_stack

__all__ = ["ClassScore", "Evaluation", "check_shapes", "dice", "evaluate", "pairs_of_slices"]

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class ClassScore:
    """How well one class agrees.

    Parameters
    ----------
    dice, iou
        In [0, 1], over all scored voxels of all slices together.
    hd95
        95 % Hausdorff distance in units of the spacing (in pixels without one), averaged over the
        slices, or of the whole stack in 3D.
    """

    dice: float
    iou: float
    hd95: float | None


@dataclass(frozen=True)
class Evaluation:
    """The score of each class.

    Parameters
    ----------
    classes
        Scores by label value; empty where neither side has any class.
    mean_dice
        Mean of the classes' Dice, None without classes.
    """

    classes: dict[int, ClassScore]
    mean_dice: float | None

    def to_json(self) -> dict[str, Any]:
        """Give a dict of what JSON can hold, with the label values as strings."""
        scores = {str(value): asdict(score) for value, score in self.classes.items()}
        return {"classes": scores, "mean_dice": self.mean_dice}


@dataclass
class _Tally:
    """What has been counted of one class so far."""

    overlap: int = 0
    total: int = 0  # voxels of the prediction plus voxels of the labels
    distances: list[float] = field(default_factory=list)

    def score(self) -> ClassScore:
        if not self.total:
            return ClassScore(1.0, 1.0, None)
        union = self.total - self.overlap
        return ClassScore(2 * self.overlap / self.total, self.overlap / union, float(np.mean(self.distances)))


def evaluate(
    prediction: StackLike,
    labels: StackLike,
    *,
    spacing: Sequence[float] | None = None,
    three_d: bool = False,
    mask: StackLike | None = None,
    classes: Sequence[int] | None = None,
) -> Evaluation:
    """Score a segmentation against labels.

    The classes are the values other than 0 that occur in either of the two, or those given. Dice
    and IoU pool all voxels; a given class that occurs in neither scores 1 and has no HD95.
    HD95 is the 95th percentile of the distances, taken both ways together, from each
    surface voxel of one side to the nearest surface voxel of the other, as in MedPy's ``hd95``.
    Slices in which neither side has the class do not count towards its HD95. A slice in which
    only one side has it counts as the longest distance within the slice, its diagonal between
    voxel centres: a missed or an invented object is never better than a badly placed one. The
    same holds for the whole stack in 3D.

    Parameters
    ----------
    prediction, labels
        Integer or bool class values, (Z, Y, X), or (Y, X) for one slice; both of one shape.
    spacing
        Voxel size (z, y, x) in physical units; None measures in pixels.
    three_d
        Measure HD95 in 3D, which loads both stacks.
    mask
        Bool, of the same shape: True where voxels are scored; None scores all. Outside, both sides
        count as background.
    classes
        Values to score; others count as background.

    Returns
    -------
    Evaluation
        Dice, IoU and HD95 of each class, and the mean Dice.

    Raises
    ------
    InputError
        If shapes differ, values are not integers, or the spacing is not three positive numbers.
    """
    prediction, labels = as_stack(prediction, "prediction"), as_stack(labels, "labels")
    mask = None if mask is None else as_stack(mask, "mask")
    check_shapes(prediction, labels, mask)
    sampling = _checked_spacing(spacing)
    tallies = defaultdict(_Tally, {value: _Tally() for value in classes or ()})
    for predicted, truth in pairs_of_slices(prediction, labels, mask, classes):
        for value in _count(predicted, truth, tallies):
            if not three_d:
                distance = _hd95(predicted == value, truth == value, sampling[1:])
                tallies[value].distances.append(distance)
    if three_d and tallies:
        pairs = list(pairs_of_slices(prediction, labels, mask, classes))
        whole, whole_truth = (np.stack(side) for side in zip(*pairs, strict=True))
        for value, tally in tallies.items():
            tally.distances.append(_hd95(whole == value, whole_truth == value, sampling))
    scores = {value: tallies[value].score() for value in sorted(tallies)}
    mean_dice = float(np.mean([score.dice for score in scores.values()])) if scores else None
    return Evaluation(scores, mean_dice)


def dice(prediction: npt.ArrayLike, truth: npt.ArrayLike) -> float:
    """Overlap of two bool arrays of one shape, 2 |A and B| / (|A| + |B|); 1 if both are empty.

    Raises
    ------
    InputError
        If the shapes differ.
    """
    a, b = np.asarray(prediction, dtype=bool), np.asarray(truth, dtype=bool)
    check_shapes(a, b)
    total = np.count_nonzero(a) + np.count_nonzero(b)
    return 2 * np.count_nonzero(a & b) / total if total else 1.0


def check_shapes(prediction: StackLike, labels: StackLike, mask: StackLike | None = None) -> None:
    """Raise InputError if the shapes differ."""
    if tuple(prediction.shape) != tuple(labels.shape):
        raise InputError(
            f"the prediction's shape {tuple(prediction.shape)} is not the labels' shape "
            f"{tuple(labels.shape)}: give two of one shape"
        )
    if mask is not None and tuple(mask.shape) != tuple(labels.shape):
        raise InputError(
            f"the mask's shape {tuple(mask.shape)} is not the labels' shape "
            f"{tuple(labels.shape)}: give two of one shape"
        )


def _checked_spacing(spacing: Sequence[float] | None) -> tuple[float, ...]:
    sizes = (1.0, 1.0, 1.0) if spacing is None else tuple(float(size) for size in spacing)
    if len(sizes) != 3 or not all(0 < size < np.inf for size in sizes):
        raise InputError(f"the spacing {sizes} is not three positive numbers (z, y, x)")
    return sizes


def pairs_of_slices(
    prediction: StackLike,
    labels: StackLike,
    mask: StackLike | None = None,
    classes: Sequence[int] | None = None,
) -> Iterator[tuple[IntArray, IntArray]]:
    """Load the slices of both sides pair by pair.

    Parameters
    ----------
    prediction, labels, mask, classes
        See `evaluate`.

    Yields
    ------
    predicted, truth
        Integers, shape (Y, X) each; 0 where nothing is scored.

    Raises
    ------
    InputError
        If the shape is neither (Z, Y, X) nor (Y, X), or values are not integers.
    """
    if len(labels.shape) == 2:
        indices: Sequence[int | slice] = [slice(None)]
    elif len(labels.shape) == 3:
        indices = range(labels.shape[0])
    else:
        raise InputError(f"labels of shape {tuple(labels.shape)} are neither (Z, Y, X) nor (Y, X)")
    for index in indices:
        scored = True if mask is None else np.asarray(mask[index], dtype=bool)
        pair = [_integers(side[index]) for side in (prediction, labels)]
        if classes is not None:
            pair = [np.where(np.isin(values, classes), values, 0) for values in pair]
        yield np.where(scored, pair[0], 0), np.where(scored, pair[1], 0)


def _integers(values: npt.ArrayLike) -> IntArray:
    array = np.asarray(values)
    if array.dtype.kind not in "bui":
        raise InputError(f"class values of type {array.dtype} cannot be scored: give integers")
    return array.astype(np.uint8) if array.dtype.kind == "b" else array


def _count(predicted: IntArray, truth: IntArray, tallies: defaultdict[int, _Tally]) -> list[int]:
    """Add one slice's voxels to the tallies; returns the classes that the slice has."""
    overlap = _histogram(truth[predicted == truth])
    total = _histogram(predicted) + _histogram(truth)
    for value, count in total.items():
        tallies[value].overlap += overlap[value]
        tallies[value].total += count
    return list(total)


def _histogram(values: IntArray) -> Counter[int]:
    found, counts = np.unique(values[values != 0], return_counts=True)
    return Counter(dict(zip(found.tolist(), counts.tolist(), strict=True)))


def _hd95(a: BoolArray, b: BoolArray, sampling: Sequence[float]) -> float:
    """HD95 of two masks of which at least one is not empty."""
    if not (a.any() and b.any()):
        lengths = [(n - 1) * size for n, size in zip(a.shape, sampling, strict=True)]
        return float(np.linalg.norm(lengths))
    (box,) = ndimage.find_objects((a | b).astype(np.uint8))  # voxels outside cannot affect the result
    surface_a, surface_b = _surface(a[box]), _surface(b[box])
    to_a = ndimage.distance_transform_edt(~surface_a, sampling=sampling)
    to_b = ndimage.distance_transform_edt(~surface_b, sampling=sampling)
    return float(np.percentile(np.concatenate([to_b[surface_a], to_a[surface_b]]), 95))


def _surface(mask: BoolArray) -> BoolArray:
    """Voxels with a face towards the outside; the array's border counts as outside."""
    surface: BoolArray = mask & ~ndimage.binary_erosion(mask)
    return surface
