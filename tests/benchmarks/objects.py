"""Objects: numbered nuclei against labelled ones, beside the connected pieces of the same class map.

    python tests/benchmarks/objects.py [SET ...] [--steps N] [--views N] [--seed N] [--keep FOLDER]

Trains on a few painted slices with the numbers of their objects, segments others, and prints average
precision at IoU 0.5 and panoptic quality. With --keep, probabilities and labels go into a file a set, from
which other ways to separate them can be tried without training.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from sets import DATA

import napari_salt as ns
from napari_salt.core.segment.objects import numbered
from napari_salt.core.segment.stack import segmentation_events
from napari_salt.terms.events import SliceResult

MISSING = f"the benchmark stacks are not there: {DATA} is missing"


@dataclass(frozen=True)
class Nuclei:
    """A stack of nuclei: slices that are painted and scored, and whether they are unrelated images."""

    painted: tuple[int, ...]
    scored: tuple[int, ...]
    unrelated: bool = False
    pixel_size: float | None = None


NUCLEI = {
    "dsb2018_nuclei2d": Nuclei(
        (0, 6, 13, 19, 26), tuple(i for i in range(40) if i not in (0, 6, 13, 19, 26)), True
    ),
    "ovule_nuclei3d_1136": Nuclei((30, 70), tuple(range(100)), pixel_size=0.1276),
    "stardist_nuclei3d": Nuclei((8, 15, 22), tuple(range(31))),
}


def main() -> None:
    """Train, segment and score each set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "sets", nargs="*", default=list(NUCLEI), metavar="SET", help=f"of {', '.join(NUCLEI)}"
    )
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--views", type=int, default=4, choices=(1, 2, 4))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(MISSING)
    for name in options.sets:
        image, truth = (tifffile.imread(DATA / name / f"{file}.tif") for file in ("image", "label_instances"))
        paint = np.zeros_like(truth)
        painted = list(NUCLEI[name].painted)
        paint[painted] = truth[painted]
        adapter = ns.train(
            image, paint, training_of(NUCLEI[name], options), pixel_size=NUCLEI[name].pixel_size
        )
        facts = score(image, truth, adapter, NUCLEI[name], options, name)
        sys.stdout.write(
            json.dumps({"set": name, "seed": options.seed, "steps": options.steps} | facts) + "\n"
        )
        sys.stdout.flush()


def training_of(chosen: Nuclei, options: argparse.Namespace) -> ns.TrainConfig:
    """How to train on a set."""
    return ns.TrainConfig(
        steps=options.steps, seed=options.seed, painted="objects", independent=chosen.unrelated
    )


def score(
    image: NDArray[np.generic],
    truth: NDArray[np.integer],
    adapter: ns.Adapter,
    chosen: Nuclei,
    options: argparse.Namespace,
    name: str,
) -> dict[str, object]:
    """Scores of the objects, and of connected pieces of the classes."""
    config = ns.SegmentConfig(slices=chosen.scored, views=options.views)
    events = segmentation_events(image, adapter, config, pixel_size=chosen.pixel_size)
    results = [(each.labels, each.probabilities) for each in events]
    classes = np.stack([labels for labels, _ in results])
    chances = np.stack([np.rint(255 * given).astype(np.uint8) for _, given in results])
    wanted = truth[list(chosen.scored)]
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(options.keep / f"{name}.npz", classes=classes, chances=chances, truth=wanted)
    found, pieces = (
        separate(results, adapter, chosen.scored, borders=borders, unrelated=chosen.unrelated)
        for borders in (True, False)
    )
    scores = {
        way: ns.evaluate_objects(objects, wanted, each_slice=chosen.unrelated).to_json()
        for way, objects in (("objects", found), ("pieces", pieces))
    }
    return scores | {"dice": round(dice(classes, wanted), 4)}


def separate(
    results: Sequence[tuple[NDArray[np.integer], NDArray[np.float32]]],
    adapter: ns.Adapter,
    slices: Sequence[int],
    *,
    borders: bool,
    unrelated: bool,
) -> NDArray[np.int32]:
    """Objects as ``segment --objects`` gives them; without `borders`, connected pieces of the classes."""
    events = (
        SliceResult(index, labels, given, 0) for index, (labels, given) in zip(slices, results, strict=True)
    )
    smallest = adapter.smallest / adapter.preprocess.pixel_scale**2
    found = numbered(events, borders=borders, divided=adapter.divided, smallest=smallest, unrelated=unrelated)
    return np.stack([event.labels for event in found if event.final])


def dice(classes: NDArray[np.integer], truth: NDArray[np.integer]) -> float:
    """Of all objects together."""
    both = np.count_nonzero((classes > 0) & (truth > 0))
    return 2 * both / (np.count_nonzero(classes) + np.count_nonzero(truth))


if __name__ == "__main__":
    main()
