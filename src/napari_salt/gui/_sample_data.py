"""The sample data that napari's File menu offers."""

from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from napari_salt import samples

__all__ = ["full_labels", "two_painted_slices"]

LayerData = tuple[Any, dict[str, Any], str]
"""A layer for napari: the array, the layer's arguments and its type."""


def full_labels() -> list[LayerData]:
    """Give the nuclei, (31, 61, 57) uint16, and the labels of all slices, uint8: 0 background, 1 nucleus."""
    return _layers(tifffile.imread(samples.nuclei3d_labels()), "nuclei labels")


def two_painted_slices() -> list[LayerData]:
    """Give the nuclei and a labels layer in which only two slices are painted, ready to train."""
    labels = tifffile.imread(samples.nuclei3d_labels())
    painted = np.zeros_like(labels)
    painted[list(samples.PAINTED_SLICES)] = labels[list(samples.PAINTED_SLICES)]
    return _layers(painted, "nuclei painted")


def _layers(labels: npt.NDArray[np.uint8], name: str) -> list[LayerData]:
    image = tifffile.imread(samples.nuclei3d_image())
    return [(image, {"name": "nuclei"}, "image"), (labels, {"name": name}, "labels")]
