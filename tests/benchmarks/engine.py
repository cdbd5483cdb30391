"""Accuracy, speed and memory of train and segment on real stacks, beside a random forest.

    python tests/benchmarks/engine.py [TASK ...] [--redo]

Each task runs the command line in processes of its own, as a user would, and stores what it found in
``results/engine.json``; tasks that are there already are not run again. The table at the end is the
README's. The stacks lie in ``../shared/data`` beside the project.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from strokes import strokes

from napari_salt.core.metrics import evaluate
from napari_salt.core.paint.annotations import read_annotations
from napari_salt.core.paint.preprocess import SliceReader
from napari_salt.core.train.forest import forest_segmentation
from napari_salt.terms.preprocess import Preprocess

HERE = Path(__file__).parent
DATA = HERE.parents[2] / "shared" / "data"
RESULTS = HERE / "results" / "engine.json"
BACKGROUND_STROKE = 1


@dataclass(frozen=True)
class Task:
    """One stack, what is painted of it, and what is scored.

    Parameters
    ----------
    title
        As the table shows it.
    dataset
        Folder in the shared data.
    classes, painted, scored
        Label values, slices with paint, slices to score.
    minutes
        Training time.
    independent, channels
        Whether slices are unrelated images; 3 for colour.
    stroke_share
        Share of each painted slice covered by strokes; 0 paints everything.
    mask
        File of the pixels to score, or "".
    """

    title: str
    dataset: str
    classes: tuple[int, ...]
    painted: tuple[int, ...]
    scored: tuple[int, ...]
    minutes: float
    independent: bool = False
    channels: int = 1
    stroke_share: float = 0.0
    mask: str = ""


CORD_SCORED = tuple(z for z in range(55) if min(abs(z - 14), abs(z - 40)) > 2)
TASKS = {
    "vnc": Task("EM mitochondria", "vnc_sstem_half", (2,), (4, 14), (0, 8, 11, 18), 6),
    "cord": Task("MRI spinal cord", "sct_cord_t2", (1,), (14, 40), CORD_SCORED, 3),
    "axon": Task("SEM myelin and axons", "axon_sem", (1, 2), (0, 1), (2, 4, 6, 8), 4, independent=True),
    "brain": Task(
        "MRI deep nuclei, hippocampus",
        "brain_colin27_aal",
        (2, 3),
        (52, 60, 70),
        (48, 56, 65, 74, 80),
        4,
    ),
    "drive": Task(
        "retinal vessels (RGB)",
        "drive",
        (1,),
        (0, 10),
        (20, 21, 22),
        4,
        independent=True,
        channels=3,
        mask="label_fov.tif",
    ),
    "strokes": Task(
        "EM mitochondria, 2 % strokes",
        "vnc_sstem_half",
        (2,),
        (3, 6, 14),
        (0, 8, 11, 18),
        4,
        stroke_share=0.02,
    ),
}


def main() -> None:
    """Run the tasks that have no result yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tasks", nargs="*", default=list(TASKS))
    parser.add_argument("--redo", action="store_true", help="run again what has a result")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"the benchmark stacks are not there: {DATA} is missing")
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in options.tasks:
        key = f"{name}-seed{options.seed}"
        if key not in results or options.redo:
            results[key] = run(TASKS[name], options.seed)
            RESULTS.parent.mkdir(exist_ok=True)
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")
            sys.stderr.write(f"{key}: {json.dumps(results[key])}\n")
    sys.stdout.write(table(results))


