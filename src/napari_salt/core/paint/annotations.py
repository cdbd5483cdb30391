"""From painted labels to what training may learn from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_salt.terms.card import DIVIDED
from napari_salt.terms.config import Unpainted
from napari_salt.terms.errors import InputError
from napari_salt.terms.paint_checks import check_class_count, lines_of, painted_across
from napari_salt.terms.slice_ranges import check_slices
from napari_salt.terms.stack import StackLike

__all__ = [
    "IGNORE",
    "Annotations",
    "PaintedSlice",
    "check_not_across",
    "orientation_matters",
    "painted_diameter",
    "painted_planes",
    "read_annotations",
]

Target = NDArray[np.int16]

IGNORE = -1
"""Target value of a pixel whose class is unknown."""

STROKE_SHARE = 0.25
"""Spread of the marks' widths (standard deviation / mean) below which they are of one brush."""
LEAST_COMMON = 0.1
"""Least share of pixels known on both of two slices for their agreement to count."""
AGREEMENT = 0.25
"""Chance-corrected agreement of painted slices above which position carries meaning."""


@dataclass(frozen=True)
class PaintedSlice:
    """One slice with paint.

    Parameters
    ----------
    index
        Position in its stack.
    target
        int16, shape (Y, X): 0 background, 1..K classes, `IGNORE` where the class is unknown.
    stack
        Which of the stacks it is from.
    """

    index: int
    target: Target
    stack: int = 0


@dataclass(frozen=True)
class Annotations:
    """All paint of a stack, or of several.

    Parameters
    ----------
    slices
        The slices used, in order.
    values
        Label value of each class 1..K.
    border
        Class of the borders of objects; 0 where classes are painted.
    divided
        At which depth touching objects come apart (see `core.paint.dividing`).
    smallest
        Area of the smallest objects of each stack, in its pixels (see `core.paint.objects.smallest_area`).
    looks_like_strokes
        Whether the paint seems to be strokes, although unpainted pixels count as background.
    """

    slices: tuple[PaintedSlice, ...]
    values: tuple[int, ...]
    looks_like_strokes: bool = False
    border: int = 0
    divided: float = DIVIDED
    smallest: tuple[float, ...] = ()


def read_annotations(
    labels: StackLike,
    *,
    slices: Sequence[int] | None = None,
    unpainted: Unpainted = "background",
    background_label: int | None = None,
    values: Sequence[int] = (),
    stack: int = 0,
    marks: Mapping[int, Unpainted] | None = None,
) -> Annotations:
    """Collect the painted slices of `labels`, reading one slice at a time.

    Parameters
    ----------
    labels
        Whole numbers from 0, shape (Z, Y, X).
    slices
        Slices to use, painted or not; by default those with any paint. With ``"ignore"``, slices
        without paint are left out.
    unpainted
        What 0 means on a slice that is used: ``"background"``, or ``"ignore"`` (unknown).
    background_label
        With ``"ignore"``, the painted value that means background (default 1).
    values
        Label values of classes that exist even if not painted (those of the adapter that training
        continues from).
    stack
        Number of the stack that these labels belong to, from 0.
    marks
        What 0 means on single slices, by position, in place of `unpainted`: complete slices and strokes
        can be mixed. A slice marked ``"background"`` is used also without paint.

    Returns
    -------
    Annotations
        Of this stack; its classes are `values`, then the other painted ones in ascending order.

    Raises
    ------
    InputError
        No paint, one class everywhere, negative or fractional values, far more values than a training
        can have classes, slices out of range, paint on a plane across the slices, or a background label
        that contradicts `unpainted` or `values`.
    """
    if background_label is not None and unpainted == "background":
        raise InputError("background_label is for unpainted='ignore'; set both or neither")
    background = (background_label or 1) if unpainted == "ignore" else 0
    if background in values:
        raise InputError(
            f"background label {background} is a class of the adapter to go on from; paint background "
            "with another label, and name it as the background label"
        )
    marks = marks or {}
    planes, complete = {}, set()
    present: set[int] = set()
    for index, plane in painted_planes(labels, slices, unpainted, marks):
        planes[index] = plane
        if marks.get(index, unpainted) == "background":
            complete.add(index)
        present.update(value for value in np.unique(plane).tolist() if value or index in complete)
        check_class_count(present - {0, background, *values})
    check_not_across(planes)
    found = _class_values(present, background, some_complete=bool(complete))
    values = (*values, *(value for value in found if value not in values))
    painted = tuple(
        PaintedSlice(index, _target(plane, values, background, complete=index in complete), stack)
        for index, plane in planes.items()
    )
    unasked = [each for each in painted if each.index in complete and each.index not in marks]
    strokes = unpainted == "background" and _looks_like_strokes(unasked)
    return Annotations(painted, values, strokes)


