"""Small stacks on disk, for the tests of reading and writing."""

from pathlib import Path

import numpy as np
import tifffile

SHAPE = (5, 23, 31)


def noise(shape=SHAPE, dtype="uint16"):
    return (np.random.default_rng(0).random(shape) * 200).astype(dtype)


def save(folder: Path, array, name="stack.tif", **options) -> Path:
    options.setdefault("photometric", "minisblack")
    tifffile.imwrite(folder / name, array, **options)
    return folder / name


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def imagej(**metadata):
    return {"imagej": True, "resolution": (4, 2), "metadata": {"axes": "ZYX", **metadata}}
