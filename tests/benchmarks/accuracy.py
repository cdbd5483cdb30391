"""Accuracy of SALT beside other ways to learn from the same three painted slices, on nine sets.

    python tests/benchmarks/accuracy.py [--only SET/METHOD[/seedN]] [--list | --table | --plot | --pictures]

Each set, method and seed runs in a process of its own (see ``accuracy_run.py``). Results go into
``results/accuracy.json`` one by one, and runs that are there are not made again, so that this can be
stopped and started at will. Labels of the scored slices are kept in ``results/pictures``, outside git.
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

from accuracy_report import METHODS, pictures, plot, table
from sets import DATA, SETS, tiles

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "accuracy.json"
PLOT = HERE.parents[1] / "docs" / "accuracy.png"
FOREST_SECONDS = {"forest": 30.0, "encoder-forest": 150.0}
SEEDED = ("vnc_sstem_half", "qcanet_embryo_8cell", "vertebra_mri")
"""Sets on which SALT runs over three seeds: electron, light, and magnetic resonance."""
MINUTES = 2.0
START_SECONDS, TILE_SECONDS = 20.0, 1.0
"""Imports and decompositions, and one tile: roughly, on two cores."""


@dataclass(frozen=True)
class Run:
    """One set, one method, one seed."""

    dataset: str
    method: str
    seed: int = 0

    @property
    def key(self) -> str:
        """Its name in the results."""
        return f"{self.dataset}/{self.method}/seed{self.seed}"

    def seconds(self, minutes: float) -> float:
        """How long it will take, about."""
        if self.method in FOREST_SECONDS:
            return FOREST_SECONDS[self.method] + tiles(self.dataset) * TILE_SECONDS
        return START_SECONDS + 60 * minutes + tiles(self.dataset) * TILE_SECONDS


RUNS = (
    *(Run(name, method) for name in SETS for method in METHODS),
    *(Run(name, "salt", seed) for name in SEEDED for seed in (1, 2)),
)


def main() -> None:
    """Make the runs that are missing, or show what there is."""
    options = arguments()
    folder = options.results.parent / "pictures"
    results = json.loads(options.results.read_text()) if options.results.exists() else {}
    chosen = [run for run in RUNS if any(fnmatch(run.key, o) for o in options.only)]
    if not chosen:
        sys.exit(f"no run is named {' or '.join(options.only)}; --list shows those there are")
    missing = [run for run in chosen if options.redo or run.key not in results]
    if options.list:
        sys.stdout.write(listing(chosen, missing, options.minutes))
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
        metavar="SET/METHOD[/seedN]",
        help="runs to make, with * for any; may be given more than once",
    )
    parser.add_argument("--minutes", type=float, default=MINUTES, help="of training in each run")
    parser.add_argument("--slices", type=int, help="score only so many slices of each stack, for a try")
    parser.add_argument("--redo", action="store_true", help="make again what has a result")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file of the results")
    parser.add_argument("--list", action="store_true", help="show the runs, and how long they will take")
    parser.add_argument("--table", action="store_true", help="print the README's tables")
    parser.add_argument("--plot", action="store_true", help="draw docs/accuracy.png")
    parser.add_argument("--pictures", action="store_true", help="draw what each method found of a slice")
    options = parser.parse_args()
    options.only = [o if o.count("/") == 2 else f"{o}*" for o in options.only or ["*"]]
    return options


def make(missing: Sequence[Run], results: dict[str, Any], folder: Path, options: argparse.Namespace) -> None:
    """Make the runs one by one; what fails is told of and left out."""
    if not DATA.is_dir():
        sys.exit(f"the benchmark stacks are not there: {DATA} is missing")
    failed = []
    for run in missing:
        keep = folder / run.dataset / f"{run.method}-seed{run.seed}.npy"
        command = [sys.executable, HERE / "accuracy_run.py", run.dataset, run.method, "--keep", keep]
        command += ["--seed", run.seed, "--minutes", options.minutes]
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


def listing(chosen: Sequence[Run], missing: Sequence[Run], minutes: float) -> str:
    """The runs, what is missing of them, and how long that will take."""
    lines = []
    for run in chosen:
        state = f"{run.seconds(minutes):.0f} s" if run in missing else "done"
        lines.append(f"{run.key}: {state}\n")
    hours = sum(run.seconds(minutes) for run in missing) / 3600
    lines.append(f"{len(missing)} of {len(chosen)} runs are missing: about {hours:.1f} hours on 2 cores\n")
    return "".join(lines)


if __name__ == "__main__":
    main()
