"""The sample data that napari's File menu offers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from napari_salt import samples
from napari_salt.session._layers import CLASSES

__all__ = ["brain", "cells", "full_labels", "two_painted_slices"]

LayerData = tuple[Any, dict[str, Any], str]
"""A layer for napari: the array, the layer's arguments and its type."""


def full_labels() -> list[LayerData]:
    """Give the nuclei, (31, 61, 57) uint16, and the labels of all slices, uint8: 0 background, 1 nucleus."""
    return _nuclei(tifffile.imread(samples.nuclei3d_labels()), "nuclei labels")


def two_painted_slices() -> list[LayerData]:
    """Give the nuclei and a labels layer in which only two slices are painted, ready to train."""
    labels = tifffile.imread(samples.nuclei3d_labels())
    return _nuclei(_only(labels, samples.PAINTED_SLICES), "nuclei painted")


def cells() -> list[LayerData]:
    """Give nuclei of a cell culture, (32, 256, 256) uint8, and two painted slices of two classes."""
    image, paint = tifffile.imread(samples.cells3d_image()), tifffile.imread(samples.cells3d_painted())
    place = {"scale": samples.CELLS3D_VOXEL, "units": ("um",) * 3}
    return _layers(image, paint, "cells", samples.CELLS3D_CLASSES, place, contrast_limits=(0, 140))


def brain() -> list[LayerData]:
    """Give the MRI of a head, (56, 192, 158) uint8, and four painted slices of four classes."""
    image, labels = tifffile.imread(samples.brain_image()), tifffile.imread(samples.brain_labels())
    place = {"scale": samples.BRAIN_VOXEL, "units": ("mm",) * 3}
    # Rows run from back to front: napari shows row 0 on top.
    image, labels = image[:, ::-1], labels[:, ::-1]
    return _layers(image, _only(labels, samples.BRAIN_PAINTED), "brain", samples.BRAIN_CLASSES, place)


def _nuclei(labels: npt.NDArray[np.uint8], name: str) -> list[LayerData]:
    image = tifffile.imread(samples.nuclei3d_image())
    return [(image, {"name": "nuclei"}, "image"), (labels, {"name": name}, "labels")]


def _layers(
    image: npt.NDArray[Any],
    paint: npt.NDArray[np.uint8],
    name: str,
    classes: Mapping[int, str],
    place: Mapping[str, Any],
    **shown: Any,
) -> list[LayerData]:
    about = {"name": f"{name} painted", "metadata": {CLASSES: dict(classes)}, **place}
    return [(image, {"name": name, **place, **shown}, "image"), (paint, about, "labels")]


def _only(labels: npt.NDArray[np.uint8], slices: Sequence[int]) -> npt.NDArray[np.uint8]:
    """Labels of some slices; the others become 0."""
    painted = np.zeros_like(labels)
    painted[list(slices)] = labels[list(slices)]
    return painted
