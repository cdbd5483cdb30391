"""MetaImage volumes by SimpleITK: slice by slice where they are not compressed."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk  # noqa: N813 (as everyone calls it)

from napari_salt.io._axes import axes_of_file, given_axes
from napari_salt.io._format import ArrayOnDisk, Gathered, Layout, Opened, reading
from napari_salt.io._geometry import Affine, sizes_of, to_ras
from napari_salt.io._placed import in_mm
from napari_salt.io._series import volume_of
from napari_salt.io._units import of_the_voxel

__all__ = ["metaimage_planes", "open_metaimage"]

_COMPRESSED = re.compile(rb"^CompressedData\s*=\s*True", re.IGNORECASE | re.MULTILINE)
_HEADER = 8192  # bytes that hold a header
_TYPES = {
    sitk.sitkUInt8: "u1", sitk.sitkInt8: "i1", sitk.sitkUInt16: "u2", sitk.sitkInt16: "i2",
    sitk.sitkUInt32: "u4", sitk.sitkInt32: "i4", sitk.sitkUInt64: "u8", sitk.sitkInt64: "i8",
    sitk.sitkFloat32: "f4", sitk.sitkFloat64: "f8",
    sitk.sitkVectorUInt8: "u1", sitk.sitkVectorInt8: "i1", sitk.sitkVectorUInt16: "u2",
    sitk.sitkVectorInt16: "i2", sitk.sitkVectorUInt32: "u4", sitk.sitkVectorInt32: "i4",
    sitk.sitkVectorFloat32: "f4", sitk.sitkVectorFloat64: "f8",
}  # fmt: skip


def open_metaimage(
    path: Path,
    axes: str | None,
    *,
    labels: bool = False,  # noqa: ARG001 (any is a stack)
    series: str | None = None,
) -> Opened:
    """Open a MetaImage; its axes are those of the file in reverse, so slices come first; sizes are in mm.

    Raises
    ------
    InputError
        If the file is damaged, is no MetaImage, or its axes are ambiguous.
    """
    with reading(path, "a MetaImage"):
        reader = _reader(path)
        array: ArrayOnDisk = _Voxels(reader, path)
        found = "QQQZYX"[-reader.GetDimension() :] + ("C" if reader.GetNumberOfComponents() > 1 else "")
        if series is not None:
            array, found = volume_of(array, series, path), found[-3:]
        if axes:
            letters = given_axes(axes, found, array.shape, path)
        else:
            letters = found if found in ("YXC", "ZYXC") else axes_of_file(found, array.shape, path)
        affine = _affine(reader, letters)
        if _says_nothing(reader):
            return Opened(array, letters, None, None)
        if affine is not None:
            where, sizes = "ZYX", list(sizes_of(affine))
        else:
            where, sizes = letters, [*reversed(reader.GetSpacing()), 1.0, 1.0][: len(letters)]
        spacing, unit = of_the_voxel(where, sizes, ["mm"] * len(where))
        return Opened(array, letters, spacing, unit, affine=affine, unit_assumed=True)


def metaimage_planes(path: Path, layout: Layout) -> Gathered:
    """A MetaImage of one piece, compressed, in mm."""
    return Gathered(path, layout, _save)


class _Voxels:
    """The values with the axes in reverse, samples of a pixel last; a compressed file is read once."""

    def __init__(self, reader: sitk.ImageFileReader, path: Path) -> None:
        self._path = path
        samples = (reader.GetNumberOfComponents(),) if reader.GetNumberOfComponents() > 1 else ()
        self._n_samples = len(samples)
        self.shape: tuple[int, ...] = (*reversed(reader.GetSize()), *samples)
        self.dtype = np.dtype(_TYPES[reader.GetPixelID()])
        with path.open("rb") as file:
            self._compressed = _COMPRESSED.search(file.read(_HEADER)) is not None

    def __getitem__(self, key: tuple[slice, ...]) -> npt.NDArray[Any]:
        if self._compressed:
            return self._whole[key]
        parts = [range(*at.indices(n)) for at, n in zip(key, self.shape, strict=True)]
        inside = parts[: len(parts) - self._n_samples]
        reader = _reader(self._path)  # one for each access: several threads may read
        reader.SetExtractIndex([part.start for part in reversed(inside)])
        reader.SetExtractSize([len(part) for part in reversed(inside)])
        taken: npt.NDArray[Any] = sitk.GetArrayFromImage(reader.Execute())
        return taken[(..., key[-1])] if self._n_samples else taken

    @cached_property
    def _whole(self) -> npt.NDArray[Any]:
        whole: npt.NDArray[Any] = sitk.GetArrayFromImage(_reader(self._path).Execute())
        return whole


def _reader(path: Path) -> sitk.ImageFileReader:
    """A reader that has read the header."""
    reader = sitk.ImageFileReader()
    reader.SetImageIO("MetaImageIO")
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    return reader


def _says_nothing(reader: sitk.ImageFileReader) -> bool:
    """Whether size, position and direction are those that programs write when they know nothing."""
    n_axes = reader.GetDimension()
    same = np.array_equal(np.reshape(reader.GetDirection(), (n_axes, n_axes)), np.eye(n_axes))
    return same and set(reader.GetSpacing()) == {1.0} and not any(reader.GetOrigin())


def _affine(reader: sitk.ImageFileReader, letters: str) -> Affine | None:
    """Affine (see `Affine`) of a volume whose first three axes are named as they come; else None."""
    n_axes = reader.GetDimension()
    if n_axes < 3 or letters.replace("N", "Z").removesuffix("C").removesuffix("S")[-3:] != "ZYX":
        return None
    direction = np.reshape(reader.GetDirection(), (n_axes, n_axes))[:3, :3]
    affine = np.eye(4)
    affine[:3, :3] = (direction * reader.GetSpacing()[:3])[:, ::-1]
    affine[:3, 3] = reader.GetOrigin()[:3]
    return to_ras(affine)


def _save(path: Path, array: npt.NDArray[Any], layout: Layout) -> None:
    if "Z" not in layout.axes:
        array = np.expand_dims(array, -3)
    affine = to_ras(in_mm(layout))
    sizes = np.linalg.norm(affine[:3, 2::-1], axis=0)
    image = sitk.GetImageFromArray(array, isVector=False)
    direction, spacing, origin = np.eye(array.ndim), np.ones(array.ndim), np.zeros(array.ndim)
    direction[:3, :3] = affine[:3, 2::-1] / sizes
    spacing[:3], origin[:3] = sizes, affine[:3, 3]
    if array.ndim == 4 and layout.time_step:
        spacing[3] = layout.time_step
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(origin.tolist())
    image.SetDirection(direction.ravel().tolist())
    sitk.WriteImage(image, str(path), True)
