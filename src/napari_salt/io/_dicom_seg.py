"""DICOM SEG: segmentations that belong to a DICOM image, by highdicom."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import numpy.typing as npt
from pydicom import Dataset, dcmread
from pydicom.sr.codedict import codes

from napari_salt import __version__
from napari_salt.io._axes import given_axes
from napari_salt.io._dicom_series import SEGMENTATION, Volume, headers_of, volume_of, volumes_of
from napari_salt.io._format import DAMAGE, Gathered, Layout, Opened, one_line, reading
from napari_salt.io._geometry import sizes_of, to_ras
from napari_salt.io._paths import files_of
from napari_salt.io._segments import class_of, hex_colour
from napari_salt.io._series import chosen
from napari_salt.io._stack import Stack
from napari_salt.io._units import of_the_voxel
from napari_salt.terms.card import ClassInfo
from napari_salt.terms.errors import InputError

__all__ = ["open_segmentation", "segmentation_planes", "unfit"]

_VALUE = re.compile(r"label value (\d+)")
"""What the description of a segment says of its label value, which numbers from 1 without gaps cannot."""
_GREY = "#808080"


def open_segmentation(path: Path, axes: str | None, series: str | None = None) -> Opened:
    """Open a DICOM SEG as labels (Z, Y, X); the values are those of the segments' numbers.

    Where the description of a segment says "label value N", as those written here do, that is its value.

    Raises
    ------
    InputError
        If it is damaged, its slices are no volume, or segments overlap and none is chosen by `series`.
    """
    with reading(path, "a DICOM segmentation"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = hd.seg.segread(path)
        numbers = [int(number) for number in file.segment_numbers]
        about = {number: file.get_segment_description(number) for number in numbers}
        if series is not None:
            names = [str(about[number].segment_label) for number in numbers]
            numbers = [numbers[chosen(series, names, path, "segments")]]
        volume = _volume(file, numbers, path)
    classes = {number: _class_of(number, about[number]) for number in numbers}
    values = np.zeros(max(numbers) + 1, np.min_scalar_type(max(info.value for info in classes.values())))
    for number, info in classes.items():
        values[number] = info.value
    array = values[volume.array]
    affine = to_ras(np.asarray(volume.affine, float))
    spacing, unit = of_the_voxel("ZYX", list(sizes_of(affine)), ["mm"] * 3)
    letters = given_axes(axes, "ZYX", array.shape, path) if axes else "ZYX"
    return Opened(array, letters, spacing, unit, affine=affine, classes=tuple(classes.values()), partial=True)


def segmentation_planes(path: Path, layout: Layout) -> Gathered:
    """A DICOM SEG that refers to the files of the image that it belongs to."""
    return Gathered(path, layout, _save)


def unfit(like: Stack) -> str:
    """What in an image's headers keeps highdicom from making a segmentation of it; "" if nothing does."""
    try:
        array = np.zeros((len(like.data), *like.data.shape[1:3]), np.uint8)
        array[0, 0, 0] = 1
        _segmentation(array, like.source, like.series, ())
    except InputError as error:
        return str(error)
    except (*DAMAGE, OSError) as error:
        return f"the headers of {like.source} do not allow a DICOM SEG ({one_line(error)})"
    return ""


def _volume(file: hd.seg.Segmentation, numbers: Sequence[int], path: Path) -> hd.Volume:
    try:
        return file.get_volume(
            segment_numbers=numbers, combine_segments=True, allow_missing_positions=True, dtype=np.uint16
        )
    except RuntimeError as error:
        if "overlap" not in str(error).lower():
            raise InputError(
                f"{path}: its slices are no volume ({one_line(error)}): convert it to NRRD"
            ) from error
        names = [str(file.get_segment_description(number).segment_label) for number in numbers]
        chosen(None, names, path, "segments that overlap")
        raise


def _class_of(number: int, about: hd.seg.SegmentDescription) -> ClassInfo:
    said = _VALUE.search(str(about.get("SegmentDescription", "")))
    colour = _GREY
    lab = about.get("RecommendedDisplayCIELabValue")
    if lab is not None:
        colour = hex_colour([part / 255 for part in hd.color.CIELabColor.from_dicom_value(lab).to_rgb()])
    return class_of(int(said[1]) if said else number, str(about.segment_label), colour)


def _save(path: Path, array: npt.NDArray[Any], layout: Layout) -> None:
    assert layout.like is not None  # noqa: S101 (`check_holds` has seen that the image is DICOM)
    _segmentation(array, layout.like, layout.series, layout.classes).save_as(path)


def _segmentation(
    array: npt.NDArray[Any], image: Path, series: str | None, classes: Sequence[ClassInfo]
) -> hd.seg.Segmentation:
    """The segmentation of labels (Z, Y, X), or (Y, X), of the DICOM image `image`."""
    headers = headers_of(files_of(image), image)
    volumes = volumes_of([each for each in headers if each[1].get("SOPClassUID") != SEGMENTATION])
    sources, order = _sources(volume_of(volumes, series, image), image)
    known = {info.value: info for info in classes}
    values = sorted({*known, *(int(value) for value in np.unique(array) if value)}) or [1]
    numbers = np.searchsorted([0, *values], array).astype(np.uint16 if len(values) > 255 else np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the image's header, which is copied as it is
        return hd.seg.Segmentation(
            sources,
            numbers.reshape(-1, *array.shape[-2:])[order],
            hd.seg.SegmentationTypeValues.BINARY,
            [_described(number, value, known) for number, value in enumerate(values, 1)],
            series_instance_uid=hd.UID(),
            series_number=300,
            sop_instance_uid=hd.UID(),
            instance_number=1,
            manufacturer="napari-salt",
            manufacturer_model_name="napari-salt",
            software_versions=__version__,
            device_serial_number="0",
            content_description="Segmentation",
            omit_empty_frames=bool(array.any()),
        )


def _sources(volume: Volume, path: Path) -> tuple[list[Dataset], list[int]]:
    """Headers of the image's files, and which slice of the volume belongs to each of their frames."""
    files = list(dict.fromkeys(frame.file for frame in volume.frames))
    headers: list[Dataset] = [dcmread(file, stop_before_pixels=True) for file in files]
    if len(files) == len(volume.frames):
        return headers, list(range(len(files)))
    if len(files) > 1 or int(headers[0].get("NumberOfFrames", 1)) != len(volume.frames):
        raise InputError(
            f"{path} has several volumes in a file, which a DICOM SEG is not written for: use .seg.nrrd"
        )
    order: list[int] = np.argsort([frame.number for frame in volume.frames]).tolist()
    return headers, order


def _described(number: int, value: int, known: Mapping[int, ClassInfo]) -> hd.seg.SegmentDescription:
    info = known.get(value) or ClassInfo(value, f"class {value}", _GREY)
    red, green, blue = (int(info.color[at : at + 2], 16) for at in (1, 3, 5))
    about = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=info.name[:64],
        segmented_property_category=codes.SCT.AnatomicalStructure,
        segmented_property_type=codes.SCT.AnatomicalStructure,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.SEMIAUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name="napari-salt", version=__version__, family=codes.DCM.ArtificialIntelligence
        ),
        display_color=hd.color.CIELabColor.from_rgb(red, green, blue),
    )
    about.SegmentDescription = f"label value {value}"
    return about
