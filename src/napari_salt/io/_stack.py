"""A stack of slices with its geometry: what reading gives, and what outputs are laid out like."""

from dataclasses import dataclass
from pathlib import Path

import dask.array as da

from napari_salt.io._geometry import Affine, Geometry
from napari_salt.io._units import Place, Spacing
from napari_salt.terms.stack import to_micrometres

__all__ = ["Stack"]


@dataclass(frozen=True)
class Stack:
    """A stack of slices, read lazily.

    Parameters
    ----------
    data
        (Z, Y, X), or (Z, Y, X, 3) if `rgb`, of the file's type; one chunk per slice. Time points
        follow each other along Z.
    rgb
        Whether the slices are colour images; an alpha channel has been dropped.
    spacing
        Voxel size (z, y, x) in `unit`, None where the file does not say. A single slice may have
        a z of 1 for want of a better.
    unit
        "nm", "um" or "mm"; None if the file gives no unit of length.
    axes
        Axis letters of the file's array, as the caller or the file gives them.
    was_2d
        Whether the file has no slice axis: it is one image, or a time series of them.
    source
        The file or folder.
    origin
        Position (z, y, x) of the first voxel in `unit`, None where the file does not say.
    channel
        Which channel this is, of a file with axis C.
    frames
        Number of time points.
    affine
        (4, 4): position (z, y, x, 1) of a voxel to (x, y, z, 1) in the world, in mm; None where the file
        does not say.
    unit_assumed
        Whether the file names no unit, and the usual one of its format stands for it.
    time_step, time_unit
        Time from one time point to the next, and its unit, such as "second"; None where the file does
        not say.
    step
        Between neighbouring values, if scaling made them from whole numbers.
    true_pixel_size
        Side of a pixel in micrometres, where the caller knows it better than the file.
    """

    data: da.Array
    rgb: bool
    spacing: Spacing | None
    unit: str | None
    axes: str
    was_2d: bool
    source: Path
    origin: Place | None = None
    channel: int = 0
    frames: int = 1
    affine: Affine | None = None
    unit_assumed: bool = False
    time_step: float | None = None
    time_unit: str | None = None
    step: float | None = None
    true_pixel_size: float | None = None

    @property
    def geometry(self) -> Geometry:
        """Where the voxels of a time point lie."""
        shape = (len(self.data) // self.frames, *self.data.shape[1:3])
        return Geometry(shape, self.spacing, self.unit, self.origin, self.affine, self.unit_assumed)

    @property
    def pixel_size(self) -> float | None:
        """Side of a pixel in the plane in micrometres, None if unknown."""
        return self.true_pixel_size or to_micrometres(self.spacing, self.unit)

    @property
    def group(self) -> int | None:
        """Slices of one time point, None where there is one only."""
        return len(self.data) // self.frames if self.frames > 1 else None
