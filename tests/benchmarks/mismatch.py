"""One adapter on other patients: in other formats, and on images unlike the one that it was trained on.

    python tests/benchmarks/mismatch.py [--cases 1] [--steps 60] [--seed 0]

Trains on three slices of one hippocampus, all by the command line. Other patients are given as NIfTI, NRRD
and DICOM series, whose labels must be identical; then the one that was learnt from with pixels of half the
size, as 16 bit over the full range, and with inverted contrast, with and without the remedy that the command
line names. What it says is kept, with the mean Dice of the classes, in ``results/mismatch.json``.
"""

import argparse
import contextlib
import io
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
import tifffile
from numpy.typing import NDArray
from scipy.ndimage import zoom
from sets import DATA, SETS

sys.path.insert(0, str(Path(__file__).parents[1]))

import dicoms
from napari_salt.cli import main
from napari_salt.core.metrics import dice
from napari_salt.io import read_labels

SET = "msd_hippocampus"
CASES, CLASSES = DATA / SET / "cases", SETS[SET].classes
RESULTS = Path(__file__).parent / "results" / "mismatch.json"
TRAINED, PAINTED = "hippocampus_001", (0.3, 0.5, 0.7)
"""The patient that is learnt from, and its painted slices as shares of those in which anything is."""
SPACING, ORIGIN = (1.0, 1.0, 1.0), (-20.0, 30.0, 10.0)
FORMATS = ("nii.gz", "nrrd", "dicom")
SLICES = range(16, 21)
"""What is segmented of each patient: the middle."""
HOW = ("--views", "1", "--slices", f"{SLICES[0]}-{SLICES[-1]}")
"""In one view only, which is all there is where slices are not turned and mirrored."""


HEARD = io.StringIO()
"""What the command line says: one stream for all runs, since its log keeps the first."""


@dataclass(frozen=True)
class Given:
    """An image as the command line gets it.

    Parameters
    ----------
    values
        Shape (Z, Y, X), int16 or uint16.
    spacing
        Millimetres (z, y, x) that the file says; None: it says none.
    arguments
        Options of ``segment`` that are the remedy.
    """

    values: NDArray[Any]
    spacing: tuple[float, float, float] | None = SPACING
    arguments: tuple[str, ...] = ()


