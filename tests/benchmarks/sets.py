"""The sets of the accuracy benchmark: what is painted, what is scored, how it is read.

The stacks lie in ``../shared/data`` beside the project.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from strokes import strokes

from napari_salt.terms.config import Unpainted

DATA = Path(__file__).parents[3] / "shared" / "data"


@dataclass(frozen=True)
class Set:
    """One stack, what is painted of it, and what is scored.

    Parameters
    ----------
    title
        As the table shows it.
    classes
        Label values that are painted and scored.
    painted, scored
        Slices of the stack.
    others, cases
        What is scored apart: slices of other patients in the stack, or other stacks in the folder
        ``cases``, at the depths `CASE_DEPTHS`.
    independent
        Whether slices are unrelated images.
    merged
        Label values that become others.
    crop
        Central square of this side that is used, 0 for all of each slice.
    mask
        File of the pixels to score, or "".
    tiles
        256x256 tiles that a slice takes, at the scale that training chooses.
    pixel_size
        Micrometres per pixel, where the source says it, as a file of such a stack would.
    """

    title: str
    classes: tuple[int, ...]
    painted: tuple[int, ...]
    scored: tuple[int, ...]
    others: tuple[int, ...] = ()
    cases: tuple[str, ...] = ()
    independent: bool = False
    merged: Mapping[int, int] = field(default_factory=dict)
    crop: int = 0
    mask: str = ""
    tiles: int = 1
    pixel_size: float | None = None


BUDGETS: Mapping[str, str] = {
    "one": "one slice",
    "three": "three slices",
    "strokes": "strokes on 2 % of three slices",
}
"""How much is painted."""
STROKE_SHARE, BACKGROUND_STROKE = 0.02, 99

STEPS = 100
"""What SALT takes in two minutes on two cores."""

CASE_DEPTHS = (0.25, 0.5, 0.7)
"""Shares of the depth of another case at which its slices are scored."""
HIPPOCAMPI = (1, 33, 51, 84, 136, 158, 177, 205, 228, 250, 279, 301, 322, 341, 366)

SETS: Mapping[str, Set] = {
    "vnc_sstem_half": Set("EM mitochondria", (2,), (3, 9, 15), (0, 6, 12, 18), tiles=4, pixel_size=0.0092),
    "axon_sem": Set(
        "SEM myelin and axons",
        (1, 2),
        (0, 1, 2),
        (3, 5, 7, 9),
        independent=True,
        crop=512,
        tiles=4,
    ),
    "fib25_medulla": Set(
        "FIB-SEM cell borders", (1,), (50, 125, 200), (10, 75, 100, 160, 240), pixel_size=0.01
    ),
    "qcanet_embryo_8cell": Set("embryo nuclei", (1,), (10, 18, 32), (5, 14, 22, 26, 36, 41)),
    "sct_cord_t2": Set("MRI spinal cord", (1,), (14, 27, 40), (3, 8, 20, 33, 46, 51), pixel_size=1000),
    "vertebra_mri": Set(
        "MRI vertebra", (1, 2, 4, 5), (17, 26, 41), (4, 11, 21, 31, 35, 46), merged={3: 4}, pixel_size=1500
    ),
    "hvsmr2_heart_slices": Set(
        "MRI heart, 8 classes",
        tuple(range(1, 9)),
        (9, 10, 14),
        (8, 12, 15),
        others=(2, 21, 22, 27, 34),
        independent=True,
    ),
    "msd_hippocampus": Set(
        "MRI hippocampus",
        (1, 2),
        (8, 16, 24),
        (6, 11, 13, 19, 21, 28),
        cases=tuple(f"hippocampus_{number:03d}" for number in HIPPOCAMPI),
        pixel_size=1000,
    ),
    "drive": Set(
        "retinal vessels (RGB)",
        (1,),
        (0, 10),
        (20, 26, 32, 38),
        independent=True,
        mask="label_fov.tif",
        tiles=9,
    ),
    "ovule_nuclei3d_1136": Set(
        "plant ovule nuclei",
        (1,),
        (30, 70),
        (*range(0, 21, 5), *range(40, 61, 4), *range(80, 96, 5)),
        pixel_size=0.1276,
    ),
    "dsb2018_nuclei2d": Set(
        "fluorescence nuclei, single images", (1,), (0, 13, 26), (3, 8, 17, 21, 30, 35), independent=True
    ),
}


@dataclass(frozen=True)
class Paint:
    """What is painted, shape (Z, Y, X), and what unpainted pixels of those slices mean."""

    labels: NDArray[np.uint8]
    unpainted: Unpainted = "background"
    background_label: int | None = None


@dataclass(frozen=True)
class Part:
    """Slices of one stack that are scored.

    Parameters
    ----------
    image, truth
        Shape (Z, Y, X), the image's perhaps with colours (Z, Y, X, 3).
    slices
        Those that are scored.
    mask
        Where; None: everywhere.
    pixel_size
        Micrometres per pixel, if known.
    """

    image: NDArray[Any]
    truth: NDArray[np.uint8]
    slices: tuple[int, ...]
    mask: NDArray[np.bool_] | None = None
    pixel_size: float | None = None


def own_part(name: str) -> Part:
    """The set's stack with the slices that are scored."""
    chosen = SETS[name]
    mask = _read(name, chosen.mask) > 0 if chosen.mask else None
    return Part(_read(name, "image.tif"), _labels(name, "label.tif"), chosen.scored, mask, chosen.pixel_size)


