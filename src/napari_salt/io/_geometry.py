"""Where voxels lie in the world, and whether two images lie on one grid."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_salt.io._units import Place, Spacing
from napari_salt.terms.units import MICROMETRES

__all__ = [
    "Affine",
    "Geometry",
    "Turn",
    "between",
    "differ",
    "orientation",
    "patient_axes",
    "sizes_of",
    "to_ras",
    "turn_onto",
]

Affine = npt.NDArray[np.float64]
"""(4, 4): position (z, y, x, 1) in the array to position (x, y, z, 1) in the world, in mm."""

SAME_PLACE = 0.25
"""Tolerance of a corner's position in voxels: headers hold rounded numbers."""
UPRIGHT = 0.9999
"""Cosine above which an axis of the array counts as parallel to one of the world."""
SAME_SIZE = 0.01
"""Relative tolerance of voxel sizes."""


@dataclass(frozen=True, eq=False)
class Geometry:
    """Where a file's voxels lie, as far as the file says it.

    Parameters
    ----------
    shape
        Number of voxels along z, y, x.
    spacing, unit, origin
        As in `napari_salt.io.Stack`; not used where `affine` is known.
    affine
        (4, 4), see `Affine`; known for the formats of radiology.
    unit_assumed
        Whether the file names no unit, so that `unit` is the usual one of its format.
    """

    shape: tuple[int, ...]
    spacing: Spacing | None
    unit: str | None
    origin: Place | None
    affine: Affine | None
    unit_assumed: bool = False

    def in_unit_of(self, other: Geometry) -> Geometry:
        """The same numbers taken in the unit of `other`, if that file names one and this one does not."""
        if not self.unit_assumed or other.unit_assumed or self.unit is None or other.unit is None:
            return self
        factor = MICROMETRES[other.unit] / MICROMETRES[self.unit]
        affine = None if self.affine is None else np.diag([factor, factor, factor, 1]) @ self.affine
        return replace(self, unit=other.unit, affine=affine)

    def __str__(self) -> str:
        if self.affine is not None:
            sizes = np.linalg.norm(self.affine[:3, 2::-1], axis=0)
            first = f"the first at ({_numbers(self.affine[:3, 3].tolist())}) mm"
            along = self.affine[:3, 2] / sizes[0]
            oblique = "" if np.abs(along).max() > UPRIGHT else f" with x along ({_numbers(along.tolist())})"
            return f"voxels of {_by(sizes.tolist())} mm towards {orientation(self.affine)}{oblique}, {first}"
        voxels = "" if self.spacing is None else f"voxels of {_by(self.spacing)} {self.unit or ''}".rstrip()
        return voxels if self.origin is None else f"{voxels}, the first at ({_numbers(self.origin)})"


@dataclass(frozen=True)
class Turn:
    """How to bring one array onto another's grid, voxel by voxel.

    Parameters
    ----------
    order
        Which axis of the array becomes each of z, y and x.
    flipped
        Which of the new axes run backwards.
    start
        Place of the turned array's first voxel on the grid, along the new axes.
    shape
        Number of the grid's voxels where the array is only a part of it; None: it has as many itself.
    """

    order: tuple[int, ...]
    flipped: tuple[bool, ...]
    start: tuple[int, ...] = (0, 0, 0)
    shape: tuple[int, ...] | None = None

    def __bool__(self) -> bool:
        return self.order != (0, 1, 2) or any(self.flipped) or self.shape is not None


def turn_onto(image: Geometry, labels: Geometry, *, partial: bool = False) -> Turn | None:
    """How to bring labels onto the image's grid by turning and mirroring; None if they lie elsewhere.

    Parameters
    ----------
    image, labels
        Both must have an affine.
    partial
        Whether labels may cover another part of the grid than the whole image.
    """
    assert image.affine is not None  # noqa: S101
    assert labels.affine is not None  # noqa: S101
    to_image = np.linalg.inv(image.affine) @ labels.affine
    signs = np.rint(to_image[:3, :3])
    if not (np.abs(signs).sum(axis=0) == 1).all() or not (np.abs(signs).sum(axis=1) == 1).all():
        return None
    order = tuple(int(axis) for axis in np.abs(signs).argmax(axis=1))
    flipped = tuple(bool(sign < 0) for sign in signs.sum(axis=1))
    turned = tuple(labels.shape[axis] for axis in order)
    corners = np.array(list(itertools.product(*((0, length - 1) for length in labels.shape))))
    found = corners @ to_image[:3, :3].T + to_image[:3, 3]
    start = np.rint(found.min(axis=0)).astype(int)
    here = corners[:, order]
    wanted = start + np.where(flipped, np.array(turned) - 1 - here, here)
    if np.abs(found - wanted).max() > SAME_PLACE:
        return None
    if not start.any() and turned == tuple(image.shape):
        return Turn(order, flipped)
    return Turn(order, flipped, tuple(start.tolist()), tuple(image.shape)) if partial else None


