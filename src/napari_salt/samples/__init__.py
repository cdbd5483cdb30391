"""Paths of the bundled sample: nuclei in 3D from StarDist's tests (BSD-3-Clause, see NOTICE)."""

from importlib.resources import files
from pathlib import Path

__all__ = ["PAINTED_SLICES", "nuclei3d_image", "nuclei3d_instances", "nuclei3d_labels"]

PAINTED_SLICES = (8, 22)
"""Slices (0-based) that count as painted in the few-labels protocol; all others are for scoring."""


def nuclei3d_image() -> Path:
    """Path of the image: TIFF, (31, 61, 57) ZYX, uint16, fluorescence; voxel size unknown."""
    return _path("nuclei3d_image.tif")


def nuclei3d_labels() -> Path:
    """Path of the classes: TIFF, (31, 61, 57) ZYX, uint8; 0 background, 1 nucleus."""
    return _path("nuclei3d_labels.tif")


def nuclei3d_instances() -> Path:
    """Path of the single nuclei: TIFF, (31, 61, 57) ZYX, uint8; 0 background, else an id."""
    return _path("nuclei3d_instances.tif")


def _path(name: str) -> Path:
    return Path(str(files(__name__) / name))
