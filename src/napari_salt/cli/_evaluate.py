"""The command ``evaluate``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from napari_salt.cli._terminal import say
from napari_salt.io import Stack, read_labels
from napari_salt.io._stack import known_spacing
from napari_salt.terms.errors import InputError
from napari_salt.terms.slice_ranges import check_slices

if TYPE_CHECKING:
    pass

__all__ = ["evaluate"]

Result = tuple[dict[str, Any], bool]


def evaluate(options: argparse.Namespace) -> Result:
    """``napari-salt evaluate``."""
    from napari_salt.core.metrics import evaluate as score

    predicted = read_labels(options.prediction, axes=options.axes)
    if predicted.partial:  # a segmentation of the slices in which there is something
        whole = read_labels(options.labels, axes=options.axes)
        predicted = read_labels(options.prediction, axes=options.axes, like=whole)
    how: dict[str, Any] = {"axes": options.axes, "like": predicted, "resample": options.resample}
    true = read_labels(options.labels, **how)
    mask = read_labels(options.mask, **how) if options.mask else None
    prediction, labels = (_picked(stack, options.slices) for stack in (predicted, true))
    where = None if mask is None else _picked(mask, options.slices)
    if options.objects:
        return _evaluate_objects(options, prediction, labels, where)
    evaluation = score(
        prediction,
        labels,
        spacing=known_spacing([predicted, true], three_d=options.three_d),
        three_d=options.three_d,
        mask=where,
        classes=options.classes,
    )
    result = evaluation.to_json()
    if not options.json:
        for value, scores in result["classes"].items():
            numbers = "  ".join(f"{k} {'-' if v is None else f'{v:.4f}'}" for k, v in scores.items())
            say(f"class {value}: {numbers}")
        mean = result["mean_dice"]
        say(f"mean Dice {'-' if mean is None else f'{mean:.4f}'}")
    return result, False


def _evaluate_objects(options: argparse.Namespace, prediction: Any, labels: Any, mask: Any) -> Result:
    from napari_salt.core.object_metrics import evaluate_objects

    if options.classes is not None or options.three_d:
        raise InputError("--objects scores objects of all numbers, in 3D; leave out --classes and --3d")
    score = evaluate_objects(prediction, labels, mask=mask, each_slice=options.each_slice)
    if not options.json:
        say(f"AP50 {score.ap50:.4f}  PQ {score.pq:.4f}")
        say(f"{score.predicted} objects, {score.true} are labelled, {score.matched} of them found")
    return score.to_json(), False


def _picked(stack: Stack, slices: tuple[int, ...] | None) -> Any:
    check_slices(slices or (), len(stack.data), stack.source)
    return stack.data if slices is None else stack.data[list(slices)]