def other_parts(name: str) -> list[Part]:
    """What is scored apart, if anything is."""
    chosen = SETS[name]
    if chosen.others:
        return [replace(own_part(name), slices=chosen.others)]
    parts = []
    for case in chosen.cases:
        truth = _labels(name, f"cases/{case}_label.tif")
        slices = tuple(int(share * len(truth)) for share in CASE_DEPTHS)
        image = _read(name, f"cases/{case}_image.tif")
        parts.append(Part(image, truth, slices, pixel_size=chosen.pixel_size))
    return parts


def paint_of(name: str, budget: str = "three", seed: int = 0) -> Paint:
    """The paint that the budget allows: the middle slice, all of the set's three, or strokes on them."""
    truth, painted = _labels(name, "label.tif"), SETS[name].painted
    paint = np.zeros_like(truth)
    if budget != "strokes":
        painted = painted if budget == "three" else painted[len(painted) // 2 :][:1]
        paint[list(painted)] = truth[list(painted)]
        return Paint(paint)
    random = np.random.default_rng(seed)
    for index in painted:
        shown = [int(value) for value in np.unique(truth[index])]
        each = round(STROKE_SHARE * truth[index].size / len(shown))
        for value in shown:
            paint[index][strokes(truth[index] == value, each, random)] = value or BACKGROUND_STROKE
    return Paint(paint, "ignore", BACKGROUND_STROKE)


def tiles(name: str) -> int:
    """Tiles that scoring a method takes."""
    chosen = SETS[name]
    slices = len(chosen.scored) + len(chosen.others) + len(chosen.cases) * len(CASE_DEPTHS)
    return slices * chosen.tiles


def _read(name: str, file: str) -> NDArray[Any]:
    """A file of the set, cropped as the set says."""
    whole: NDArray[Any] = tifffile.imread(DATA / name / file)
    side = SETS[name].crop
    if not side:
        return whole
    top, left = ((length - side) // 2 for length in whole.shape[1:3])
    return whole[:, top : top + side, left : left + side]


def _labels(name: str, file: str) -> NDArray[np.uint8]:
    """Labels with no other values than the set's classes."""
    chosen, values = SETS[name], _read(name, file)
    for old, new in chosen.merged.items():
        values = np.where(values == old, new, values)
    return np.where(np.isin(values, chosen.classes), values, 0).astype(np.uint8)
