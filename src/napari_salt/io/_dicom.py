"""DICOM images: a series in a folder, a multi-frame file, or a segmentation; values are rescaled."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.pixels.utils import pixel_array

from napari_salt.io._axes import given_axes
from napari_salt.io._dicom_series import SEGMENTATION, Frame, Volume, headers_of, volume_of, volumes_of
from napari_salt.io._format import Opened, reading
from napari_salt.io._geometry import Affine, sizes_of, to_ras
from napari_salt.io._paths import files_of
from napari_salt.io._series import chosen
from napari_salt.io._units import Spacing, of_the_voxel
from napari_salt.terms.errors import InputError

__all__ = ["open_dicom"]

_UNEVEN = 0.1
"""How far, in distances of slices, one may lie from its place in an even row."""


def open_dicom(path: Path, axes: str | None, *, labels: bool = False, series: str | None = None) -> Opened:
    """Open one series of DICOM files, sorted by position; sizes are in mm.

    Parameters
    ----------
    path
        A folder (with all folders in it), a pattern, or one file.
    axes
        As for `read_stack`; T or C before ZYX takes all volumes of the one series. With axes, slices that
        are not evenly spaced are accepted, and their distance is then not known.
    labels
        Whether a segmentation (DICOM SEG) is meant.
    series
        Which of several series or volumes (see `chosen`).

    Raises
    ------
    InputError
        If there is no image, or several and none is chosen, or slices are missing.
    """
    headers = headers_of(files_of(path), path)
    segmentations = [file for file, header in headers if header.get("SOPClassUID") == SEGMENTATION]
    images = [(file, header) for file, header in headers if header.get("SOPClassUID") != SEGMENTATION]
    if segmentations and (labels or not images):
        from napari_salt.io._dicom_seg import open_segmentation

        names = [file.name for file in segmentations]
        which = 0 if len(names) == 1 else chosen(series, names, path, "segmentations")
        return open_segmentation(segmentations[which], axes, series if len(names) == 1 else None)
    volumes = volumes_of(images)
    if axes and set(axes.upper()) & set("TC") and series is None and _alike(volumes):
        return _opened(volumes, axes, path)
    return _opened([volume_of(volumes, series, path)], axes, path)


class _Slices:
    """Slices (Z, Y, X), or with colours (Z, Y, X, S), after an axis of several volumes; read when needed."""

    def __init__(self, volumes: Sequence[Volume], sample: npt.NDArray[Any]) -> None:
        self._frames = [volume.frames for volume in volumes]
        lead = (len(volumes),) if len(volumes) > 1 else ()
        self._several = bool(lead)
        self.shape = (*lead, len(volumes[0].frames), *sample.shape)
        frames = [frame for own in self._frames for frame in own]
        self._scaled = any((frame.slope, frame.intercept) != (1, 0) for frame in frames)
        self.dtype = _dtype(volumes[0], frames, sample.dtype) if self._scaled else sample.dtype

    def __getitem__(self, key: tuple[slice, ...]) -> npt.NDArray[Any]:
        volumes = self._frames[key[0]] if self._several else self._frames
        inside = key[1:] if self._several else key
        taken = np.array([[self._plane(frame) for frame in frames[inside[0]]] for frames in volumes])
        taken = taken[(slice(None), slice(None), *inside[1:])]
        return taken if self._several else taken[0]

    def _plane(self, frame: Frame) -> npt.NDArray[Any]:
        stored = pixel_array(frame.file, index=frame.number)
        if not self._scaled:
            return stored
        scaled = stored.astype(np.float64) * frame.slope + frame.intercept
        return (np.rint(scaled) if self.dtype.kind in "ui" else scaled).astype(self.dtype)


def _dtype(volume: Volume, frames: Sequence[Frame], stored: np.dtype[Any]) -> np.dtype[Any]:
    """Type of rescaled values: of whole numbers if slopes and intercepts are, else float32."""
    if stored.kind == "f" or any(frame.slope % 1 or frame.intercept % 1 for frame in frames):
        return np.dtype(np.float32)
    bits = int(volume.header.get("BitsStored") or 16)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if stored.kind == "i" else (0, 2**bits - 1)
    ends = [frame.slope * end + frame.intercept for frame in frames for end in (low, high)]
    kinds = (np.uint8, np.int16, np.uint16, np.int32)
    fitting = (kind for kind in kinds if np.iinfo(kind).min <= min(ends) and max(ends) <= np.iinfo(kind).max)
    return np.dtype(next(fitting, np.int64))


def _opened(volumes: Sequence[Volume], axes: str | None, path: Path) -> Opened:
    volume = volumes[0]
    sample = _first(volume, path)
    array = _Slices(volumes, sample)
    found = ("Q" if len(volumes) > 1 else "") + ("T" if volume.timed else "Z") + "YXS"[: sample.ndim]
    letters = given_axes(axes, found, array.shape, path) if axes else found
    affine, spacing = _geometry(volume, path, known=axes is not None)
    sizes, unit = (None, None) if spacing is None else of_the_voxel("ZYX", [1, *spacing[1:]], ["mm"] * 3)
    if sizes is not None and spacing is not None:
        sizes = (spacing[0], sizes[1], sizes[2])
    return Opened(array, letters, sizes, unit, affine=affine)


def _first(volume: Volume, path: Path) -> npt.NDArray[Any]:
    """The first slice; what cannot be decoded is told before anything else is done."""
    frame = volume.frames[0]
    if volume.header.get("PhotometricInterpretation") == "PALETTE COLOR":
        raise InputError(
            f"{path} has values that are numbers of colours (PALETTE COLOR): save it in RGB or grey"
        )
    with reading(frame.file, "a DICOM image"):
        try:
            return pixel_array(frame.file, index=frame.number)
        except (RuntimeError, NotImplementedError) as error:
            if "missing dependencies" not in str(error) and "Unable to decompress" not in str(error):
                raise
            raise InputError(
                f"{frame.file} is compressed in a way that is not read here: pip install "
                '"napari-salt[dicom]", or decompress it, for example with gdcmconv --raw'
            ) from error


def _geometry(volume: Volume, path: Path, *, known: bool) -> tuple[Affine | None, Spacing | None]:
    """Affine and voxel size in mm; `known`: the user says the axes, also where distances are uneven."""
    frames, pixel = volume.frames, volume.pixel_spacing
    if pixel is None:
        return None, None
    flat = volume.thickness if len(frames) > 1 else volume.thickness or 1.0
    if volume.orientation is None or volume.timed:
        return None, (flat, pixel[0], pixel[1])
    row, column = np.array(volume.orientation[:3]), np.array(volume.orientation[3:])
    places = np.array([frame.position for frame in frames])
    step = np.cross(row, column) * (volume.thickness or 1.0)
    if len(frames) > 1:
        step = (places[-1] - places[0]) / (len(frames) - 1)
        even = places[0] + np.arange(len(frames))[:, None] * step
        off = np.linalg.norm(places - even, axis=1)
        if off.max() > _UNEVEN * np.linalg.norm(step):
            if known:
                return None, (None, pixel[0], pixel[1])
            raise _uneven(places, frames, path)
    affine = np.eye(4)
    affine[:3, :3] = np.column_stack([step, column * pixel[0], row * pixel[1]])
    affine[:3, 3] = places[0]
    return to_ras(affine), sizes_of(affine)


def _uneven(places: npt.NDArray[Any], frames: Sequence[Frame], path: Path) -> InputError:
    apart = np.linalg.norm(np.diff(places, axis=0), axis=1)
    usual = float(np.median(apart))
    worst = int(np.abs(apart - usual).argmax())
    return InputError(
        f"{path}: {frames[worst].file.name} and {frames[worst + 1].file.name} are {apart[worst]:.4g} mm "
        f"apart, other slices {usual:.4g} mm: copy the missing files, or say --axes ZYX to take the slices "
        "as they are"
    )


def _alike(volumes: Sequence[Volume]) -> bool:
    """Whether all are volumes of one series, in the same places."""
    first = volumes[0]
    return all(
        (each.header.get("SeriesInstanceUID"), each.orientation, len(each.frames))
        == (first.header.get("SeriesInstanceUID"), first.orientation, len(first.frames))
        for each in volumes
    )
