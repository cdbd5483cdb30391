"""Time and peak memory of segmenting stacks of 1, 4 and 16 times the slices, from and to several formats.

    python tests/benchmarks/scale.py [--quick]

A real stack is repeated along z and segmented by the command line with OpenVINO, each time in a process of
its own. With ``--quick`` the model is the tests' tiny one on one thread, which tells nothing of seconds, but
enough about growth. What was found goes to ``results/scale.json`` (``results/scale_quick.json``).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import tifffile
import zarr

from napari_salt import samples

HERE = Path(__file__).parent
TIMES = (1, 4, 16)
SLICES, QUICK_SLICES = 32, 8
"""Of the smallest stack."""
FORMATS = (("zarr", "zarr"), ("tif", "tif"), ("tif", "zarr"))
CODE = "import sys; from napari_salt.cli import main; sys.exit(main())"


def command(*arguments: Any) -> tuple[dict[str, Any], float]:
    """The command line's JSON result, and the peak of its resident memory in MB."""
    line = [sys.executable, "-c", CODE, *map(str, arguments), "--json"]
    process = subprocess.Popen(line, stdout=subprocess.PIPE)
    assert process.stdout is not None
    told = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(line)} failed")
    unit = 1 if sys.platform == "darwin" else 1024
    return json.loads(told.splitlines()[-1]), usage.ru_maxrss * unit / 1e6


def save(folder: Path, planes: Any, times: int, slices: int) -> None:
    """`planes` repeated along z up to `times * slices`, as TIFF, compressed slice by slice, and as Zarr."""
    shape = (times * slices, *planes.shape[1:])
    array = zarr.create_array(
        folder / f"{times}.zarr", shape=shape, chunks=(1, *shape[1:]), dtype=planes.dtype
    )
    with tifffile.TiffWriter(folder / f"{times}.tif") as tif:
        for index in range(shape[0]):
            plane = planes[index % len(planes)]
            array[index] = plane
            tif.write(plane, contiguous=False, compression="zlib", metadata=None)


def measured(folder: Path, base: list[str], runtime: str) -> dict[str, list[dict[str, float]]]:
    """Slices, seconds per slice and peak memory by pair of formats."""
    adapter = folder / "a.safetensors"
    image, labels = samples.nuclei3d_image(), samples.nuclei3d_labels()
    command("train", image, labels, "--out", adapter, "--slices", "4,14", "--steps", "2", *base)
    rows: dict[str, list[dict[str, float]]] = {}
    for source, out in FORMATS:
        for times in TIMES:
            files = (folder / f"{times}.{source}", "--adapter", adapter, "--out", folder / f"{times}o.{out}")
            found, peak = command("segment", *files, "--views", "1", "--runtime", runtime, *base)
            per_slice = round(found["seconds"] / found["slices"], 4)
            row = {"slices": found["slices"], "seconds_per_slice": per_slice, "peak_mb": round(peak)}
            rows.setdefault(f"{source} to {out}", []).append(row)
    return rows


def table(rows: dict[str, list[dict[str, float]]]) -> str:
    """The same in Markdown."""
    lines = ["| formats | slices | seconds per slice | peak memory (MB) |", "|---|---|---|---|"]
    for formats, runs in rows.items():
        lines += [
            f"| {formats} | {run['slices']} | {run['seconds_per_slice']:.3f} | {run['peak_mb']} |"
            for run in runs
        ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="with the tests' tiny model")
    options = parser.parse_args()
    planes = tifffile.imread(samples.nuclei3d_image())
    slices, runtime = (QUICK_SLICES, "torch") if options.quick else (SLICES, "openvino")
    with tempfile.TemporaryDirectory() as name:
        folder, base = Path(name), []
        if options.quick:
            os.environ["OMP_NUM_THREADS"] = "1"
            code = f"import sys, tiny; tiny.checkpoint({str(folder / 'tiny.pth')!r})"
            subprocess.run([sys.executable, "-c", code], cwd=HERE.parent, check=True)
            base = ["--base", str(folder / "tiny.pth")]
        for times in TIMES:
            save(folder, planes, times, slices)
        rows = measured(folder, base, runtime)
    name = "scale_quick.json" if options.quick else "scale.json"
    (HERE / "results" / name).write_text(json.dumps(rows, indent=1) + "\n")
    sys.stdout.write(table(rows) + "\n")
    for formats, runs in rows.items():
        peaks, seconds = ([run[key] for run in runs] for key in ("peak_mb", "seconds_per_slice"))
        if max(peaks) > 1.1 * peaks[0] or seconds[-1] > 1.05 * seconds[0]:
            raise SystemExit(f"{formats}: grows with the number of slices")


if __name__ == "__main__":
    main()
