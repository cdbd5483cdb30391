"""Planes of a volume: along which axis its slices follow each other. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from napari_salt.terms.errors import InputError

__all__ = [
    "AXES",
    "NOTHING_KNOWN",
    "PLANES",
    "Cut",
    "Plane",
    "Planes",
    "Spacing",
    "Voxels",
    "cut_of",
    "voxels_of",
]

Plane = Literal["z", "y", "x", "axial", "coronal", "sagittal"]
"""By the axis that its slices follow (z: as they are stored), or by its name in anatomy."""

Planes = Literal["z", "y", "x", "axial", "coronal", "sagittal", "all"]
"""A plane, or those of all three axes."""

Spacing = tuple[float, float, float]
"""Size of a voxel (z, y, x) in one unit, whichever: only ratios count."""

AXES: tuple[Plane, Plane, Plane] = ("z", "y", "x")
PLANES: dict[str, str] = {
    "z": "z (as stored)",
    "y": "y",
    "x": "x",
    "axial": "axial",
    "coronal": "coronal",
    "sagittal": "sagittal",
}
"""What the panel shows for each plane."""
ANATOMICAL: tuple[Plane, Plane, Plane] = ("axial", "coronal", "sagittal")


@dataclass(frozen=True)
class Voxels:
    """Sizes of a volume's voxels, and how a patient lies in it.

    Parameters
    ----------
    spacing
        Size of a voxel (z, y, x) in one unit, whichever; None: voxels are cubes.
    order
        Axes of the array (0: z, 1: y, 2: x) that run along foot to head, back to front, and left to right;
        None if that is not known.
    flipped
        Which of these three run the other way round.
    """

    spacing: Spacing | None = None
    order: tuple[int, int, int] | None = None
    flipped: tuple[bool, bool, bool] = (False, False, False)

    def __post_init__(self) -> None:
        sizes = self.spacing
        if sizes is not None and not (len(sizes) == 3 and all(0 < size < float("inf") for size in sizes)):
            raise InputError(f"spacing is {sizes!r}; give the size of a voxel (z, y, x), numbers above 0")


NOTHING_KNOWN = Voxels()


def voxels_of(given: Voxels | Sequence[float] | None) -> Voxels:
    """What the Python interface is given: a `Voxels`, the size of a voxel (z, y, x), or nothing.

    Raises
    ------
    InputError
        If it is anything else.
    """
    if isinstance(given, Voxels):
        return given
    try:
        return Voxels(None if given is None else tuple(map(float, given)))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise InputError(f"voxels is {given!r}; give the size of a voxel (z, y, x)") from None


@dataclass(frozen=True)
class Cut:
    """How a volume is cut into slices: axes of the array (0: z, 1: y, 2: x).

    Parameters
    ----------
    slices
        The axis that slices follow.
    rows, columns
        Those that follow rows and columns of a slice from its top left corner.
    flipped
        Whether rows, and columns, come in reverse.
    """

    slices: int = 0
    rows: int = 1
    columns: int = 2
    flipped: tuple[bool, bool] = (False, False)

    @property
    def stored(self) -> bool:
        """Whether slices are those of the array."""
        return self == Cut()

    def of(self, array: Any, before: int = 0) -> Any:
        """The array as (slices, rows, columns), a view; `before` these, and after, it may have other axes."""
        axes = [self.slices, self.rows, self.columns]
        order = [*range(before), *(before + axis for axis in axes), *range(before + 3, array.ndim)]
        steps = (slice(None, None, -1 if flip else None) for flip in self.flipped)
        return array.transpose(order)[(*[slice(None)] * (before + 1), *steps)]

    def sides(self, spacing: Spacing | None) -> tuple[float, float]:
        """Height and width of a pixel, of a voxel's size."""
        return (1.0, 1.0) if spacing is None else (spacing[self.rows], spacing[self.columns])


def cut_of(plane: Plane, voxels: Voxels) -> Cut:
    """How a volume is cut into the slices of a plane.

    Anatomical planes look the same whichever way the patient lies in the array: the head is at the last row,
    and the patient's right at the last column.

    Raises
    ------
    InputError
        If `plane` is a name of anatomy, and nothing is known of the patient.
    """
    if plane in AXES:
        number = AXES.index(plane)
        rows, columns = (axis for axis in range(3) if axis != number)
        return Cut(number, rows, columns)
    if voxels.order is None:
        raise InputError(
            f"the plane is {plane!r}, and nothing says how the patient lies in the image; name the axis that "
            "the slices follow: z, y or x"
        )
    number = ANATOMICAL.index(plane)
    rows, columns = (axis for axis in range(3) if axis != number)
    order, flipped = voxels.order, voxels.flipped
    return Cut(order[number], order[rows], order[columns], (flipped[rows], flipped[columns]))
