"""Files of microscopes (CZI, LIF, ND2 and others), read by bioio and the plugin for each format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from bioio import BioImage
from bioio_base.exceptions import UnsupportedFileFormatError

from napari_salt.io._axes import given_axes, named_axes
from napari_salt.io._format import Opened, reading
from napari_salt.io._series import chosen
from napari_salt.io._units import Spacing, of_the_voxel, positive
from napari_salt.terms.errors import InputError, UnreadableError
from napari_salt.terms.text import reason

__all__ = ["open_bioio"]

PLUGINS = {
    ".czi": "bioio-czi",
    ".lif": "bioio-lif",
    ".nd2": "bioio-nd2",
    ".dv": "bioio-dv",
    ".r3d": "bioio-dv",
    ".sldy": "bioio-sldy",
}
"""Packages that read a format; all others are read by Bio-Formats."""
BIO_FORMATS = "bioio-bioformats"
SLICE = "YXS"


def open_bioio(
    path: Path,
    axes: str | None,
    *,
    labels: bool = False,  # noqa: ARG001 (any is a stack)
    series: str | None = None,
) -> Opened:
    """Open a scene of a microscope's file: the only one, or the one that `series` names.

    Raises
    ------
    InputError
        If no plugin for the format is installed, the file is damaged, it holds several scenes and none is
        named, or its axes are ambiguous.
    """
    with reading(path, "a microscope's file"):
        image = _image(path)
        names = [str(name) for name in image.scenes]
        image.set_scene(chosen(series, names, path, "scenes"))
        found = str(image.dims.order)
        sizes = tuple(int(length) for length in image.dask_data.shape)
        kept = [a for a, letter in enumerate(found) if letter in SLICE or sizes[a] > 1]
        letters, shape = "".join(found[a] for a in kept), tuple(sizes[a] for a in kept)
        letters = given_axes(axes, letters, shape, path) if axes else named_axes(letters, shape, path)
        spacing, unit = _voxel(image, letters)
    return Opened(_Scene(path, image.dask_data, kept), letters, spacing, unit)


class _Scene:
    """A scene without the axes of length 1; what is taken is read at once, and nothing else."""

    def __init__(self, path: Path, data: Any, kept: list[int]) -> None:
        self._path, self._data, self._kept = path, data, kept
        self.shape = tuple(int(data.shape[axis]) for axis in kept)
        self.dtype = data.dtype

    def __getitem__(self, key: tuple[slice, ...]) -> npt.NDArray[Any]:
        whole: list[Any] = [0] * self._data.ndim
        for axis, at in zip(self._kept, key, strict=True):
            whole[axis] = at
        try:
            return np.asarray(self._data[tuple(whole)].compute(scheduler="synchronous"))
        except Exception as error:  # of a damaged file, or a scan that the plugin does not know: anything
            plugin = PLUGINS.get(self._path.suffix.lower(), BIO_FORMATS)
            raise UnreadableError(
                f"{self._path}: {plugin} cannot read this scene ({reason(error)}); copy the file again if it "
                "may be damaged, or export the scene as OME-TIFF with the microscope's own program"
            ) from error


def _image(path: Path) -> BioImage:
    """The file, opened; where the plugin can, in pieces of one slice."""
    try:
        try:
            return BioImage(path, chunk_dims=["Y", "X"])
        except TypeError:  # the plugin takes single slices anyway
            return BioImage(path)
    except UnsupportedFileFormatError as error:
        plugin = PLUGINS.get(path.suffix.lower(), BIO_FORMATS)
        raise InputError(f"{path} needs {plugin}: pip install {plugin}; its licence may differ") from error


def _voxel(image: BioImage, letters: str) -> tuple[Spacing | None, str | None]:
    """Voxel size; bioio gives micrometres where it names no unit, and 0 or 1 for what is not known."""
    sizes, about = image.physical_pixel_sizes, image.dimension_properties
    known = {letter: positive(getattr(sizes, letter)) for letter in "ZYX"}
    units = {letter: getattr(getattr(about, letter, None), "unit", None) for letter in "ZYX"}
    unnamed = not any(units.values()) and {*known.values()} <= {1.0, None}
    if known["Y"] is None or known["X"] is None or unnamed:
        return None, None
    own = [letter.replace("N", "Z") for letter in letters]
    lengths = [known.get(letter) or 1.0 for letter in own]
    spacing, unit = of_the_voxel(letters, lengths, [str(units.get(letter) or "um") for letter in own])
    if spacing is None or known["Z"] is not None or "Z" not in own:
        return spacing, unit
    return (None, *spacing[1:]), unit