def between(image: Geometry, labels: Geometry) -> Affine | None:
    """Positions (z, y, x, 1) in the image as positions in the labels, in voxels; None if not known.

    Both files must say where their voxels lie: by an affine, or by voxel size and unit. If then neither says
    a position, the outer corners of their first voxels meet.
    """
    if image.affine is None or labels.affine is None:
        corners = image.origin is None and labels.origin is None
        ours, theirs = (_along_axes(each, corners=corners) for each in (image, labels))
    else:
        ours, theirs = image.affine, labels.affine
    return None if ours is None or theirs is None else np.linalg.inv(theirs) @ ours


def _along_axes(geometry: Geometry, *, corners: bool) -> Affine | None:
    """Affine to (z, y, x) in mm of voxels along the axes of their space; `corners`: the first's is at 0."""
    spacing, unit = geometry.spacing, geometry.unit
    if spacing is None or spacing[0] is None or unit is None or geometry.affine is not None:
        return None
    matrix: Affine = np.diag([spacing[0], spacing[1], spacing[2], 1.0])
    matrix[:3, 3] = np.diag(matrix)[:3] / 2 if corners else geometry.origin or (0, 0, 0)
    matrix[:3] *= MICROMETRES[unit] / MICROMETRES["mm"]
    return matrix


def to_ras(affine: Affine) -> Affine:
    """An affine to (x, y, z) towards right, front and head, of one towards left, back and head, or back."""
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def sizes_of(affine: Affine) -> tuple[float, float, float]:
    """Voxel size (z, y, x) in mm."""
    z, y, x = (float(size) for size in np.linalg.norm(affine[:3, :3], axis=0))
    return z, y, x


def differ(image: Geometry, labels: Geometry) -> bool:
    """Whether voxel sizes or positions differ, as far as both files give them with a unit of length."""
    if image.unit is None or labels.unit is None or image.spacing is None or labels.spacing is None:
        return False
    factor = MICROMETRES[labels.unit] / MICROMETRES[image.unit]
    for axis, length in enumerate(image.shape):
        ours, theirs = image.spacing[axis], labels.spacing[axis]
        if ours is None or theirs is None or (axis == 0 and length == 1):
            continue
        if abs(ours - factor * theirs) > SAME_SIZE * ours:
            return True
        if image.origin is not None and labels.origin is not None:
            apart = abs(image.origin[axis] - factor * labels.origin[axis])
            if apart > SAME_PLACE * ours:
                return True
    return False


def patient_axes(affine: Affine) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """How a patient lies in an array (see `terms.planes.Voxels`): the nearest axes, and which are flipped."""
    from nibabel.orientations import io_orientation

    # For the array's x, y and z: the nearest axis of the world (0 right, 1 forward, 2 up), and its way.
    nearest, ways = io_orientation(affine[:, [2, 1, 0, 3]]).T.astype(int).tolist()
    places = [nearest.index(axis) for axis in (2, 1, 0)]
    up, forward, right = (2 - place for place in places)
    return (up, forward, right), (ways[places[0]] < 0, ways[places[1]] < 0, ways[places[2]] < 0)


def orientation(affine: Affine) -> str:
    """Directions of the array's x, y and z axes, such as "RAS" (to the right, front and head)."""
    from nibabel.orientations import aff2axcodes

    return "".join(aff2axcodes(affine[:, [2, 1, 0, 3]]))


def _by(sizes: Sequence[Any]) -> str:
    return " x ".join("?" if size is None else f"{size:.4g}" for size in sizes)


def _numbers(values: Sequence[Any]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)
