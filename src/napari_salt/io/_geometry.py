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

__all__ = ["Affine", "Geometry", "Turn", "differ", "turn_onto"]

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
        (4, 4), see `Affine`; known for NIfTI only.
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
    """

    order: tuple[int, ...]
    flipped: tuple[bool, ...]

    def __bool__(self) -> bool:
        return self.order != (0, 1, 2) or any(self.flipped)


def turn_onto(image: Geometry, labels: Geometry) -> Turn | None:
    """How to bring labels onto the image's grid by turning and mirroring; None if they lie elsewhere.

    Both must have an affine.
    """
    assert image.affine is not None  # noqa: S101
    assert labels.affine is not None  # noqa: S101
    to_image = np.linalg.inv(image.affine) @ labels.affine
    signs = np.rint(to_image[:3, :3])
    if not (np.abs(signs).sum(axis=0) == 1).all() or not (np.abs(signs).sum(axis=1) == 1).all():
        return None
    order = tuple(int(axis) for axis in np.abs(signs).argmax(axis=1))
    flipped = tuple(bool(sign < 0) for sign in signs.sum(axis=1))
    if tuple(labels.shape[axis] for axis in order) != tuple(image.shape):
        return None
    for corner in itertools.product(*((0, length - 1) for length in labels.shape)):
        turned = [corner[axis] for axis in order]
        wanted = [n - 1 - at if f else at for at, n, f in zip(turned, image.shape, flipped, strict=True)]
        if np.abs((to_image @ [*corner, 1])[:3] - wanted).max() > SAME_PLACE:
            return None
    return Turn(order, flipped)


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
