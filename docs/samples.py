"""Draw docs/samples.jpg: what is found in the bundled samples, on slices that are not painted.

    python docs/samples.py [FOLDER]

Adapters that are in FOLDER are used as they are; the others are trained (60 steps: four minutes on two cores
each) and kept there.
"""

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

import napari_salt as ns
from napari_salt import samples

STEPS = 60
SHOWN = {"cells": (4, 12, 16, 24), "brain": (2, 14, 27, 40, 52)}
COLOURS = np.array([(0, 0, 0), (255, 190, 60), (255, 70, 200), (90, 150, 255), (80, 230, 120)])
WIDTH, GAP = 1280, 6

Picture = NDArray[np.uint8]


def main() -> None:
    """Draw both samples one below the other."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
    cells = tifffile.imread(samples.cells3d_image())
    found = segmented(folder, "cells", cells, tifffile.imread(samples.cells3d_painted()), 0.26)
    rows = [strip([outlined(bright(cells[z]), found[z]) for z in SHOWN["cells"]])]

    brain, atlas = tifffile.imread(samples.brain_image()), tifffile.imread(samples.brain_labels())
    paint = np.zeros_like(atlas)
    paint[list(samples.BRAIN_PAINTED)] = atlas[list(samples.BRAIN_PAINTED)]
    found = segmented(folder, "brain", brain, paint, 1000)
    both = (found, atlas)
    rows += [strip([tinted(brain[z], labels[z])[::-1] for z in SHOWN["brain"]]) for labels in both]
    gap = np.full((GAP, WIDTH, 3), 255, np.uint8)
    picture = Image.fromarray(np.vstack([rows[0], gap, rows[1], gap, rows[2]]))
    picture.save(Path(__file__).with_suffix(".jpg"), quality=85)


def segmented(folder: Path, name: str, image: Picture, paint: Picture, pixel_size: float) -> Picture:
    """Labels of the shown slices; the others are 0."""
    path = folder / f"{name}.safetensors"
    if not path.exists():
        ns.train(image, paint, ns.TrainConfig(steps=STEPS), pixel_size=pixel_size).save(path)
    config = ns.SegmentConfig(slices=SHOWN[name])
    return ns.segment(image, ns.Adapter.load(path), config, pixel_size=pixel_size)


def bright(plane: Picture) -> Picture:
    """The plane with its dark grey values spread."""
    return (np.clip(plane / 140, 0, 1) * 255).astype(np.uint8)


def outlined(plane: Picture, labels: Picture) -> Picture:
    """Grey pixels with the outlines of the classes in their colours."""
    return painted(plane, labels, lambda mask: mask & ~ndimage.binary_erosion(mask), 1.0)


def tinted(plane: Picture, labels: Picture) -> Picture:
    """Grey pixels with the classes in their colours."""
    return painted(plane, labels, lambda mask: mask, 0.4)


def painted(
    plane: Picture, labels: Picture, where: Callable[[NDArray[np.bool_]], NDArray[np.bool_]], opacity: float
) -> Picture:
    """Colours over a part of each class."""
    shown = np.repeat(plane[..., None], 3, 2).astype(float)
    for value in np.unique(labels[labels > 0]):
        mask = where(labels == value)
        shown[mask] = (1 - opacity) * shown[mask] + opacity * COLOURS[value]
    return shown.round().astype(np.uint8)


def strip(planes: Sequence[Picture]) -> Picture:
    """Planes side by side, as wide as the picture."""
    row = Image.fromarray(np.hstack(planes))
    return np.asarray(row.resize((WIDTH, round(row.height * WIDTH / row.width)), Image.Resampling.LANCZOS))


if __name__ == "__main__":
    main()
