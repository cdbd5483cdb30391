"""What `segment --quality fast` costs and brings beside `best`, on a set of the accuracy benchmark.

    python tests/benchmarks/quality.py SET [--adapter FILE] [--steps N] [--seed N]

An adapter that is there is used as it is, else one is trained on three slices of the set and kept there.
Prints the mean Dice on the scored slices and processor seconds of both, one after the other.
"""

import argparse
import json
import sys
import time
from pathlib import Path

from accuracy_run import scores
from sets import SETS, STEPS, own_part, paint_of

import napari_salt as ns
from napari_salt.core.segment.stack import segmentation_events
from napari_salt.terms.config import SegmentConfig, TrainConfig

QUALITIES = ("best", "fast")


def main() -> None:
    """Train unless the adapter is there; segment twice and score."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("set", choices=SETS)
    parser.add_argument("--adapter", type=Path, help="by default the set's name in this folder")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    path = options.adapter or Path(f"{options.set}.salt.safetensors")
    part = own_part(options.set)
    if not path.exists():
        independent = SETS[options.set].independent
        config = TrainConfig(steps=options.steps, seed=options.seed, independent=independent)
        paint = paint_of(options.set, "three", options.seed).labels
        ns.train(part.image, paint, config, pixel_size=part.pixel_size).save(path)
    adapter = ns.Adapter.load(path)
    segmenter = adapter.build().merged()
    told = {}
    for quality in QUALITIES:
        config = SegmentConfig(slices=part.slices, quality=quality, runtime="torch")
        began = time.process_time()
        results = list(
            segmentation_events(part.image, adapter, config, pixel_size=part.pixel_size, segmenter=segmenter)
        )
        seconds = time.process_time() - began
        dice = scores([r.labels for r in results], [part], SETS[options.set].classes)["mean_dice"]
        told[quality] = {"mean_dice": round(dice, 4), "processor_seconds": round(seconds, 1)}
    told["share_of_time"] = round(told["fast"]["processor_seconds"] / told["best"]["processor_seconds"], 3)
    sys.stdout.write(json.dumps({"set": options.set, "steps": adapter.training["steps"], **told}) + "\n")


if __name__ == "__main__":
    main()