def run(task: Task, seed: int) -> dict[str, Any]:
    """Train, segment and score one task by the command line; the forest in this process."""
    image = tifffile.imread(DATA / task.dataset / "image.tif")
    truth = tifffile.imread(DATA / task.dataset / "label.tif")
    truth = np.where(np.isin(truth, task.classes), truth, 0).astype(np.uint8)
    mask = tifffile.imread(DATA / task.dataset / task.mask) > 0 if task.mask else None
    paint, flags = painted(task, truth, seed)
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        tifffile.imwrite(at / "paint.tif", paint, photometric="minisblack", compression="zlib")
        tifffile.imwrite(at / "truth.tif", truth, photometric="minisblack", compression="zlib")
        source, adapter, found = DATA / task.dataset / "image.tif", at / "a.safetensors", at / "found.tif"
        budget = ["--minutes", str(task.minutes), "--seed", str(seed)]
        trained = salt("train", source, at / "paint.tif", "--out", adapter, *budget, *flags)
        slices = ",".join(map(str, task.scored))
        segmented = salt("segment", source, "--adapter", adapter, "--out", found, "--slices", slices)
        score = scores(tifffile.imread(found), truth, task, mask)
    height, width = truth.shape[1:]
    return {
        **score,
        "forest": forest(task, image, paint, truth, mask, seed),
        "training": trained,
        "seconds_per_step": round(trained["seconds"] / trained["steps"], 3),
        "seconds_per_megapixel": round(1e6 * segmented["seconds"] / (len(task.scored) * height * width), 2),
        "peak_memory_mb": {"train": trained["peak_memory_mb"], "segment": segmented["peak_memory_mb"]},
    }


def painted(task: Task, truth: NDArray[np.uint8], seed: int) -> tuple[NDArray[np.uint8], list[str]]:
    """What is painted of `truth`, and the flags that say how it is meant."""
    paint = np.zeros_like(truth)
    if not task.stroke_share:
        paint[list(task.painted)] = truth[list(task.painted)]
        return paint, ["--independent"] if task.independent else []
    random = np.random.default_rng(seed)
    for index in task.painted:
        each = round(task.stroke_share * truth[index].size / (len(task.classes) + 1))
        for value in task.classes:
            paint[index][strokes(truth[index] == value, each, random)] = value
        paint[index][strokes(truth[index] == 0, each, random)] = BACKGROUND_STROKE
    return paint, ["--unpainted", "ignore", "--background-label", str(BACKGROUND_STROKE)]


def salt(*arguments: object) -> dict[str, Any]:
    """Run the command line; its JSON."""
    command = [str(Path(sys.executable).parent / "napari-salt"), *map(str, arguments), "--json"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def forest(
    task: Task,
    image: NDArray[Any],
    paint: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    mask: NDArray[np.bool_] | None,
    seed: int,
) -> dict[str, Any]:
    """Scores of a random forest from the same paint."""
    reader = SliceReader(image, Preprocess(channels=task.channels, independent=task.independent))
    ignore = task.stroke_share > 0
    annotations = read_annotations(
        paint,
        unpainted="ignore" if ignore else "background",
        background_label=BACKGROUND_STROKE if ignore else None,
    )
    found = np.zeros_like(truth)
    for index, plane in forest_segmentation(reader, annotations, task.scored, seed=seed):
        found[index] = plane
    return scores(found, truth, task, mask)


def scores(
    found: NDArray[Any], truth: NDArray[np.uint8], task: Task, mask: NDArray[np.bool_] | None
) -> dict[str, Any]:
    """Dice, IoU and HD95 per class on the scored slices."""
    picked = list(task.scored)
    inside = None if mask is None else mask[picked]
    return evaluate(found[picked], truth[picked], mask=inside, classes=task.classes).to_json()


def numbers(values: tuple[int, ...]) -> str:
    """Numbers with commas."""
    return ", ".join(map(str, values))


def table(results: dict[str, Any]) -> str:
    """Markdown table of all results."""
    head = ["task", "painted slices", "minutes", "SALT Dice", "HD95 (px)", "forest Dice"]
    head += ["s/step", "s/megapixel", "peak MB: train, segment"]
    rows = [head, ["---"] * len(head)]
    for key, result in results.items():
        task, memory = TASKS[key.rsplit("-", 1)[0]], result["peak_memory_mb"]
        classes = result["classes"].values()
        row = [task.title, numbers(task.painted), f"{task.minutes:g}"]
        row.append(" / ".join(f"{c['dice']:.3f}" for c in classes))
        row.append(" / ".join("-" if c["hd95"] is None else f"{c['hd95']:.1f}" for c in classes))
        row.append(" / ".join(f"{c['dice']:.3f}" for c in result["forest"]["classes"].values()))
        row += [f"{result['seconds_per_step']:.2f}", f"{result['seconds_per_megapixel']:.1f}"]
        rows.append([*row, f"{memory['train']:.0f}, {memory['segment']:.0f}"])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


if __name__ == "__main__":
    main()
