"""A stack of slices with its geometry: what reading gives, and what outputs are laid out like."""

from dataclasses import dataclass
from pathlib import Path

import dask.array as da

from napari_salt._units import Place, Spacing

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
