"""Accuracy of SALT beside other ways to learn from the same paint, on eleven sets.

    python tests/benchmarks/accuracy.py [--piece K] [--only SET/METHOD/BUDGET/seedN]
                                        [--list | --table | --plot | --pictures]

All of it takes eight hours on two cores, so it comes in pieces of under an hour. Each set, method, budget of
paint and seed runs in a process of its own (see ``accuracy_run.py``), for a number of steps. Results go into
``results/accuracy_steps.json`` one by one, and runs that are there are not made again, so that this can be
stopped and started at will. Labels of the scored slices are kept in ``results/pictures``, outside git.

With three slices all methods run on all sets, and the three that are compared over three seeds on `SEEDED`.
With one slice and with strokes, each set is run with one seed, in turns (a Latin square of sets, budgets and
seeds).
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from accuracy_report import METHODS, key, pictures, plot, table
from sets import DATA, SETS, STEPS, tiles

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "accuracy_steps.json"
PLOT = HERE.parents[1] / "docs" / "accuracy.png"
FOREST_SECONDS = {"forest": 30.0, "encoder-forest": 150.0}
SEEDED = (
    "vnc_sstem_half",
    "fib25_medulla",
    "qcanet_embryo_8cell",
    "ovule_nuclei3d_1136",
    "vertebra_mri",
    "msd_hippocampus",
)
"""Sets with three seeds: two each of electron, light, and magnetic resonance."""
COMPARED = ("salt", "lora", "s-sam")
START_SECONDS, STEP_SECONDS, TILE_SECONDS = 20.0, 1.2, 1.0
"""Imports and decompositions, a step, and one tile: roughly, on two cores."""
PIECE_SECONDS = 3000


@dataclass(frozen=True)
class Run:
    """One set, one method, one budget of paint, one seed."""

    dataset: str
    method: str
    budget: str = "three"
    seed: int = 0

    @property
    def key(self) -> str:
        """Its name in the results."""
        return key(self.dataset, self.method, self.budget, self.seed)

    def seconds(self, steps: int) -> float:
        """How long it will take, about."""
        if self.method in FOREST_SECONDS:
            return FOREST_SECONDS[self.method] + tiles(self.dataset) * TILE_SECONDS
        return START_SECONDS + steps * STEP_SECONDS + tiles(self.dataset) * TILE_SECONDS


RUNS = (
    *(Run(name, method) for name in SETS for method in METHODS),
    *(Run(name, method, "three", seed) for seed in (1, 2) for name in SEEDED for method in COMPARED),
    *(
        Run(name, method, budget, (place + shift) % 3)
        for place, name in enumerate(SETS)
        for shift, budget in enumerate(("one", "strokes"))
        for method in (*COMPARED, "forest")
    ),
)


def pieces(steps: int) -> list[list[Run]]:
    """All runs in pieces of about `PIECE_SECONDS`."""
    found: list[list[Run]] = [[]]
    for run in RUNS:
        if sum(other.seconds(steps) for other in found[-1]) + run.seconds(steps) > PIECE_SECONDS:
            found.append([])
        found[-1].append(run)
    return found


def main() -> None:
    """Make the runs that are missing, or show what there is."""
    options = arguments()
    folder = options.results.parent / "pictures"
    results = json.loads(options.results.read_text()) if options.results.exists() else {}
    runs = RUNS if options.piece is None else pieces(options.steps)[options.piece]
    chosen = [run for run in runs if any(fnmatch(run.key, o) for o in options.only)]
    if not chosen:
        sys.exit(f"no run is named {' or '.join(options.only)}; --list shows those there are")
    missing = [run for run in chosen if options.redo or run.key not in results]
    if options.list:
        sys.stdout.write(listing(chosen, missing, options.steps))
    elif options.table or options.plot or options.pictures:
        if options.table:
            sys.stdout.write(table(results))
        if options.plot:
            plot(results, PLOT)
        if options.pictures:
            pictures(results, folder)
    else:
        make(missing, results, folder, options)


def arguments() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only",
        action="append",
        metavar="SET/METHOD[/BUDGET[/seedN]]",
        help="runs to make, with * for any; may be given more than once",
    )
    parser.add_argument("--steps", type=int, default=STEPS, help="of training in each run")
    parser.add_argument("--piece", type=int, help="make only the runs of this piece, from 0")
    parser.add_argument("--slices", type=int, help="score only so many slices of each stack, for a try")
    parser.add_argument("--redo", action="store_true", help="make again what has a result")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file of the results")
    parser.add_argument("--list", action="store_true", help="show the runs, and how long they will take")
    parser.add_argument("--table", action="store_true", help="print the README's tables")
    parser.add_argument("--plot", action="store_true", help="draw docs/accuracy.png")
    parser.add_argument("--pictures", action="store_true", help="draw what each method found of a slice")
    options = parser.parse_args()
    options.only = [o if o.count("/") == 3 else f"{o}*" for o in options.only or ["*"]]
    if options.piece is not None and not 0 <= options.piece < len(pieces(options.steps)):
        parser.error(f"piece {options.piece} is not there; give 0 to {len(pieces(options.steps)) - 1}")
    return options


def make(missing: Sequence[Run], results: dict[str, Any], folder: Path, options: argparse.Namespace) -> None:
    """Make the runs one by one; what fails is told of and left out."""
    if not DATA.is_dir():
        sys.exit(f"the benchmark stacks are not there: {DATA} is missing")
    failed = []
    for run in missing:
        keep = folder / f"{run.key}.npy"
        command = [sys.executable, HERE / "accuracy_run.py", run.dataset, run.method, "--keep", keep]
        command += ["--budget", run.budget, "--seed", run.seed, "--steps", options.steps]
        command += ["--slices", options.slices] if options.slices else []
        done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            failed.append(run.key)
            sys.stderr.write(f"{run.key}: failed\n")
            continue
        results[run.key] = json.loads(done.stdout.splitlines()[-1])
        write(results, options.results)
        sys.stderr.write(f"{run.key}: Dice {results[run.key]['mean_dice']:.3f}\n")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def write(results: dict[str, Any], path: Path) -> None:
    """Replace the results; a stop in between leaves the old ones whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".part")
    fresh.write_text(json.dumps(results, indent=1) + "\n")
    fresh.replace(path)


def listing(chosen: Sequence[Run], missing: Sequence[Run], steps: int) -> str:
    """The runs, what is missing of them, and how long that will take."""
    lines = []
    for run in chosen:
        state = f"{run.seconds(steps):.0f} s" if run in missing else "done"
        lines.append(f"{run.key}: {state}\n")
    hours = sum(run.seconds(steps) for run in missing) / 3600
    left = f"{len(missing)} of {len(chosen)} runs are missing: about {hours:.1f} hours on 2 cores"
    lines.append(f"{len(pieces(steps))} pieces; {left}\n")
    return "".join(lines)


if __name__ == "__main__":
    main()
