"""``napari-salt demo``: train on the bundled sample, segment and score it, and draw the result."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_salt.cli._outputs import Outputs
from napari_salt.cli._segment import run_segmentation
from napari_salt.cli._terminal import tell
from napari_salt.cli._train import run_training, training_stacks
from napari_salt.io import read_labels, read_stack, write_labels
from napari_salt.samples import PAINTED_SLICES, nuclei3d_image, nuclei3d_labels
from napari_salt.terms.card import AdapterCard
from napari_salt.terms.config import SegmentConfig, TrainConfig
from napari_salt.terms.errors import InputError
from napari_salt.terms.preprocess import Preprocess

__all__ = ["demo"]

OVERLAY_SLICES = (3, 15, 27)
OVERLAY_SCALE = 5
TRUTH, FOUND, FOREST = (255, 255, 255), (255, 170, 0), (0, 200, 255)


def demo(options: argparse.Namespace) -> tuple[dict[str, Any], bool]:
    """Train on two painted slices, segment, and score the other slices, also of a random forest.

    Returns
    -------
    result, interrupted
        What ``demo --json`` prints, and whether Ctrl-C ended it early.
    """
    began = time.monotonic()
    folder = _made(options.out)
    image, labels = read_stack(nuclei3d_image()), read_labels(nuclei3d_labels())
    paint = _painted(np.asarray(labels.data))
    write_labels(folder / "painted.tif", paint, image)
    config = TrainConfig(minutes=options.minutes, class_names={1: "nucleus"})
    tell(f"training on slices {PAINTED_SLICES[0]} and {PAINTED_SLICES[1]} of {len(paint)}")
    painted = read_labels(folder / "painted.tif")
    adapter_path = folder / "nuclei.salt.safetensors"
    adapter, interrupted = run_training(training_stacks([(image, painted)]), config, adapter_path)
    segmentation = folder / "segmentation.tif"
    if not interrupted:
        _tell_of_few_steps(adapter)
        _, interrupted = run_segmentation(image, adapter, SegmentConfig(), Outputs(segmentation))
    if interrupted:
        tell(f"interrupted; the adapter so far is {adapter_path}")
        return {"adapter": str(adapter_path)}, True
    found = np.asarray(read_labels(segmentation).data)
    try:
        forest = _forest(np.asarray(image.data), paint)
    except KeyboardInterrupt:
        tell(f"interrupted; the adapter is {adapter_path}, the segmentation {segmentation}")
        return {"adapter": str(adapter_path), "segmentation": str(segmentation)}, True
    truth = np.asarray(labels.data)
    overlay = folder / "overlay.png"
    _write_overlay(overlay, np.asarray(image.data), truth, found, forest)
    result = {
        "mean_dice": _score(found, truth),
        "forest_dice": _score(forest, truth),
        "seconds": round(time.monotonic() - began, 1),
        "adapter": str(adapter_path),
        "adapter_bytes": adapter_path.stat().st_size,
        "segmentation": str(segmentation),
        "overlay": str(overlay),
    }
    if not options.json:
        _report(result)
    return result, False


def _tell_of_few_steps(adapter: AdapterCard) -> None:
    from napari_salt.core.train.verdict import few_steps

    few = few_steps(adapter)
    if few:
        tell(few)


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"the folder {folder} cannot be made ({error.strerror}); choose another with --out"
        ) from error
    return folder


def _painted(labels: NDArray[Any]) -> NDArray[Any]:
    paint = np.zeros_like(labels)
    paint[list(PAINTED_SLICES)] = labels[list(PAINTED_SLICES)]
    return paint


def _forest(image: NDArray[Any], paint: NDArray[Any]) -> NDArray[Any]:
    from napari_salt.core.paint.annotations import read_annotations
    from napari_salt.core.paint.preprocess import SliceReader
    from napari_salt.core.train.forest import forest_segmentation

    tell("a random forest on filters, from the same paint")
    slices = range(len(image))
    planes = forest_segmentation(SliceReader(image, Preprocess()), read_annotations(paint), slices)
    return np.stack([plane for _, plane in planes]).astype(np.uint8)


def _score(found: NDArray[Any], truth: NDArray[Any]) -> float:
    """Dice over all slices that were not painted."""
    from napari_salt.core.metrics import dice

    scored = [index for index in range(len(truth)) if index not in PAINTED_SLICES]
    return round(dice(found[scored] > 0, truth[scored] > 0), 4)


def _write_overlay(
    path: Path,
    image: NDArray[Any],
    truth: NDArray[Any],
    found: NDArray[Any],
    forest: NDArray[Any],
) -> None:
    """Rows: slices. Columns: image, then outlines: expert (white), expert and SALT, expert and forest."""
    from skimage.io import imsave

    rows = []
    for index in OVERLAY_SLICES:
        grey = _grey(image[index])
        panels = [
            grey,
            _outlined(grey, [(truth[index], TRUTH)]),
            _outlined(grey, [(truth[index], TRUTH), (found[index], FOUND)]),
            _outlined(grey, [(truth[index], TRUTH), (forest[index], FOREST)]),
        ]
        rows.append(np.hstack([np.pad(p, ((2, 2), (2, 2), (0, 0))) for p in panels]))
    imsave(path, np.vstack(rows), check_contrast=False)


def _grey(plane: NDArray[Any]) -> NDArray[np.uint8]:
    low, high = np.percentile(plane, (0.5, 99.5))
    scaled = np.clip((plane - low) / max(high - low, 1), 0, 1)
    large = np.kron(scaled, np.ones((OVERLAY_SCALE, OVERLAY_SCALE)))
    return np.repeat((220 * large).astype(np.uint8)[..., None], 3, axis=2)


def _outlined(
    grey: NDArray[np.uint8], masks: list[tuple[NDArray[Any], tuple[int, int, int]]]
) -> NDArray[np.uint8]:
    from skimage.segmentation import find_boundaries

    picture = grey.copy()
    for mask, color in masks:
        large = np.kron(mask > 0, np.ones((OVERLAY_SCALE, OVERLAY_SCALE), bool))
        outline = find_boundaries(large, mode="inner")  # type: ignore[no-untyped-call]
        picture[outline] = color
    return picture


def _report(result: dict[str, Any]) -> None:
    sys.stdout.write(
        f"held-out Dice {result['mean_dice']:.3f} (random forest on the same paint: "
        f"{result['forest_dice']:.3f}) in {result['seconds']:.0f} s\n"
        f"adapter       {result['adapter']} ({result['adapter_bytes'] / 1e3:.0f} kB)\n"
        f"segmentation  {result['segmentation']}\n"
        f"overlay       {result['overlay']} (columns: image, expert, SALT in orange, forest in "
        "blue; white is the expert)\n"
    )
