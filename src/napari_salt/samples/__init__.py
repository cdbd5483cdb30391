"""Paths of the bundled samples: nuclei by fluorescence, and the MRI of a brain (licences: see NOTICE)."""

from importlib.resources import files
from pathlib import Path

__all__ = [
    "BRAIN_CLASSES",
    "BRAIN_PAINTED",
    "BRAIN_VOXEL",
    "CELLS3D_CLASSES",
    "CELLS3D_PAINTED",
    "CELLS3D_VOXEL",
    "PAINTED_SLICES",
    "brain_image",
    "brain_labels",
    "cells3d_image",
    "cells3d_painted",
    "nuclei3d_image",
    "nuclei3d_instances",
    "nuclei3d_labels",
]

PAINTED_SLICES = (8, 22)
"""Slices (0-based) that count as painted in the few-labels protocol; all others are for scoring."""
CELLS3D_PAINTED, CELLS3D_VOXEL = (8, 19), (0.29, 0.26, 0.26)
"""Painted slices, and the size of a voxel (z, y, x) in micrometres."""
CELLS3D_CLASSES = {1: "nucleus", 2: "dividing nucleus"}
BRAIN_PAINTED, BRAIN_VOXEL = (8, 20, 34, 46), (1.0, 1.0, 1.0)
"""Slices that are shown as painted, and the size of a voxel (z, y, x) in millimetres."""
BRAIN_CLASSES = {1: "cortical regions", 2: "deep nuclei", 3: "hippocampal regions", 4: "cerebellum"}


def nuclei3d_image() -> Path:
    """Path of the image: TIFF, (31, 61, 57) ZYX, uint16, fluorescence; voxel size unknown."""
    return _path("nuclei3d_image.tif")


def nuclei3d_labels() -> Path:
    """Path of the classes: TIFF, (31, 61, 57) ZYX, uint8; 0 background, 1 nucleus."""
    return _path("nuclei3d_labels.tif")


def nuclei3d_instances() -> Path:
    """Path of the single nuclei: TIFF, (31, 61, 57) ZYX, uint8; 0 background, else an id."""
    return _path("nuclei3d_instances.tif")


def cells3d_image() -> Path:
    """Path of the image: TIFF, (32, 256, 256) ZYX, uint8, nuclei of a cell culture by fluorescence."""
    return _path("cells3d_image.tif")


def cells3d_painted() -> Path:
    """Path of the paint: TIFF, (32, 256, 256) ZYX, uint8, see `CELLS3D_CLASSES`; `CELLS3D_PAINTED` only.

    Made by thresholds on the smoothed slices, not by an expert: for trying the tool, not for scores.
    """
    return _path("cells3d_painted.tif")


def brain_image() -> Path:
    """Path of the image: TIFF, (56, 192, 158) ZYX, uint8, T1-weighted MRI of a head, axial slices upwards."""
    return _path("brain_image.tif")


def brain_labels() -> Path:
    """Path of the classes: TIFF, (56, 192, 158) ZYX, uint8; 0 other, else see `BRAIN_CLASSES`.

    Regions of an atlas that was drawn on this image; their outlines are smooth and no tissue's borders.
    """
    return _path("brain_labels.tif")


def _path(name: str) -> Path:
    return Path(str(files(__name__) / name))
