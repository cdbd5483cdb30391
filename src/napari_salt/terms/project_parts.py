"""Parts of a project: images with and without labels, the adapter's file, results."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from napari_salt.terms.config import Unpainted
from napari_salt.terms.errors import InputError
from napari_salt.terms.slice_ranges import parse_slices
from napari_salt.terms.units import parse_lengths

__all__ = [
    "OF_IMAGES",
    "PATHS",
    "Opening",
    "ProjectAdapter",
    "ProjectImages",
    "ProjectPair",
    "ProjectResults",
    "as_texts",
    "opening_of",
]

PATHS = ("image", "labels", "images", "file", "init", "base", "output")
"""Fields of a project and its parts that are paths."""
OF_IMAGES = ("axes", "channel", "series", "pixel_size")
"""How an image is opened: keys that images to learn from and images to segment have in common."""


@dataclass(frozen=True, kw_only=True)
class Opening:
    """How an image is opened; None is what the file says.

    Parameters
    ----------
    axes
        One letter per axis, such as "ZYX" (see `read_stack`).
    channel
        Channel to use, from 0.
    series
        Which image of a file with several: its number from 0, or a part of its name.
    pixel_size
        Size of a pixel or voxel, as "0.5", "250nm" or "2,0.5,0.5" (z, y, x; micrometres unless said).
    """

    axes: str | None = None
    channel: int | None = None
    series: int | str | None = None
    pixel_size: float | str | None = None

    def __post_init__(self) -> None:
        as_texts(self)
        try:
            _ = self.lengths
        except InputError as error:
            raise InputError(f"pixel-size: {error}") from error

    @property
    def lengths(self) -> tuple[float, ...] | None:
        """Micrometres along (y, x) or (z, y, x); None if not given.

        Raises
        ------
        InputError
            If `pixel_size` is no such text or number.
        """
        return None if self.pixel_size is None else parse_lengths(str(self.pixel_size))

    @property
    def in_plane(self) -> float | None:
        """Side of a pixel in micrometres; None if not given."""
        lengths = self.lengths
        return None if lengths is None else float((lengths[-1] * lengths[-2]) ** 0.5)


@dataclass(frozen=True)
class ProjectPair(Opening):
    """An image to learn from, with its labels.

    Parameters
    ----------
    image, labels
        Paths, from the project's folder. With one ``*`` in each: all images that have labels of the name that
        has the same text in that place.
    resample
        Whether labels on another grid are resampled onto that of the image.
    complete, strokes
        Slices, such as "0-3, 7", on which what is not painted is background, or is unknown, whatever
        `unpainted` says of the others. Complete ones may be without paint.
    """

    image: str
    labels: str
    resample: bool = False
    complete: str | None = None
    strokes: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.marks

    @property
    def marks(self) -> Mapping[int, Unpainted]:
        """What unpainted means on single slices, by position.

        Raises
        ------
        InputError
            If `complete` or `strokes` names no slices, or both name the same one.
        """
        try:
            complete, strokes = (parse_slices(text) if text else () for text in (self.complete, self.strokes))
        except InputError as error:
            raise InputError(f"complete or strokes: {error}") from error
        if both := sorted({*complete} & {*strokes}):
            raise InputError(f"slice {both[0]} is in complete and in strokes; leave it out of one")
        unknown: dict[int, Unpainted] = dict.fromkeys(strokes, "ignore")
        return unknown | dict.fromkeys(complete, "background")


@dataclass(frozen=True)
class ProjectImages(Opening):
    """Images to segment.

    Parameters
    ----------
    images
        A path from the project's folder: of one image, of a folder whose images are meant, or a pattern such
        as ``stacks/*.tif``, each match of which is an image.
    one_stack
        Whether the folder or pattern is a single stack, of which each file is a slice.
    """

    images: str
    one_stack: bool = False


@dataclass(frozen=True)
class ProjectAdapter:
    """The adapter's file.

    Parameters
    ----------
    file
        Where it is written if the project has images to learn from, else the adapter to segment with. None:
        ``adapter.salt.safetensors`` in the output folder.
    init
        Adapter to go on from.
    base
        Where the adapter's base lies, if that is a checkpoint file of one's own.
    name, author, license, note
        Texts for the file; empty: not set.
    """

    file: str | None = None
    init: str | None = None
    base: str | None = None
    name: str = ""
    author: str = ""
    license: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        as_texts(self)


@dataclass(frozen=True)
class ProjectResults:
    """What is written.

    Parameters
    ----------
    format
        Ending of segmentations, such as ".nii.gz". None: that of the image where it can be written.
    unit
        "um" or "mm", for the table. None: that of each file.
    objects
        Whether the connected objects of each class are counted.
    """

    format: str | None = None
    unit: str | None = None
    objects: bool = True

    def __post_init__(self) -> None:
        if self.unit not in (None, "um", "mm"):
            raise InputError(f"unit is {self.unit!r}; give um or mm")


def opening_of(entry: Opening) -> dict[str, Any]:
    """How an image is opened, as values that JSON can hold."""
    return {each.name: getattr(entry, each.name) for each in fields(Opening)}


def as_texts(entry: Any) -> None:
    """Let paths that were given as `Path` be texts, as in the file."""
    for each in fields(entry):
        value = getattr(entry, each.name)
        if each.name in PATHS and isinstance(value, os.PathLike):
            object.__setattr__(entry, each.name, os.fspath(value))
