"""Which images DICOM files hold: headers grouped into series and volumes, slices sorted by position."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError

from napari_salt.io._format import reading
from napari_salt.io._series import chosen
from napari_salt.terms.errors import InputError

__all__ = ["SEGMENTATION", "Frame", "Volume", "headers_of", "volume_of", "volumes_of"]

SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
"""SOP class of DICOM SEG."""
_TAGS = [
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "Modality",
    "InstanceNumber", "AcquisitionNumber", "TemporalPositionIdentifier", "EchoNumbers", "Rows", "Columns",
    "SamplesPerPixel", "PhotometricInterpretation", "BitsStored", "BitsAllocated", "PixelRepresentation",
    "NumberOfFrames", "PixelSpacing", "SpacingBetweenSlices", "SliceThickness", "ImagePositionPatient",
    "ImageOrientationPatient", "RescaleSlope", "RescaleIntercept", "FrameTime", "FrameTimeVector",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "FloatPixelData",
]  # fmt: skip
_DIGITS = 2
"""Decimals of a position in mm, from which slices are in the same place."""

Numbers = tuple[float, ...]


@dataclass(frozen=True)
class Frame:
    """One slice: its file and number in it, its position (mm; left, back, head), and the scale of values."""

    file: Path
    number: int
    position: Numbers | None
    slope: float
    intercept: float
    order: tuple[int, ...]


@dataclass(frozen=True)
class Volume:
    """Slices that follow each other.

    Parameters
    ----------
    name
        Number and description of the series, and which volume it is where it has several.
    frames
        Sorted along the normal of the slices; by their numbers where positions are not known.
    header
        Of one of its files.
    orientation
        Directions along a row and along a column; None if not known.
    pixel_spacing
        Distance of rows and of columns in mm; None if not known.
    thickness
        Distance of slices that the header says, in mm; None if it does not.
    timed
        Whether the slices are frames of a film, and not places.
    """

    name: str
    frames: tuple[Frame, ...]
    header: Dataset = field(compare=False)
    orientation: Numbers | None
    pixel_spacing: Numbers | None
    thickness: float | None
    timed: bool = False


def headers_of(files: Iterable[Path], path: Path) -> list[tuple[Path, Dataset]]:
    """Headers of all files that are DICOM images; the same image under two names is taken once.

    Raises
    ------
    InputError
        If none is.
    """
    found: dict[str, tuple[Path, Dataset]] = {}
    for file in sorted(files):
        with reading(file, "a DICOM file"), warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # values that break the standard's rules, which do not matter here
            try:
                header = dcmread(file, stop_before_pixels=True, specific_tags=list(_TAGS))
            except InvalidDicomError:
                continue
            if "Rows" in header and "Columns" in header:
                found.setdefault(str(header.get("SOPInstanceUID", file)), (file, header))
    if not found:
        raise InputError(f"{path} holds no DICOM image: name the folder of a series, or one of its files")
    return list(found.values())


def volumes_of(headers: Sequence[tuple[Path, Dataset]]) -> list[Volume]:
    """All volumes, in the order of their series' numbers.

    Slices of a series that differ in size or orientation, as localizers do, are volumes of their own; so are
    those that lie in the same places (time points, echoes).
    """
    groups: dict[tuple[Any, ...], list[tuple[Frame, Dataset]]] = defaultdict(list)
    for file, header in headers:
        for frame, groups_of_frame in _frames(file, header):
            groups[_key(header, groups_of_frame, frame)].append((frame, groups_of_frame))
    by_file = dict(headers)
    found: list[Volume] = []
    for frames in groups.values():
        header = by_file[frames[0][0].file]
        found += _volumes([frame for frame, _ in frames], frames[0][1], header)
    return sorted(found, key=lambda volume: (_whole(volume.header, "SeriesNumber"), volume.name))


def volume_of(volumes: Sequence[Volume], series: str | None, path: Path) -> Volume:
    """The one that is meant (see `chosen`)."""
    return volumes[chosen(series, [each.name for each in volumes], path, "series or volumes")]


def _frames(file: Path, header: Dataset) -> Iterator[tuple[Frame, Dataset]]:
    """Frames of a file, each with what the header says of it."""
    count = _whole(header, "NumberOfFrames") or 1
    per_frame = header.get("PerFrameFunctionalGroupsSequence")
    shared = (header.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    for number in range(count):
        own = _Merged(header, shared, per_frame[number] if per_frame else Dataset())
        facts = Dataset()
        facts.PixelSpacing = own.value("PixelMeasuresSequence", "PixelSpacing")
        facts.SpacingBetweenSlices = own.value("PixelMeasuresSequence", "SpacingBetweenSlices")
        facts.SliceThickness = own.value("PixelMeasuresSequence", "SliceThickness")
        facts.ImageOrientationPatient = own.value("PlaneOrientationSequence", "ImageOrientationPatient")
        position = own.value("PlanePositionSequence", "ImagePositionPatient")
        slope = own.value("PixelValueTransformationSequence", "RescaleSlope")
        intercept = own.value("PixelValueTransformationSequence", "RescaleIntercept")
        time = own.value("FrameContentSequence", "TemporalPositionIndex")
        numbers = ("AcquisitionNumber", "TemporalPositionIdentifier", "EchoNumbers", "InstanceNumber")
        order = (
            *(_whole(header, name) for name in numbers[:3]),
            int(time or 0),
            _whole(header, numbers[3]),
            number,
        )
        yield (
            Frame(
                file,
                number,
                _numbers(position, 3),
                1.0 if slope is None else float(slope),
                0.0 if intercept is None else float(intercept),
                order,
            ),
            facts,
        )


@dataclass(frozen=True)
class _Merged:
    """What a header says of one frame: in its own functional groups, the shared ones, or directly."""

    header: Dataset
    shared: Dataset
    own: Dataset

    def value(self, sequence: str, name: str) -> Any:
        """The first value that is not empty; None if there is none."""
        for groups in (self.own, self.shared):
            items = groups.get(sequence)
            if items and items[0].get(name) not in (None, ""):
                return items[0].get(name)
        found = self.header.get(name)
        return None if found == "" else found


def _key(header: Dataset, facts: Dataset, frame: Frame) -> tuple[Any, ...]:
    """What slices of one volume have in common."""
    film = _whole(header, "NumberOfFrames") > 1 and frame.position is None
    return (
        str(header.get("SeriesInstanceUID", "")),
        *(_whole(header, name) for name in ("Rows", "Columns", "SamplesPerPixel")),
        _rounded(_numbers(facts.ImageOrientationPatient, 6)),
        _rounded(_numbers(facts.PixelSpacing, 2)),
        frame.position is None,
        frame.file if film else None,
    )


def _volumes(frames: Sequence[Frame], facts: Dataset, header: Dataset) -> Iterator[Volume]:
    """The volumes of slices of one size and orientation."""
    orientation = _numbers(facts.ImageOrientationPatient, 6)
    placed = orientation is not None and all(frame.position is not None for frame in frames)
    stacks = (
        _sorted(frames, orientation) if placed and orientation else [sorted(frames, key=lambda f: f.order)]
    )
    size = f"{_whole(header, 'Rows')}x{_whole(header, 'Columns')}"
    kind = " ".join(str(header.get("SeriesDescription") or header.get("Modality") or "series").split())
    thickness = facts.SpacingBetweenSlices or facts.SliceThickness
    timed = len(frames) > 1 and not placed and bool({"FrameTime", "FrameTimeVector"} & set(header.dir()))
    for number, stack in enumerate(stacks):
        which = f" volume {number}" if len(stacks) > 1 else ""
        yield Volume(
            f"{kind}{which} {len(stack)}x{size}",
            tuple(stack),
            header,
            orientation if placed else None,
            _numbers(facts.PixelSpacing, 2),
            float(thickness) if thickness else None,
            timed,
        )


def _sorted(frames: Sequence[Frame], orientation: Numbers) -> list[list[Frame]]:
    """Slices along their normal; as many lists as there are slices in each place, or one if that differs."""
    normal = np.cross(orientation[:3], orientation[3:])
    places: dict[float, list[Frame]] = defaultdict(list)
    for frame in frames:
        places[round(float(np.dot(normal, frame.position or (0, 0, 0))), _DIGITS)].append(frame)
    in_place = [sorted(places[place], key=lambda frame: frame.order) for place in sorted(places)]
    if len({len(there) for there in in_place}) > 1:
        return [[frame for there in in_place for frame in there]]
    return [list(stack) for stack in zip(*in_place, strict=True)]


def _numbers(values: Any, count: int) -> Numbers | None:
    if values is None or isinstance(values, str | float | int) or len(values) != count:
        return None
    return tuple(float(value) for value in values)


def _rounded(values: Numbers | None) -> Numbers | None:
    return None if values is None else tuple(np.round(values, 3).tolist())


def _whole(header: Dataset, name: str) -> int:
    """A whole number of the header, the first of several; 0 without one."""
    value = header.get(name)
    if value is None or value == "":
        return 0
    return int(value[0]) if hasattr(value, "__len__") and not isinstance(value, str) else int(value)