def measure() -> None:
    """Train, segment, score, write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=1, help="other patients")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--adapter", type=Path, help="one that was made so before, instead of training")
    options = parser.parse_args()
    if not CASES.is_dir():
        sys.exit(f"the benchmark stacks are not there: {CASES} is missing")
    names = sorted({path.name.rpartition("_")[0] for path in CASES.glob("*_image.tif")} - {TRAINED})
    found: dict[str, Any] = {
        "trained_on": TRAINED,
        "steps": options.steps,
        "seed": options.seed,
        "slices": list(SLICES),
        "formats": {},
        "unlike": {},
    }
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        if options.adapter:
            shutil.copy(options.adapter, bench.adapter)
        else:
            bench.train(options.steps, options.seed)
        for name in names[: options.cases]:
            found["formats"][name] = bench.formats(name)
            print(name, found["formats"][name], flush=True)  # noqa: T201
            RESULTS.write_text(json.dumps(found, indent=1) + "\n")
        for title, result in bench.unlike():
            found["unlike"][title] = result
            print(title, result, flush=True)  # noqa: T201
            RESULTS.write_text(json.dumps(found, indent=1) + "\n")


@dataclass(frozen=True)
class Bench:
    """Images, labels and an adapter in a folder."""

    folder: Path

    def train(self, steps: int, seed: int) -> None:
        """Train on `TRAINED`."""
        image, truth = _read(TRAINED)
        there = np.flatnonzero(truth.any((1, 2)))
        painted = [int(there[round(share * (len(there) - 1))]) for share in PAINTED]
        paint = np.zeros_like(truth)
        paint[painted] = truth[painted]
        given = {"image": image, "paint": paint}
        files = [self._write(f"{TRAINED} {what}.nii.gz", Given(array)) for what, array in given.items()]
        _salt("train", *files, "--out", self.adapter, "--steps", steps, "--seed", seed)

    @property
    def adapter(self) -> Path:
        """The adapter's file."""
        return self.folder / "a.salt.safetensors"

    def formats(self, name: str) -> dict[str, Any]:
        """Whether another patient's labels are the same in all formats, with their Dice and what was said."""
        image, truth = _read(name)
        maps = {each: self._segmented(f"{name}.{each}", Given(image)) for each in FORMATS}
        labels = maps[FORMATS[0]][0]
        return {
            "mean_dice": _score(labels, truth),
            "identical": all(np.array_equal(labels, other) for other, _ in maps.values()),
            "said": sorted({text for _, texts in maps.values() for text in texts}),
        }

    def unlike(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """By what is done to the image that was learnt from: Dice, and what was said."""
        image, truth = _read(TRAINED)
        for title, given in _unlike(image).items():
            labels, said = self._segmented(f"{title}.nii.gz", given)
            wanted = truth if labels.shape == truth.shape else truth.repeat(2, 1).repeat(2, 2)
            yield title, {"mean_dice": _score(labels, wanted), "said": said}

    def _segmented(self, file: str, given: Given) -> tuple[NDArray[Any], list[str]]:
        """The labels, and what was said before."""
        image, out = self._write(file, given), self.folder / f"{file} labels.nii.gz"
        said = _salt("segment", image, "--adapter", self.adapter, "--out", out, *HOW, *given.arguments)
        return np.asarray(read_labels(out).data), said

    def _write(self, file: str, given: Given) -> Path:
        path = self.folder / file
        if path.suffix == ".dicom":
            return dicoms.series(path, given.values, spacing=given.spacing, origin=ORIGIN)
        volume = sitk.GetImageFromArray(given.values)
        if given.spacing is None:
            path = path.with_name(path.name.replace(".nii.gz", ".tif"))
            tifffile.imwrite(path, given.values, metadata={"axes": "ZYX"})
        else:
            volume.SetSpacing(given.spacing[::-1])
            volume.SetOrigin(ORIGIN)
            sitk.WriteImage(volume, str(path))
        return path


def _unlike(image: NDArray[np.int16]) -> dict[str, Given]:
    """The image as others may have it."""
    half = zoom(image, (1, 2, 2), order=1, grid_mode=True, mode="nearest")
    z, y, x = SPACING
    full = (image.astype(np.int64) * 65535 // image.max()).astype(np.uint16)
    inverted = (image.max() - image).astype(np.int16)
    return {
        "as it is": Given(image),
        "size not said": Given(image, None),
        "half the pixel size": Given(half, (z, y / 2, x / 2)),
        "half the pixel size, not said": Given(half, None),
        "half the pixel size, --pixel-size": Given(half, None, ("--pixel-size", f"{500 * y:g}")),
        "16 bit, full range": Given(full),
        "8 bit": Given(image.astype(np.uint8)),
        "inverted": Given(inverted),
    }


def _salt(*arguments: Any) -> list[str]:
    """Run the command line, in this process, which has loaded torch already; give its warnings."""
    began = HEARD.tell()
    with contextlib.redirect_stderr(HEARD):
        code = main(list(map(str, arguments)))
    said = HEARD.getvalue()[began:]
    if code:
        sys.exit(f"{arguments}: {said}")
    return [line for line in re.split(r"[\r\n]+", said) if "warning" in line.lower()]


def _read(case: str) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    image, truth = (tifffile.imread(CASES / f"{case}_{what}.tif") for what in ("image", "label"))
    return image.astype(np.int16), truth


def _score(found: NDArray[Any], truth: NDArray[np.uint8]) -> float:
    scored = [dice(found[SLICES] == value, truth[SLICES] == value) for value in CLASSES]
    return round(float(np.mean(scored)), 4)


if __name__ == "__main__":
    measure()
