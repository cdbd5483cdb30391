"""Whether strength or mixtures help on other stacks: python tests/benchmarks/mixtures.py [--steps 40].

Two adapters of the hippocampus of one patient each, and two of the heart of one patient each, segment other
patients: alone in several strengths, and mixed. Mean Dice of the classes goes into results/mixtures.json.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from sets import SETS, Part, other_parts, own_part
from trained import kept

import napari_salt as ns
from napari_salt.core.metrics import evaluate

RESULTS = Path(__file__).parent / "results" / "mixtures.json"
STEPS = 40
STRENGTHS = (0.5, 0.75, 1.0, 1.25)
SHARES = (0.3, 0.5, 0.7)
"""Where slices of the second patient's hippocampus are painted, in the slices in which anything is."""
SCALE = {"msd_hippocampus": 4.0, "hvsmr2_heart_slices": 0.5}
"""Of both adapters, since a mixture has one."""


def hippocampi():
    """Two painted patients, with three slices each, and slices of five others."""
    second, *others = other_parts("msd_hippocampus")[1:7]
    there = np.flatnonzero(second.truth.any((1, 2)))
    slices = [int(there[round(share * (len(there) - 1))]) for share in SHARES]
    return [(own_part("msd_hippocampus"), (8, 16, 24)), (second, slices)], others


def hearts():
    """The same for two patients of one file, with five slices of three others."""
    part = own_part("hvsmr2_heart_slices")
    others = Part(part.image, part.truth, (2, 5, 19, 21, 32))
    return [(part, (9, 10, 14)), (part, (24, 26, 28))], [others]


def dice(adapter, parts, classes):
    """Mean Dice of the classes in all parts' slices."""
    scores = []
    for part in parts:
        slices = list(part.slices)
        config = ns.SegmentConfig(slices=part.slices, views=1, device="cpu")
        found = ns.segment(part.image, adapter, config, pixel_size=part.pixel_size)
        scores.append(evaluate(found[slices], part.truth[slices], classes=classes).to_json()["mean_dice"])
    return round(float(np.mean(scores)), 4)


def measured(name, painted, others, folder, steps):
    """Dice on the other patients."""
    adapters = []
    for number, (part, slices) in enumerate(painted):
        paint = np.zeros_like(part.truth)
        paint[list(slices)] = part.truth[list(slices)]
        config = ns.TrainConfig(
            steps=steps, seed=0, device="cpu", independent=SETS[name].independent, pixel_scale=SCALE[name]
        )
        path = folder / f"mixtures-{name}-{number}-{steps}.salt.safetensors"
        adapters.append(kept(path, part.image, paint, config, part.pixel_size))
    found = {
        f"adapter {number}": {
            str(s): dice(ns.mix([adapter], strength=s), others, SETS[name].classes) for s in STRENGTHS
        }
        for number, adapter in enumerate(adapters, 1)
    }
    found["mean of both"] = {
        str(s): dice(ns.mix(adapters, strength=s), others, SETS[name].classes) for s in STRENGTHS
    }
    return found


def main():
    """Train where there is no adapter yet, mix, score."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--keep", type=Path, help="folder of adapters, to use them again")
    options = parser.parse_args()
    sets = {"msd_hippocampus": hippocampi, "hvsmr2_heart_slices": hearts}
    results = {"steps": options.steps}
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.keep or Path(temporary)).absolute()
        for name, patients in sets.items():
            results[name] = measured(name, *patients(), folder, options.steps)
            sys.stdout.write(f"{name}: {results[name]}\n")
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
