"""NRRD volumes and 3D Slicer's segmentations: read as a memory map where they are raw, written with gzip."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import nrrd
import numpy as np
import numpy.typing as npt

from napari_salt.io._axes import given_axes
from napari_salt.io._format import ArrayOnDisk, Gathered, Layout, Opened, reading
from napari_salt.io._geometry import Affine, to_ras
from napari_salt.io._placed import in_mm
from napari_salt.io._segments import fields_of, layer_names, segments_in
from napari_salt.io._series import chosen, volume_of
from napari_salt.io._units import Place, Spacing, of_the_voxel
from napari_salt.terms.units import LENGTHS, MICROMETRES

__all__ = ["nrrd_planes", "open_nrrd", "segment_planes"]

_SPACES = {
    "right-anterior-superior": (1, 1, 1),
    "ras": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1),
    "las": (-1, 1, 1),
    "left-posterior-superior": (-1, -1, 1),
    "lps": (-1, -1, 1),
}
"""Signs that turn positions in a space into those towards right, front and head."""
_COLOURS = ("rgb-color", "rgba-color", "3-color", "4-color")
_LARGEST_VALUE = 16  # bytes
_COMPRESSION = 6
_NO_AXIS = ("domain", "space", "???", "none", "")


def open_nrrd(
    path: Path,
    axes: str | None,
    *,
    labels: bool = False,  # noqa: ARG001 (any is a stack)
    series: str | None = None,
) -> Opened:
    """Open an NRRD file; its axes are those of the file in reverse, so slices come first.

    Without a unit, sizes are taken to be in mm. Segments that overlap are stored in several layers, of
    which `series` chooses one.

    Raises
    ------
    InputError
        If the file is damaged, is no NRRD, or its axes are ambiguous.
    """
    with reading(path, "an NRRD file", nrrd.NRRDError, StopIteration):
        header = nrrd.read_header(str(path))
        array = _array(path, header)
        letters, shape = _letters(header), array.shape
        segments = segments_in(header)
        if segments and letters[-1] == "C":  # overlapping segments: a layer for each
            layer = chosen(series, layer_names(segments, shape[-1]), path, "layers of overlapping segments")
            array, letters = _Layer(array, layer), letters[:-1]
            segments = [segment for segment in segments if segment.layer == layer]
        elif series is not None:
            array, letters = volume_of(array, series, path), letters[-3:]
        letters = given_axes(axes, letters, array.shape, path) if axes else letters
        affine, spacing, unit, origin = _geometry(header, letters)
        return Opened(
            array,
            letters,
            spacing,
            unit,
            origin,
            affine=affine,
            unit_assumed="space units" not in header and "units" not in header,
            classes=tuple(segment.info for segment in segments),
            partial=bool(segments),
        )


def nrrd_planes(path: Path, layout: Layout) -> Gathered:
    """An NRRD of one piece, in mm and in the space that DICOM uses."""
    return Gathered(path, layout, _save)


def segment_planes(path: Path, layout: Layout) -> Gathered:
    """A .seg.nrrd of one piece, as 3D Slicer writes it: each label value is a segment."""
    return Gathered(path, layout, _save_segments)


class _Voxels:
    """The values with the axes in reverse, read as a whole, once."""

    def __init__(self, path: Path, header: Mapping[str, Any], shape: tuple[int, ...]) -> None:
        self._path, self._header = path, header
        self.shape = shape
        self.dtype = self._whole.dtype

    def __getitem__(self, key: tuple[slice, ...]) -> npt.NDArray[Any]:
        return self._whole[key]

    @cached_property
    def _whole(self) -> npt.NDArray[Any]:
        with self._path.open("rb") as file:
            header = nrrd.read_header(file)
            whole: npt.NDArray[Any] = nrrd.read_data(header, file, str(self._path), index_order="C")
            return whole


class _Layer:
    """One entry of the last axis."""

    def __init__(self, array: ArrayOnDisk, layer: int) -> None:
        self._array, self._layer = array, slice(layer, layer + 1)
        self.shape = tuple(array.shape[:-1])
        self.dtype = array.dtype

    def __getitem__(self, key: tuple[slice, ...]) -> npt.NDArray[Any]:
        return np.asarray(self._array[(*key, self._layer)])[..., 0]


def _array(path: Path, header: Mapping[str, Any]) -> ArrayOnDisk:
    """The values; without compression, in the file itself, they are not read before they are needed."""
    shape = tuple(int(length) for length in header["sizes"][::-1])
    kept = {"data file", "datafile", "line skip", "lineskip", "byte skip", "byteskip"} & set(header)
    if header["encoding"].lower() != "raw" or kept:
        return _Voxels(path, header, shape)
    with path.open("rb") as file:
        nrrd.read_header(file)
        start = file.tell()
    one = {**header, "sizes": np.ones(1, int), "dimension": 1}
    dtype = nrrd.read_data(one, io.BytesIO(bytes(_LARGEST_VALUE))).dtype
    return np.memmap(path, dtype, "r", start, shape)


def _letters(header: Mapping[str, Any]) -> str:
    """Axis letters in reverse of the file's axes, by their kinds: those of space, then T, S or C."""
    n_axes = int(header["dimension"])
    kinds = [str(kind).lower() for kind in header.get("kinds", ["domain"] * n_axes)]
    own = ["T" if kind == "time" else "S" if kind in _COLOURS else "C" for kind in kinds]
    inside = [number for number, kind in enumerate(kinds) if kind in _NO_AXIS]
    for letter, number in zip("XYZQ", inside[:3] if len(inside) > 3 else inside, strict=False):
        own[number] = letter
    for number in inside[3:]:
        own[number] = "Q"
    return "".join(reversed(own))


