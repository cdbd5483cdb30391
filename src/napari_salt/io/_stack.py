"""A stack of slices with its geometry: the result of reading, and the pattern for outputs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import dask.array as da

from napari_salt.io._geometry import Affine, Geometry, patient_axes
from napari_salt.io._units import Place, Spacing
from napari_salt.terms.card import ClassInfo
from napari_salt.terms.planes import Voxels
from napari_salt.terms.stack import to_micrometres

__all__ = ["Stack", "known_spacing"]


@dataclass(frozen=True)
class Stack:
    """A stack of slices, read lazily.

    Parameters
    ----------
    data
        (Z, Y, X), or (Z, Y, X, 3) if `rgb`, of the file's dtype; one chunk per slice. Time points
        follow each other along Z.
    rgb
        Whether the slices are colour images; an alpha channel has been dropped.
    spacing
        Voxel size (z, y, x) in `unit`, None where the file does not say. For a single slice of unknown
        thickness z may be 1.
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
        Which channel (0-based) of the file's axis C this is; 0 without one.
    frames
        Number of time points.
    affine
        (4, 4): position (z, y, x, 1) of a voxel to (x, y, z, 1) in the world, in mm; None where the file
        does not say.
    unit_assumed
        Whether the file names no unit, so that `unit` is the usual one of its format.
    time_step, time_unit
        Time from one time point to the next, and its unit, such as "second"; None where the file does
        not say.
    step
        Factor (scl_slope) by which a NIfTI scales its stored values; None if it is whole, and for other
        formats.
    classes
        Names and colours of the label values, where the file says them (.seg.nrrd, DICOM SEG).
    partial
        Whether the file may cover a part of its image only, on the same voxels, as .seg.nrrd may.
    series
        Which image of a file or folder with several this is, as the caller says it; None for the only one.
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
    classes: tuple[ClassInfo, ...] = ()
    partial: bool = False
    series: str | None = None
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
    def voxels(self) -> Voxels:
        """Sizes of the voxels, and how the patient lies in the stack, as far as the file says."""
        order, flipped = (None, Voxels.flipped) if self.affine is None else patient_axes(self.affine)
        sizes = () if self.spacing is None or self.was_2d else self.spacing
        known = tuple(size for size in sizes if size is not None)
        spacing = (known[0], known[1], known[2]) if len(known) == 3 else None
        return Voxels(spacing, order, flipped)

    @property
    def group(self) -> int | None:
        """Slices of one time point, None where there is one only."""
        return len(self.data) // self.frames if self.frames > 1 else None


def known_spacing(stacks: Sequence[Stack], *, three_d: bool) -> tuple[float, float, float]:
    """Voxel size (z, y, x) for HD95, of the first stack that says it; 1 each where none does.

    HD95 in planes needs no z; in 3D it is in pixels where z is not known.
    """
    known = (stack.spacing for stack in stacks if stack.spacing is not None and stack.unit)
    z, y, x = next(known, (1.0, 1.0, 1.0))
    if z is None:
        return (1.0, 1.0, 1.0) if three_d else (1.0, y or 1.0, x or 1.0)
    return (z, y or 1.0, x or 1.0)
