"""NIfTI and Analyze volumes: read slice by slice where they are not compressed, never reoriented."""

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

from napari_salt.io._axes import axes_of_file, given_axes, unnamed_axes
from napari_salt.io._format import ArrayOnDisk, Layout, Opened, reading
from napari_salt.io._geometry import Affine
from napari_salt.io._series import volume_of
from napari_salt.io._units import of_the_voxel
from napari_salt.terms.units import LENGTHS, MICROMETRES

__all__ = ["NiftiPlanes", "open_nifti"]

_SUFFIXES = (".nii", ".nii.gz")

_UNITS = {"nm": ("micron", 1e-3), "um": ("micron", 1.0), "mm": ("mm", 1.0), None: ("unknown", 1.0)}
_TIMES = {"sec": "second", "msec": "millisecond", "usec": "microsecond"}
_TIME_CODES = {ours: theirs for theirs, ours in _TIMES.items()}
_LARGEST_NIFTI1 = 32767  # the lengths of its axes are 16-bit
_UNKNOWN, _SCANNER = 0, 1  # codes of an affine: into no space, into some space of the microscope or scanner


def open_nifti(
    path: Path,
    axes: str | None,
    *,
    labels: bool = False,  # noqa: ARG001 (any is a stack)
    series: str | None = None,
) -> Opened:
    """Open a NIfTI or Analyze file; its axes are those of the file in reverse, so slices come first.

    The spacing is the header's; without a unit it is taken to be in mm. `series` chooses one of the volumes
    along the axes beyond the third. Analyze does not say how a volume lies in space. A third axis of length
    1, as in a time series of single slices, may be left out of `axes`.

    Raises
    ------
    InputError
        If the file is damaged, is no NIfTI, or its axes are ambiguous.
    """
    with reading(path, "a NIfTI file", ImageFileError, HeaderDataError):
        image: Any = nib.load(path)
        array: ArrayOnDisk = _Voxels(image.dataobj, compressed=path.name.lower().endswith(".gz"))
        found, zooms = _axes(array.shape), [float(size) for size in reversed(image.header.get_zooms())]
        if series is not None:
            array = volume_of(array, series, path)
            found, zooms = found[-3:], zooms[-3:]
        letters = _letters(found, array.shape, axes, path)
        named, time = _units(image.header)
        unit = "mm" if named == "unknown" else named
        spacing, ours = of_the_voxel(letters, zooms, [unit] * len(zooms))
        known = _says_where(image.header)
        if not known and named == "unknown" and spacing == (1, 1, 1):  # defaults that mean nothing
            spacing = ours = None
        at, slope = letters.find("T"), float(image.dataobj.slope)
        return Opened(
            array,
            letters,
            spacing,
            ours,
            affine=_affine(image.affine, letters, LENGTHS[unit]) if known else None,
            unit_assumed=named == "unknown",
            time_step=zooms[at] if at >= 0 and zooms[at] > 0 else None,
            time_unit=_TIMES.get(time) if at >= 0 else None,
            step=slope if slope % 1 else None,
        )


def _letters(found: str, shape: tuple[int, ...], axes: str | None, path: Path) -> str:
    if axes is None:
        return axes_of_file(found, shape, path, more="; or take one volume with --series, from 0")
    flat = len(shape) - 1 if len(shape) > 3 and shape[-3] == 1 else None
    letters = given_axes(axes, found, shape, path, n_unsqueezed=flat)
    return f"{letters[:-2]}Z{letters[-2:]}" if len(letters) == flat else letters


def _units(header: Any) -> tuple[str, str]:
    """Units of length and time; Analyze has none."""
    if not hasattr(header, "get_xyzt_units"):
        return "unknown", "unknown"
    length, time = header.get_xyzt_units()
    return length, time


def _says_where(header: Any) -> bool:
    """Whether the affine is one that the file gives."""
    return hasattr(header, "get_sform") and bool(header["sform_code"] or header["qform_code"])


class NiftiPlanes:
    """A NIfTI file written plane by plane; if it belongs to a NIfTI image, with its affines and units."""

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
    """The scaled values with the axes in reverse; a compressed file is read as a whole, once."""

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


def _affine(affine: Affine, letters: str, unit: tuple[str, float]) -> Affine | None:
    """The affine for positions (z, y, x), in mm; `letters` are the file's axes in reverse.

    None if the first three axes of the file are not named Z (or N), Y and X.
    """
    file_axes = letters.replace("N", "Z")[::-1]
    if len(file_axes) == 2:
        file_axes += "Z"
    if set(file_axes[:3]) != set("ZYX"):
        return None
    turned = affine[:, [*(file_axes.index(axis) for axis in "ZYX"), 3]].astype(float)
    turned[:3] *= unit[1] * MICROMETRES[unit[0]] / MICROMETRES["mm"]
    return turned


def _axes(shape: tuple[int, ...]) -> str:
    """Letters of CTZYX, unless an axis beyond the third is longer than 1 (or a sixth exists): then Q and YX.

    By the format a fourth axis is time, but in practice it may hold channels.
    """
    said = len(shape) <= len("CTZYX") and all(length == 1 for length in shape[:-3])
    return "CTZYX"[-len(shape) :] if said else unnamed_axes(len(shape))


def _shape(layout: Layout) -> tuple[int, ...]:
    """Lengths of the file's axes: x, y, z, and time always as the fourth, also without an axis Z."""
    shape = layout.shape[::-1]
    return shape if "Z" in layout.axes or "T" not in layout.axes else (*shape[:2], 1, *shape[2:])


def _placed(layout: Layout) -> tuple[str, Affine]:
    """Unit and affine of a file that is not laid out like another NIfTI."""
    if layout.affine is not None:
        return "mm", layout.affine[:, [2, 1, 0, 3]]
    unit, factor = _UNITS[layout.unit]
    affine = np.eye(4)
    z, y, x = layout.spacing or (None, 1.0, 1.0)
    affine[range(3), range(3)] = [factor * size for size in (x, y, z or 1.0)]
    affine[:3, 3] = [factor * place for place in reversed(layout.origin or (0, 0, 0))]
    return unit, affine


def _header(layout: Layout) -> Nifti1Header:
    if layout.like is not None and layout.like.name.lower().endswith(_SUFFIXES):
        original: Any = nib.load(layout.like)
        header: Nifti1Header = original.header.as_byteswapped("<")
        header.extensions.clear()
        header["cal_min"] = header["cal_max"] = 0  # the image's display range
        header.set_data_shape(_shape(layout))
    else:
        header = Nifti1Header() if max(layout.shape) <= _LARGEST_NIFTI1 else Nifti2Header()
        header.set_data_shape(_shape(layout))
        unit, affine = _placed(layout)
        code = _UNKNOWN if layout.spacing is None and layout.affine is None else _SCANNER
        header.set_sform(affine, code)
        header.set_qform(affine, code)
        header.set_xyzt_units(unit, _TIME_CODES.get(layout.time_unit or ""))
        if "T" in layout.axes and layout.time_step is not None:
            header["pixdim"][4] = layout.time_step
    header.set_data_dtype(layout.dtype)
    header.set_slope_inter(1, 0)
    header.set_data_offset(0)  # where the header ends
    return header