def _geometry(
    header: Mapping[str, Any], letters: str
) -> tuple[Affine | None, Spacing | None, str | None, Place | None]:
    """Affine, voxel size, its unit, and position of the first voxel where there is no affine."""
    directions = header.get("space directions")
    unit = _unit(header.get("space units") or header.get("units"))
    if unit is None:
        return None, None, None, None
    if directions is None:
        spacings = header.get("spacings", [float("nan")] * len(letters))
        sizes = [float(size) for size in reversed(list(spacings))]
        return None, *of_the_voxel(letters, sizes, [unit] * len(sizes)), None
    rows = np.array(
        [np.full(_n_space(directions), np.nan) if row is None else row for row in directions], float
    )
    rows = rows[::-1]
    sizes = [float(size) for size in np.linalg.norm(rows, axis=1)]
    spacing, ours = of_the_voxel(letters, sizes, [unit] * len(sizes))
    origin = np.asarray(header.get("space origin", np.zeros(rows.shape[1])), float)
    known = "space units" in header or "units" in header
    aligned = np.array_equal(rows[~np.isnan(rows).any(axis=1)], np.eye(rows.shape[1])[::-1])
    if not known and aligned and not origin.any():
        return None, None, None, None  # what programs write when they know nothing
    signs = _SPACES.get(str(header.get("space", "")).lower())
    if signs is None or not set("ZYX") <= set(letters) or rows.shape[1] != 3:
        return None, spacing, ours, None
    affine = np.eye(4)
    affine[:3, :3] = rows[[letters.index(axis) for axis in "ZYX"]].T
    affine[:3, 3] = origin
    factor, base = LENGTHS[unit][1], LENGTHS[unit][0]
    affine[:3] *= factor * MICROMETRES[base] / MICROMETRES["mm"]
    return np.diag([*signs, 1.0]) @ affine, spacing, ours, None


def _n_space(directions: Sequence[Any]) -> int:
    return next(len(row) for row in directions if row is not None)


def _unit(units: Sequence[str] | None) -> str | None:
    """The one unit of length of all axes, mm if none is named; None if there are several or it is unknown."""
    named = {str(unit).strip('"').strip() for unit in units or () if str(unit).strip('" ')} or {"mm"}
    unit = named.pop()
    return unit if not named and unit in LENGTHS else None


def _save(
    path: Path, array: npt.NDArray[Any], layout: Layout, fields: Mapping[str, str] | None = None
) -> None:
    if "Z" not in layout.axes:
        array = np.expand_dims(array, -3)
    affine = to_ras(in_mm(layout))  # left, back, head
    lead = array.ndim - 3
    rows = np.vstack([affine[:3, 2::-1].T, np.full((lead, 3), np.nan)])
    header: dict[str, Any] = {
        "space": "left-posterior-superior",
        "kinds": ["domain"] * 3 + ["time"] * lead,
        "space directions": rows,
        "space origin": affine[:3, 3],
        "encoding": "gzip",
        **(fields or {}),
    }
    if layout.affine is not None or layout.spacing is not None:
        header["space units"] = ["mm"] * 3
    nrrd.write(str(path), array, header, compression_level=_COMPRESSION, index_order="C")


def _save_segments(path: Path, array: npt.NDArray[Any], layout: Layout) -> None:
    _save(path, array, layout, fields_of(array, layout.classes))
