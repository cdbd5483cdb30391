"""How much a second busy program slows training: one training alone, and two at once on all cores.

    python tests/benchmarks/contention.py [--steps N] [--spinning]

Prints the seconds of a step of both, and their ratio: 2 is a fair share of the processors. With
``--spinning`` threads wait as OpenMP lets them by itself, for comparison.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from napari_salt import samples

COMMAND = (sys.executable, "-c", "from napari_salt.cli import main; raise SystemExit(main())", "train")
SPINS = "300000"
"""OpenMP's own number, of GCC."""


def main() -> None:
    """Train once alone, then twice at once."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--spinning", action="store_true")
    options = parser.parse_args()
    (alone,) = seconds_per_step(1, options)
    together = max(seconds_per_step(2, options))
    told = {"alone": alone, "together": together, "ratio": round(together / alone, 2)}
    sys.stdout.write(json.dumps({"cores": os.cpu_count(), "spinning": options.spinning, **told}) + "\n")


def seconds_per_step(count: int, options: argparse.Namespace) -> list[float]:
    """Of each of so many trainings that run at once."""
    environment = {**os.environ, **({"GOMP_SPINCOUNT": SPINS} if options.spinning else {})}
    with tempfile.TemporaryDirectory() as folder:
        running = []
        for number in range(count):
            out = Path(folder) / f"{number}.safetensors"
            files = (samples.nuclei3d_image(), samples.nuclei3d_labels(), "--out", out)
            how = ("--slices", "8,22", "--steps", options.steps, "--device", "cpu", "--json")
            command = list(map(str, (*COMMAND, *files, *how)))
            running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment))
        told = [json.loads(process.communicate()[0].splitlines()[-1]) for process in running]
    return [round(each["seconds"] / each["steps"], 3) for each in told]


if __name__ == "__main__":
    main()
