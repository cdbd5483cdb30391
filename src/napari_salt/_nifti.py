"""NIfTI volumes: read slice by slice where they are not compressed, never reoriented."""

import gzip
from functools import cached_property
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.arrayproxy import ArrayProxy
from nibabel.filebasedimages import ImageFileError
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.spatialimages import HeaderDataError
from nibabel.volumeutils import apply_read_scaling

from napari_salt._axes import axes_of_file, given_axes, unnamed_axes
from napari_salt._image import Layout, Opened, reading
from napari_salt._units import of_the_voxel

__all__ = ["NIFTI_SUFFIXES", "NiftiPlanes", "open_nifti"]

NIFTI_SUFFIXES = (".nii", ".nii.gz")

_UNITS = {"nm": ("micron", 1e-3), "um": ("micron", 1.0), "mm": ("mm", 1.0), None: ("unknown", 1.0)}
_LARGEST_NIFTI1 = 32767  # the lengths of its axes are 16-bit
_SCANNER = 1  # the code of an affine into some space of the microscope or scanner


def open_nifti(path: Path, axes: str | None) -> Opened:
    """Open a NIfTI file; its axes are those of the file in reverse, so slices come first.

    The spacing is the header's; without a unit it is taken to be in mm.

    Raises
    ------
    InputError
        If the file is damaged, no NIfTI, or its axes cannot be told.
    """
    with reading(path, "a NIfTI file", ImageFileError, HeaderDataError):
        image: Any = nib.load(path)
        array = _Voxels(image.dataobj, compressed=path.name.lower().endswith(".gz"))
        found, shape = _axes(array.shape), array.shape
        letters = given_axes(axes, found, shape, path) if axes else axes_of_file(found, shape, path)
        length, _ = image.header.get_xyzt_units()
        unit = "mm" if length == "unknown" else length
        zooms = [float(size) for size in reversed(image.header.get_zooms())]
        return Opened(array, letters, *of_the_voxel(letters, zooms, [unit] * len(zooms)))


class NiftiPlanes:
    """A NIfTI file written plane by plane; what belongs to a NIfTI image gets its affines and units."""

    def __init__(self, path: Path, layout: Layout) -> None:
        self._dtype = layout.dtype.newbyteorder("<")
        self._raw = path.open("wb")
        self._file: Any = self._raw
        if path.suffix.lower() == ".gz":  # without the name and time that gzip would store
            self._file = gzip.GzipFile("", "wb", 6, self._raw, mtime=0)
        _header(layout).write_to(self._file)

    def write(self, plane: npt.NDArray[Any]) -> None:
        """Write the next plane; x runs fastest in the file, as in the plane."""
        self._file.write(plane.astype(self._dtype).tobytes())

    def close(self) -> None:
        """Finish the file."""
        self._file.close()
        self._raw.close()


class _Voxels:
    """The scaled values, axes in reverse order; a compressed file is read as a whole, once."""

    def __init__(self, proxy: ArrayProxy, *, compressed: bool) -> None:
        self._proxy = proxy
        self._compressed = compressed
        self.shape: tuple[int, ...] = tuple(reversed(proxy.shape))
        last = self[tuple(slice(length - 1, length) for length in self.shape)]
        self.dtype = last.dtype  # scaled; reading the last voxel also finds a file cut short

    def __getitem__(self, key: tuple[slice, ...]) -> npt.NDArray[Any]:
        place = tuple(reversed(key))
        if self._compressed:
            values = apply_read_scaling(self._whole[place], self._proxy.slope, self._proxy.inter)
        else:
            values = np.asarray(self._proxy[place])
        return values.T

    @cached_property
    def _whole(self) -> npt.NDArray[Any]:
        return np.asarray(self._proxy.get_unscaled())


def _axes(shape: tuple[int, ...]) -> str:
    """What the format says: a fourth axis is time, but in practice it may be channels."""
    said = len(shape) <= len("CTZYX") and all(length == 1 for length in shape[:-3])
    return "CTZYX"[-len(shape) :] if said else unnamed_axes(len(shape))


def _header(layout: Layout) -> Nifti1Header:
    if layout.like is not None and layout.like.name.lower().endswith(NIFTI_SUFFIXES):
        original: Any = nib.load(layout.like)
        header: Nifti1Header = original.header.as_byteswapped("<")
        header.extensions.clear()
        header["cal_min"] = header["cal_max"] = 0  # the image's display range
        header.set_data_shape(layout.shape[::-1])
    else:
        header = Nifti1Header() if max(layout.shape) <= _LARGEST_NIFTI1 else Nifti2Header()
        header.set_data_shape(layout.shape[::-1])
        unit, factor = _UNITS[layout.unit]
        affine = np.eye(4)
        affine[range(3), range(3)] = [factor * size for size in reversed(layout.spacing or (1, 1, 1))]
        affine[:3, 3] = [factor * place for place in reversed(layout.origin or (0, 0, 0))]
        header.set_sform(affine, _SCANNER)
        header.set_qform(affine, _SCANNER)
        header.set_xyzt_units(unit)
    header.set_data_dtype(layout.dtype)
    header.set_slope_inter(1, 0)
    header.set_data_offset(0)  # where the header ends
    return header
