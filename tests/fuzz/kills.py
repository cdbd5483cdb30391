"""Kills at random moments of saving: python tests/fuzz/kills.py [--moments 60] [--seed 0] [--only KIND].

A process saves one content and another in turn, over and over, and is killed by SIGKILL. What lies there then
must be one of the two, whole. Exit code 1 if it was not.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile

from napari_salt.cli._partial import PartialRun
from napari_salt.io import read_labels, read_stack, write_labels
from napari_salt.results.table import write_text
from napari_salt.session._autosave import Autosave
from napari_salt.session._flat_stack import PaintSnapshot
from napari_salt.terms.card import described
from napari_salt.terms.files import write_adapter_file
from napari_salt.terms.library import Library
from napari_salt.terms.project import Project

ADAPTER = (Path(__file__).parents[1] / "data" / "adapter_0_1_0.salt.safetensors").read_bytes()
ADAPTERS = described(ADAPTER, name="one"), described(ADAPTER, name="another, of a longer name")
LABELS = [np.random.default_rng(n).integers(0, 200, (6, 96, 96), np.uint8) for n in (0, 1)]
TEXTS = ["0,nucleus\n" * 4_000, "1,mitochondrion\n" * 9_000]
PROJECT = """
output = "results"
segment = ["{name}.tif"]
[[train]]
image = "{name}.tif"
labels = "labels.tif"
"""
LONGEST_SECONDS = 0.06
"""From the first save to the kill; a save takes 1 to 30 ms."""

Kind = tuple[Callable[[int], object], Callable[[], bool]]
"""What saves content 0 or 1, and what says after a kill whether one of them lies there, whole."""


def adapter(folder: Path) -> Kind:
    """An adapter's file, as all commands and the window save it."""
    path = folder / "a.safetensors"
    return lambda n: write_adapter_file(path, ADAPTERS[n]), lambda: path.read_bytes() in ADAPTERS


def library(folder: Path) -> Kind:
    """An adapter in the library."""
    kept = Library(folder)
    return (
        lambda n: kept.add(ADAPTERS[n], "mito", replace=True),
        lambda: [entry.path.read_bytes() in ADAPTERS for entry in kept.entries()] == [True],
    )


def labels(ending: str) -> Callable[[Path], Kind]:
    """A segmentation; a folder is put in its place in two steps, so the old and the new may lie beside it."""

    def kind(folder: Path) -> Kind:
        tifffile.imwrite(folder / "image.tif", LABELS[0])
        like, path = read_stack(folder / "image.tif"), folder / f"out{ending}"

        def whole() -> bool:
            old = path.with_name(f".old.{path.name}")
            if path.suffix == ".zarr" and not path.exists() and old.exists():
                old.rename(path)  # as the page says
            found = np.asarray(read_labels(path).data)
            return any(np.array_equal(found, one) for one in LABELS)

        return lambda n: write_labels(path, LABELS[n], like=like), whole

    return kind


def project(folder: Path) -> Kind:
    """A project."""
    both = []
    for name in ("one", "another"):
        path = folder / f"{name}.toml"
        path.write_text(PROJECT.format(name=name))
        both.append(Project.load(path))
    path = folder / "saved.toml"
    return lambda n: both[n].save(path), lambda: Project.load(path) in both


def table(folder: Path) -> Kind:
    """A table or report."""
    path = folder / "a.csv"
    return lambda n: write_text(path, TEXTS[n]), lambda: path.read_text() in TEXTS


def paint(folder: Path) -> Kind:
    """Autosaved paint; each has a file of its own."""
    autosave = Autosave(folder)
    snapshots = [PaintSnapshot(one.shape, dict(enumerate(one))) for one in LABELS]

    def whole() -> bool:
        found = [np.load(entry.path) for entry in autosave.entries()]
        return bool(found) and all(
            any(all(np.array_equal(file[str(z)], one[z]) for z in range(len(one))) for one in LABELS)
            for file in found
        )

    return lambda n: autosave.paint(snapshots[n], "image"), whole


def finished_slices(folder: Path) -> Kind:
    """Slices of an unfinished segmentation: what counts as finished is whole."""
    partial = PartialRun(folder / "out.tif", {})
    partial.begin()

    def whole() -> bool:
        return 0 in partial.finished() and any(
            np.array_equal(partial.read(0, "labels"), one[0]) for one in LABELS
        )

    return lambda n: partial.add(0, {"labels": LABELS[n][0]}), whole


KINDS: dict[str, Callable[[Path], Kind]] = {
    "adapter": adapter,
    "library": library,
    **{f"labels{ending}": labels(ending) for ending in (".tif", ".zarr", ".nii.gz")},
    "project": project,
    "table": table,
    "paint": paint,
    "finished slices": finished_slices,
}


def killed(save: Callable[[int], object], seconds: float) -> None:
    """Save in a process of its own, in turn, and kill it so long after the first time."""
    ready, tell = os.pipe()
    child = os.fork()
    if child == 0:
        save(0)
        os.write(tell, b".")
        while True:
            save(1)
            save(0)
    os.read(ready, 1)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(ready)
    os.close(tell)


def main() -> int:
    """Try all kinds of files."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--moments", type=int, default=60, help="of each kind of file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=KINDS)
    options = parser.parse_args()
    chance, faults = random.Random(options.seed), 0
    for name in [options.only] if options.only else KINDS:
        folder = Path(tempfile.mkdtemp())
        save, whole = KINDS[name](folder)
        for _ in range(options.moments):
            killed(save, chance.uniform(0, LONGEST_SECONDS))
            if not whole():
                faults += 1
                sys.stdout.write(f"{name}: neither the old nor the new content, see {folder}\n")
                break
        else:
            shutil.rmtree(folder)
            sys.stdout.write(f"{name}: whole after {options.moments} kills\n")
        sys.stdout.flush()
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
