"""Train for some minutes on `vnc_sstem_half`, and score: a run of `speed.py`, by any version of the package.

python tests/benchmarks/learning.py MINUTES SEED [ADAPTER]

``ADAPTER`` is where to save it.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_salt.core.metrics import dice
from napari_salt.core.segment.stack import segmentation_events
from napari_salt.core.train.training import training_events
from napari_salt.terms.config import SegmentConfig, TrainConfig

HERE = Path(__file__).parent
DATA = HERE.parents[2] / "shared" / "data" / "vnc_sstem_half"
CLASS, PAINTED, SCORED = 2, (4, 14), (0, 8, 11, 18)


def stack() -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Slices (20, 512, 512), and where mitochondria are."""
    return tifffile.imread(DATA / "image.tif"), tifffile.imread(DATA / "label.tif") == CLASS


def scored(planes: dict[int, NDArray[np.bool_]], truth: NDArray[np.bool_]) -> float:
    """Dice over the scored slices."""
    return dice(np.stack([planes[z] for z in SCORED]), truth[list(SCORED)])


def learn(minutes: float, seed: int, path: str | None = None) -> None:
    """Train, save if asked to, score; print JSON."""
    image, truth = stack()
    paint = np.zeros(truth.shape, np.uint8)
    paint[list(PAINTED)] = truth[list(PAINTED)]
    began = time.perf_counter()
    adapter, steps = None, 0
    for event in training_events(image, paint, TrainConfig(minutes=minutes, seed=seed)):
        adapter, steps = event.adapter or adapter, event.step
    spent = time.perf_counter() - began
    assert adapter is not None
    if path:
        adapter.save(path)
    found = {
        views: scored(
            {
                r.index: r.labels > 0
                for r in segmentation_events(image, adapter, SegmentConfig(slices=SCORED, views=views))
            },
            truth,
        )
        for views in (1, 4)
    }
    dices = {f"Dice, {views} views": round(value, 4) for views, value in found.items()}
    sys.stdout.write(json.dumps({"seconds": round(spent), "steps": steps, **dices}) + "\n")


if __name__ == "__main__":
    learn(float(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
