"""Areas, volumes, lengths and places in physical units, from numbers of voxels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_salt.terms.errors import InputError
from napari_salt.terms.units import LENGTHS, MICROMETRES

__all__ = ["VoxelSize", "voxel_size"]

MM3_PER_ML = 1000


@dataclass(frozen=True)
class VoxelSize:
    """Size of a voxel, or of a pixel.

    Parameters
    ----------
    sizes
        (z, y, x), or (y, x) of a pixel, in `unit`; None if not known.
    unit
        "um" or "mm".
    flat
        Whether pixels of images are meant: then there are areas, no volumes.
    """

    sizes: tuple[float, ...] | None
    unit: str
    flat: bool

    @property
    def count_name(self) -> str:
        """Name of the column with the numbers of voxels or pixels."""
        return "pixels" if self.flat else "voxels"

    def contents(self, voxels: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
        """Columns of the area, or of the volume (in millimetres also as mL); empty if the size is unknown."""
        if self.sizes is None:
            return {}
        content = voxels * math.prod(self.sizes)
        if self.flat:
            return {f"area_{self.unit}2": content}
        ml = {"volume_ml": content / MM3_PER_ML} if self.unit == "mm" else {}
        return {f"volume_{self.unit}3": content, **ml}

    def diameter(self, voxels: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
        """Column of the diameter of the circle, or sphere, of the same content; in pixels if that is all."""
        content = voxels * (1.0 if self.sizes is None else math.prod(self.sizes))
        name = "equivalent_diameter_" + ("px" if self.sizes is None else self.unit)
        return {name: np.sqrt(4 * content / np.pi) if self.flat else np.cbrt(6 * content / np.pi)}

    def in_world(
        self, centres: Mapping[str, NDArray[np.float64]], axes: str, to_world: Any
    ) -> dict[str, NDArray[np.float64]]:
        """Columns of the places in the world; empty if neither the size nor `to_world` is known.

        Parameters
        ----------
        centres
            Places in voxels, by axis (z, y and x).
        axes
            The axes that get a column, "zyx" or "yx".
        to_world
            See `measure`.
        """
        if to_world is None and self.sizes is None:
            return {}
        matrix = _matrix(self.sizes or ()) if to_world is None else np.asarray(to_world, np.float64)
        if matrix.shape != (4, 4):
            raise InputError(f"to_world has shape {matrix.shape}; give (4, 4), for (z, y, x, 1)")
        places = np.stack([centres[axis] for axis in "zyx"], axis=1) @ matrix[:3, :3].T + matrix[:3, 3]
        return {f"world_{axis}_{self.unit}": places[:, "zyx".index(axis)] for axis in axes}


def voxel_size(given: float | Sequence[float] | None, unit: str, *, flat: bool) -> VoxelSize:
    """Check a size and bring it to micrometres, or to millimetres if the unit is at least that.

    Parameters
    ----------
    given
        As in `measure`.
    unit
        Such as "nm", "um", "mm" or "cm".
    flat
        Whether pixels of images are meant.

    Raises
    ------
    InputError
        If the unit is unknown, a size is no number above 0, or a volume's has no z.
    """
    if unit not in LENGTHS:
        raise InputError(f"the unit is {unit!r}; give one of {', '.join(LENGTHS)}")
    ours, factor = LENGTHS[unit]
    if given is None:
        return VoxelSize(None, "mm" if ours == "mm" else "um", flat)
    sizes = (given, given) if isinstance(given, int | float | np.number) else tuple(given)
    if not all(isinstance(size, int | float | np.number) and 0 < size < math.inf for size in sizes):
        raise InputError(f"pixel_size is {given!r}; give numbers above 0")
    if flat and len(sizes) == 3:
        sizes = sizes[1:]
    if len(sizes) != (2 if flat else 3):
        wanted = "(y, x)" if flat else "(z, y, x), since volumes need the distance of slices"
        raise InputError(f"pixel_size is {given!r}; give {wanted}")
    unit = "mm" if ours == "mm" else "um"
    factor *= MICROMETRES[ours] / MICROMETRES[unit]
    return VoxelSize(tuple(factor * float(size) for size in sizes), unit, flat)


def _matrix(sizes: tuple[float, ...]) -> NDArray[np.float64]:
    """The matrix of voxels of these sizes, the first of which lies at 0."""
    return np.diag([*(1.0,) * (3 - len(sizes)), *sizes, 1.0])