def painted_planes(
    labels: StackLike,
    slices: Sequence[int] | None,
    unpainted: Unpainted,
    marks: Mapping[int, Unpainted] | None = None,
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Read the slices that `read_annotations` uses, one at a time.

    Yields
    ------
    index, labels
        Slice number, and its labels as int64, shape (Y, X).

    Raises
    ------
    InputError
        If the labels are no stack of whole numbers from 0, or do not have these slices.
    """
    if len(labels.shape) != 3:
        raise InputError(f"the labels have shape {tuple(labels.shape)}; give (Z, Y, X)")
    count = int(labels.shape[0])
    chosen = range(count) if slices is None else sorted(set(slices))
    check_slices(chosen, count)
    marks = marks or {}
    for index in chosen:
        plane = _label_plane(labels, index)
        told = slices is not None or index in marks
        if plane.any() or (told and marks.get(index, unpainted) == "background"):
            yield index, plane


def check_not_across(planes: Mapping[int, NDArray[np.integer]], axes: tuple[str, str] = ("y", "x")) -> None:
    """Refuse paint on a plane across the slices.

    Parameters
    ----------
    planes
        Labels (Y, X) by slice number.
    axes
        Names of the stored axes that rows and columns follow.

    Raises
    ------
    InputError
        If there is such paint (see `painted_across`).
    """
    across = painted_across({index: lines_of(plane) for index, plane in planes.items() if plane.any()})
    if across:
        axis = dict(zip("yx", axes, strict=True))[across[0]]
        raise InputError(
            f"the paint at {axis}{across[1:]} is one pixel wide and lies across the slices; say that planes "
            f"of {axis} are painted (--plane {axis}), or paint whole slices"
        )


def orientation_matters(slices: Sequence[PaintedSlice]) -> bool:
    """Whether the classes sit in the same place from slice to slice, as in anatomy.

    Measured by Cohen's kappa of each class's masks over all pairs of painted slices of one shape: 0 where the
    masks meet as often as chance would have it (cells, organelles), high for organs. With fewer than
    two slices nothing is known, and the answer is no.
    """
    kappas = [
        kappa
        for first, second in combinations(slices, 2)
        if first.target.shape == second.target.shape
        for value in np.unique(first.target[first.target > 0])
        if (kappa := _kappa(first.target, second.target, int(value))) is not None
    ]
    return bool(kappas) and float(np.mean(kappas)) > AGREEMENT


def painted_diameter(slices: Sequence[PaintedSlice]) -> float:
    """Typical thickness in pixels of what is painted: the area-weighted median over objects.

    The thickness of a connected object is twice the largest distance from inside it to its border.
    The class with the thinnest objects decides: if these are visible, all are.
    """
    by_class: dict[int, list[tuple[float, int]]] = {}
    for painted in slices:
        for value in np.unique(painted.target[painted.target > 0]):
            thickness, areas = _objects(painted.target == value)
            by_class.setdefault(int(value), []).extend(zip(thickness, areas, strict=True))
    return min(_weighted_median(pairs) for pairs in by_class.values())


def _label_plane(labels: StackLike, index: int) -> NDArray[np.int64]:
    plane = np.asarray(labels[index])
    if plane.dtype.kind not in "buif":
        raise InputError(f"the labels have dtype {plane.dtype}; give whole numbers from 0")
    if plane.dtype.kind == "f":
        odd = plane[~(np.isfinite(plane) & (plane == np.rint(plane)))]
        if odd.size:
            raise InputError(f"the labels hold {odd[0]} on slice {index}; give whole numbers from 0")
    if plane.dtype.kind in "if" and plane.min() < 0:
        raise InputError(f"the labels hold {plane.min():g} on slice {index}; give whole numbers from 0")
    return plane.astype(np.int64)


def _class_values(found: set[int], background: int, *, some_complete: bool) -> tuple[int, ...]:
    painted = found - {0}
    if not painted:
        raise InputError("nothing is painted on the slices to train on; paint at least one class")
    if not some_complete and not background:
        raise InputError(
            "all painted slices are marked as strokes, and nothing says what background is; mark a slice as "
            "complete, or let unpainted be unknown and paint background with a label of its own"
        )
    if not some_complete and background not in painted:
        raise InputError(
            f"background label {background} is not painted (found {sorted(painted)}); "
            "paint some background with it, or name the label that means background"
        )
    classes = painted - {background}
    if not classes:
        raise InputError(
            f"only background (label {background}) is painted; paint at least one class beside it"
        )
    if len(classes) == 1 and some_complete and not {0, background} & found:
        value = next(iter(classes))
        raise InputError(
            f"label {value} covers all of the painted slices; leave the background unpainted, "
            "or paint a second class"
        )
    return tuple(sorted(classes))


def _target(plane: NDArray[np.int64], values: tuple[int, ...], background: int, *, complete: bool) -> Target:
    target = np.full(plane.shape, 0 if complete else IGNORE, np.int16)
    for number, value in enumerate(values, start=1):
        target[plane == value] = number
    if background:
        target[plane == background] = 0
    return target


def _objects(mask: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Thickness (twice the largest distance to the border) and area in pixels of each connected object."""
    objects, count = ndimage.label(mask)
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    numbers = np.arange(1, count + 1)
    return 2 * ndimage.maximum(depth, objects, numbers), ndimage.sum_labels(mask, objects, numbers)


def _looks_like_strokes(slices: Iterable[PaintedSlice]) -> bool:
    """Whether every slice's paint is a few long thin marks: one brush width, far longer than wide."""
    verdicts = []
    for painted in slices:
        mask = painted.target > 0
        if not mask.any():
            continue
        width, areas = _objects(mask)
        elongation = float(np.sum(areas * areas / width**2) / areas.sum())
        sparse = mask.mean() < 0.05
        one_brush = float(np.std(width) / np.mean(width)) < STROKE_SHARE
        verdicts.append(sparse and len(areas) <= 20 and one_brush and elongation > 5)
    return bool(verdicts) and all(verdicts)


def _kappa(first: Target, second: Target, value: int) -> float | None:
    """Cohen's kappa of one class's masks over the pixels known on both slices; None where undefined."""
    known = (first != IGNORE) & (second != IGNORE)
    if known.mean() < LEAST_COMMON:
        return None
    a, b = first[known] == value, second[known] == value
    if not a.any() or not b.any():
        return None
    agreement = float((a == b).mean())
    chance = float(a.mean() * b.mean() + (1 - a.mean()) * (1 - b.mean()))
    return None if chance == 1 else (agreement - chance) / (1 - chance)


def _weighted_median(pairs: Sequence[tuple[float, int]]) -> float:
    ordered = sorted(pairs)
    weights = np.cumsum([weight for _, weight in ordered])
    return float(ordered[int(np.searchsorted(weights, weights[-1] / 2))][0])
