"""Time and memory that the command line takes to begin, against an empty Python and ``import torch``.

python tests/benchmarks/startup.py [--repeats 5]
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

import tiny

SALT = "from napari_salt.cli import main; main({})"


def commands(adapter: str) -> dict[str, str]:
    """What is measured: a name, and what Python runs."""
    missing = ["segment", "no.tif", "--adapter", adapter, "--out", "out.tif"]
    told = {
        "napari-salt --help": ["--help"],
        "napari-salt info": ["info", adapter],
        "napari-salt bases": ["bases"],
        "napari-salt segment, a path that is not there": missing,
    }
    return {
        "python -c pass": "pass",
        **{name: SALT.format(arguments) for name, arguments in told.items()},
        "python -c 'import torch'": "import torch",
    }


def measured(code: str) -> tuple[float, float, float]:
    """Seconds, those of the CPU, and the most memory in MB, of a fresh Python that runs `code`."""
    began = time.perf_counter()
    process = psutil.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    most, busy = 0, 0.0
    while process.poll() is None:
        try:
            most = max(most, process.memory_info().rss)
            spent = process.cpu_times()
            busy = spent.user + spent.system
        except psutil.Error:
            break
        time.sleep(0.002)
    process.wait()
    return time.perf_counter() - began, busy, most / 1e6


def main() -> None:
    """Print a table, and the same as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as folder:
        adapter = str(Path(folder) / "a.safetensors")
        tiny.adapter().save(adapter)
        asked = commands(adapter)
        runs = {name: [] for name in asked}
        for _ in range(repeats):  # in turns: a machine that slows down slows all of them
            for name, code in asked.items():
                runs[name].append(measured(code))
    found = {
        name: {
            "seconds": statistics.median(seconds for seconds, _, _ in times),
            "cpu_seconds": statistics.median(busy for _, busy, _ in times),
            "mb": max(mb for _, _, mb in times),
        }
        for name, times in runs.items()
    }
    least = found["python -c pass"]["seconds"]
    for name, result in found.items():
        seconds, busy, ratio = result["seconds"], result["cpu_seconds"], result["seconds"] / least
        line = f"{name:50} {seconds:6.2f} s {ratio:6.1f} x {busy:6.2f} s of CPU {result['mb']:6.0f} MB"
        sys.stdout.write(line + "\n")
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
