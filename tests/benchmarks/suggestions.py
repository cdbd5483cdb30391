"""Is it worth following the suggested slices? Three of them against three that are spread evenly.

    python tests/benchmarks/suggestions.py [SET ...] [--seeds 0 1 2] [--steps N] [--results FILE]

Both begin with the middle slice of the set's three. Following: an adapter is trained on what is painted, the
slice that it suggests first is painted as well, until there are three. Evenly: the set's three. Then both are
trained alike and scored on the same slices, which are never suggested. Runs that have a result are not made
again.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from accuracy import write
from accuracy_run import segmented
from numpy.typing import NDArray
from sets import SETS, STEPS, Part, own_part

import napari_salt as ns
from napari_salt.core.metrics import evaluate

CHOSEN = ("vnc_sstem_half", "qcanet_embryo_8cell", "ovule_nuclei3d_1136", "vertebra_mri")
RESULTS = Path(__file__).parent / "results" / "suggestions.json"
ASKING = 50
"""Steps of a training that is only to suggest a slice."""


def main() -> None:
    """Make the runs that are missing, and print all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sets", nargs="*", default=CHOSEN, metavar="SET", help=f"of {', '.join(SETS)}")
    parser.add_argument("--seeds", nargs="+", type=int, default=(0, 1, 2))
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    results = json.loads(options.results.read_text()) if options.results.exists() else {}
    for seed in options.seeds:
        for name in options.sets:
            for way in ("suggested", "even"):
                key = f"{name}/{way}/seed{seed}"
                if key not in results:
                    results[key] = run(name, way, seed, options.steps)
                    write(results, options.results)
                sys.stdout.write(f"{key}: slices {results[key]['slices']}, Dice {results[key]['dice']:.3f}\n")
                sys.stdout.flush()


def run(name: str, way: str, seed: int, steps: int) -> dict[str, object]:
    """Choose slices, train on them, and score."""
    part = own_part(name)
    even = SETS[name].painted
    slices = list(even) if way == "even" else followed(part, even, seed)
    adapter = trained(part, slices, seed, steps)
    found = segmented(part, adapter, adapter.build().merged())
    truth = np.stack([part.truth[index] for index in part.slices])
    score = evaluate(np.stack(found), truth, classes=SETS[name].classes)
    return {"slices": slices, "dice": score.to_json()["mean_dice"], "steps": steps}


def followed(part: Part, even: tuple[int, ...], seed: int) -> list[int]:
    """The middle slice, and as many suggested ones as there are others."""
    slices = [even[len(even) // 2]]
    while len(slices) < len(even):
        adapter = trained(part, slices, seed, ASKING)
        others = [i for i in range(len(part.image)) if i not in (*slices, *part.slices)]
        config = ns.SegmentConfig(slices=others, views=1)
        slices += ns.suggest(part.image, adapter, config, pixel_size=part.pixel_size, count=1)
    return slices


def trained(part: Part, slices: list[int], seed: int, steps: int) -> ns.Adapter:
    """An adapter for these slices."""
    paint: NDArray[np.uint8] = np.zeros_like(part.truth)
    paint[slices] = part.truth[slices]
    config = ns.TrainConfig(steps=steps, seed=seed)
    return ns.train(part.image, paint, config, pixel_size=part.pixel_size)


if __name__ == "__main__":
    main()
