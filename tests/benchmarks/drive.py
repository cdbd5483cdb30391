"""Retinal vessels as in the SALT paper: trained on DRIVE's 20 training images, scored on its 20 test images.

    python tests/benchmarks/drive.py [--steps N] [--seed N] [--adapter FILE]

The defaults take half an hour of training on two cores, and a quarter of an hour for the test images.
An adapter that is there is used as it is. Prints Dice within the field of view, of all pixels together and
averaged over the images, for one view and for the default of four; and the adapter's size.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import tifffile
from sets import DATA

import napari_salt as ns
from napari_salt.core.bases.load import load_base
from napari_salt.core.segment.stack import segmentation_events
from napari_salt.terms.registry import base_spec

TRAINING, TEST = tuple(range(20)), tuple(range(20, 40))
STEPS = 1500


def main() -> None:
    """Train unless the adapter is there; segment and score."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--adapter", type=Path, default=Path("drive.salt.safetensors"))
    options = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"the benchmark stacks are not there: {DATA} is missing")
    image, truth, field = (
        tifffile.imread(DATA / "drive" / f"{name}.tif") for name in ("image", "label", "label_fov")
    )
    if not options.adapter.exists():
        train(image, truth, options)
    adapter = ns.Adapter.load(options.adapter)
    scores = {f"{views} views": dice(image, truth, field > 0, adapter, views) for views in (1, 4)}
    total = sum(parameter.numel() for parameter in load_base(adapter.base_model).module.parameters())
    facts = {
        "steps": adapter.training["steps"],
        "seconds": adapter.training["seconds"],
        "held_out_dice": adapter.training["held_out_dice"],
        "adapter_bytes": options.adapter.stat().st_size,
        "trained_parameters": adapter.parameter_count,
        "share_of_base": round(adapter.parameter_count / total, 4),
        "base": base_spec(adapter.base_model).name,
    }
    sys.stdout.write(json.dumps(scores | facts) + "\n")


def train(image: np.ndarray, truth: np.ndarray, options: argparse.Namespace) -> None:
    """Train, keeping the best adapter so far in the file."""
    config = ns.TrainConfig(steps=options.steps, seed=options.seed, independent=True, slices=TRAINING)
    for event in ns.training_events(image, (truth > 0).astype(np.uint8), config):
        if event.adapter is not None:
            event.adapter.save(options.adapter)
        if event.held_out_dice:
            sys.stderr.write(f"step {event.step}: held-out Dice {event.held_out_dice}\n")


def dice(
    image: np.ndarray, truth: np.ndarray, field: np.ndarray, adapter: ns.Adapter, views: int
) -> dict[str, float]:
    """Dice on the test images."""
    both, sizes = [], []
    for result in segmentation_events(image, adapter, ns.SegmentConfig(slices=TEST, views=views)):
        found, wanted = (plane[field[result.index]] > 0 for plane in (result.labels, truth[result.index]))
        both.append(2 * np.count_nonzero(found & wanted))
        sizes.append(np.count_nonzero(found) + np.count_nonzero(wanted))
    return {
        "dice": round(sum(both) / sum(sizes), 4),
        "mean_dice": round(float(np.mean(np.divide(both, sizes))), 4),
    }


if __name__ == "__main__":
    main()
