"""What going on with an adapter on another stack makes it forget, and what mixing old and new tensors keeps.

    python tests/benchmarks/forgetting.py [--cases 4] [--steps 60] [--seed 0]

An adapter is trained on three slices of the hippocampus of one patient, and goes on with three slices of
another. Old and new tensors are mixed in several shares, and each mixture is scored (mean Dice of the
classes) on slices of both patients that were not painted. Prints a line of JSON for each other patient.
"""

import argparse
import json
import sys
from dataclasses import replace

import numpy as np
from sets import DATA

import napari_salt as ns
from napari_salt.core.metrics import dice
from napari_salt.io import read_labels, read_stack

CASES = DATA / "msd_hippocampus" / "cases"
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
PAINTED = (0.3, 0.5, 0.7)
"""Painted slices, as shares of the slices in which anything is."""
CLASSES = (1, 2)
VIEWS, PIXEL = 1, 1000.0


def main() -> None:
    """Train, go on, mix and score."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=4, help="patients that are gone on with")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"the benchmark stacks are not there: {DATA} is missing")
    names = sorted({path.name.rpartition("_")[0] for path in CASES.glob("*_image.tif")})
    first, *others = names[: options.cases + 1]
    config = ns.TrainConfig(steps=options.steps, seed=options.seed)
    old = _trained(first, config)
    for other in others:
        new = _trained(other, config, old)
        alone = _trained(other, config)
        result = {
            "from": first,
            "to": other,
            "steps": options.steps,
            "seed": options.seed,
            "to_alone": _score(alone, other),
            "old_by_share": {share: _score(_mixed(old, new, share), first) for share in SHARES},
            "new_by_share": {share: _score(_mixed(old, new, share), other) for share in SHARES},
        }
        print(json.dumps(result), flush=True)  # noqa: T201


def _painted_slices(truth: np.ndarray) -> list[int]:
    there = np.flatnonzero(truth.any((1, 2)))
    return [int(there[round(share * (len(there) - 1))]) for share in PAINTED]


def _read(case: str) -> tuple[np.ndarray, np.ndarray]:
    image, truth = CASES / f"{case}_image.tif", CASES / f"{case}_label.tif"
    return np.asarray(read_stack(image).data), np.asarray(read_labels(truth).data)


def _trained(case: str, config: ns.TrainConfig, init: ns.Adapter | None = None) -> ns.Adapter:
    image, truth = _read(case)
    paint = np.zeros_like(truth)
    slices = _painted_slices(truth)
    paint[slices] = truth[slices]
    return ns.train(image, paint, config, init=init, pixel_size=PIXEL)


def _mixed(old: ns.Adapter, new: ns.Adapter, share: float) -> ns.Adapter:
    tensors = {name: (1 - share) * old.tensors[name] + share * tensor for name, tensor in new.tensors.items()}
    return replace(new, tensors=tensors)


def _score(adapter: ns.Adapter, case: str) -> float:
    image, truth = _read(case)
    slices = [i for i in np.flatnonzero(truth.any((1, 2))) if i not in _painted_slices(truth)][::3]
    config = ns.SegmentConfig(slices=tuple(map(int, slices)), views=VIEWS)
    found = ns.segment(image, adapter, config, pixel_size=PIXEL)
    return round(float(np.mean([dice(found[slices] == c, truth[slices] == c) for c in CLASSES])), 4)


if __name__ == "__main__":
    main()
