"""Labels of one adapter on several configurations: python tests/benchmarks/configurations.py [--torch X].

Segments scored slices of two sets by torch on one thread and on two, by OpenVINO, in float32 (as on
CPUs without bfloat16), and by another version of torch, if a folder with one is given (made by
``pip install --target``). The share of pixels with the labels of the first goes into
results/configurations.json; exit code 1 if it is too low.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
from sets import own_part
from trained import trained

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "configurations.json"
CHOSEN = ("vnc_sstem_half", "msd_hippocampus")
SLICES = 2
"""Of each set."""
ENOUGH = 0.999
CONFIGURATIONS = {
    "torch, 1 thread": (1, "torch", ""),
    "torch, 2 threads": (2, "torch", ""),
    "OpenVINO, 2 threads": (2, "openvino", ""),
    "torch in float32": (2, "torch", "float32"),
}
"""Threads, runtime, and a precision, if it is not the machine's own."""


def segment(runtime, precision, folder):
    """Segment the sets' scored slices, in a process of its own; prints the version of torch."""
    import torch

    import napari_salt as ns

    if precision:
        wanted = getattr(torch, precision)
        mock.patch("napari_salt.core.devices.compute_dtype", return_value=wanted).start()
    for name in CHOSEN:
        part, adapter = own_part(name), trained(name, folder)
        config = ns.SegmentConfig(slices=part.slices[:SLICES], views=1, device="cpu", runtime=runtime)
        labels = ns.segment(part.image, adapter, config)
        np.save(folder / f"{name}.npy", labels[list(part.slices[:SLICES])])
    sys.stdout.write(f"{torch.__version__}\n")


def run(configuration, folder, path):
    """The version of torch that computed, and the labels of each set."""
    threads, runtime, precision = configuration
    places = [place for place in (path, os.environ.get("PYTHONPATH")) if place]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": os.pathsep.join(places)}
    command = [sys.executable, __file__, "--one", runtime, precision, "--keep", str(folder)]
    told = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    return told.split()[-1], [np.load(folder / f"{name}.npy") for name in CHOSEN]


def main():
    """Train where there is no adapter yet, run all, compare with the first."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--torch", help="folder with another version of torch")
    parser.add_argument("--keep", type=Path, help="folder of adapters, to use them again")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        segment(*options.one, options.keep)
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.keep or Path(temporary)).absolute()
        for name in CHOSEN:
            trained(name, folder)
        chosen = {name: (*how, None) for name, how in CONFIGURATIONS.items()}
        if options.torch:
            chosen["torch of another version"] = (1, "torch", "", options.torch)
        first, found = None, {}
        for name, (*how, path) in chosen.items():
            version, labels = run(how, folder, path)
            first = first or labels
            shares = [float((own == other).mean()) for own, other in zip(first, labels, strict=True)]
            found[name] = {"torch": version} | dict(zip(CHOSEN, (round(s, 6) for s in shares), strict=True))
            sys.stdout.write(f"{name}: {found[name]}\n")
            sys.stdout.flush()
            RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    return 0 if min(one[name] for one in found.values() for name in CHOSEN) >= ENOUGH else 1


if __name__ == "__main__":
    sys.exit(main())
