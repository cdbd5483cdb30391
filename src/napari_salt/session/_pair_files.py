"""Files of the layers that a project is made of; layers without one are written. No Qt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Layer

from napari_salt.io._project_files import PairSource, Source, ending_for
from napari_salt.io._table import format_to_write
from napari_salt.io._write import check_target, image_writer, write_planes
from napari_salt.session._image_source import ImageSource
from napari_salt.session._layer_files import SERIES
from napari_salt.session._layers import FILE, OPENING
from napari_salt.session._paint import Pair
from napari_salt.session._pair_layers import RESAMPLED
from napari_salt.session._placed import Placed
from napari_salt.terms.card import ClassInfo
from napari_salt.terms.config import Unpainted
from napari_salt.terms.errors import InputError
from napari_salt.terms.project_parts import Opening, ProjectImages, ProjectPair
from napari_salt.terms.slice_ranges import shown_slices
from napari_salt.terms.text import unpathed
from napari_salt.terms.units import micrometres

__all__ = ["PairFiles", "file_of", "images_entry"]

MAX_NAME = 60
SAME_SIZE = 0.01
"""Relative tolerance of pixel sizes of a layer and of its file."""


@dataclass(eq=False)
class PairFiles:
    """An image and its labels, and what they are in the files of a project.

    Parameters
    ----------
    pair
        The layers.
    marks
        What unpainted means on single slices, by position.
    classes
        Names and colours of the label values.
    """

    pair: Pair
    marks: Mapping[int, Unpainted]
    classes: tuple[ClassInfo, ...] = ()

    def check(self) -> None:
        """Raise InputError if a project cannot take the image as the window has it."""
        _check_image(self.pair.source, writable=True)
        if file_of(self.image) is not None:
            image = self._source().open()
            if image.data.shape[:3] != tuple(self.pair.source.stack.shape[:3]):
                raise InputError(
                    f"image layer {self.image.name!r} has not the shape of its file {image.source}; save it "
                    "(File > Save Selected Layers), and open that file"
                )

    @property
    def image(self) -> Layer:
        """The image layer."""
        return self.pair.source.layer

    @property
    def labels(self) -> Layer:
        """The labels layer."""
        return self.pair.labels

    @property
    def unwritten(self) -> list[Layer]:
        """Layers that are in no file, or not as they are."""
        found = [] if file_of(self.image) else [self.image]
        return found if self._are_in_file() else [*found, self.labels]

    @property
    def overwritable(self) -> Path | None:
        """The file of the labels, if it holds nothing but them and can be written."""
        path = file_of(self.labels)
        only = SERIES not in self.labels.metadata and RESAMPLED not in self.labels.metadata
        if path is None or not only or not path.is_file() or path == file_of(self.image):
            return None
        try:
            format_to_write(path)
        except InputError:
            return None
        return path

    def write(self, folder: Path, *, over: bool = False) -> None:
        """Write the layers that are not in files into `folder`; `over`: labels into their own file.

        Raises
        ------
        InputError
            If that is not possible.
        """
        unwritten = self.unwritten
        if self.image in unwritten:
            path = _free_path(folder, self.image.name, ".tif")
            _write_image(path, self.pair.source)
            _remember(self.image, path)
        if self.labels in unwritten:
            own = self.overwritable if over else None
            path = own or _free_path(folder, self.labels.name, ending_for(self._source().open(), None))
            placed = Placed(self.pair.source, self.labels)
            layout, source, _ = placed.layout(path, placed.classes(self.classes))
            check_target(path, source)
            for _ in write_planes(path, layout, (placed.stack[i] for i in range(len(placed.stack)))):
                pass
            _remember(self.labels, path)
            self.labels.metadata.pop(RESAMPLED, None)

    def entry(self) -> ProjectPair:
        """What a project's file says of the pair; both are in files."""
        complete, strokes = (
            shown_slices(i for i, meaning in self.marks.items() if meaning == wanted) or None
            for wanted in ("background", "ignore")
        )
        return replace(self._entry(), complete=complete, strokes=strokes)

    def _entry(self) -> ProjectPair:
        return ProjectPair(
            image=str(file_of(self.image)),
            labels=str(file_of(self.labels)),
            resample=bool(self.labels.metadata.get(RESAMPLED)),
            **_opening_for(self.pair.source),
        )

    def _source(self) -> Source:
        return Source(Path(str(file_of(self.image))), Opening(**_opening_for(self.pair.source)), "")

    def _are_in_file(self) -> bool:
        """Whether a file has the labels as they are now."""
        path, image = file_of(self.labels), file_of(self.image)
        if path is None or image is None or SERIES in self.labels.metadata:
            return False
        try:
            _, found = PairSource(image, path, self._entry()).open()
            shown = self.pair.source.labels_stack(self.labels)
            return found.data.shape == shown.shape and all(
                np.array_equal(shown[index], np.asarray(found.data[index])) for index in range(len(shown))
            )
        except InputError:
            return False


def _check_image(source: ImageSource, *, writable: bool) -> None:
    """Raise InputError if a project cannot take an image as the window has it.

    `writable`: an image that is in no file will be written, if it is grey.
    """
    layer = source.layer
    if source.level:
        raise InputError(
            f"the window works on level {source.level} of {layer.name!r}, and projects on the finest; choose "
            "level 0 (1 Image), and paint there"
        )
    if len(source.channels) > 1:
        raise InputError(
            f"the window takes {len(source.channels)} channels of {layer.name!r} as colour, and projects "
            "one; choose one channel (1 Image), or open a file that has them as RGB"
        )
    writable = writable and len(source.stack.shape) == 3 and source.channel_axis is None
    if file_of(layer) is None and not writable:
        raise InputError(
            f"no file of image layer {layer.name!r} is known; save it (File > Save Selected Layers), open "
            "that file, and work on it"
        )


def file_of(layer: Layer) -> Path | None:
    """The file that a layer came from, or was written to; None if that is not known."""
    path = layer.metadata.get(FILE) or layer.source.path
    return Path(path).absolute() if path else None


def images_entry(source: ImageSource) -> ProjectImages:
    """What a project's file says of an image to segment.

    Raises
    ------
    InputError
        If it is in no file, or a project cannot take it as the window has it.
    """
    _check_image(source, writable=False)
    return ProjectImages(str(file_of(source.layer)), **_opening_for(source))


def _opening_for(source: ImageSource) -> dict[str, Any]:
    """How the file of an image is opened as the window has it."""
    layer = source.layer
    how: dict[str, Any] = dict(layer.metadata.get(OPENING, {}))
    if SERIES in layer.metadata:
        how.setdefault("series", layer.metadata[SERIES])
    if source.channel_axis is not None and source.channels:
        how["channel"] = source.channels[0]
    if "pixel_size" not in how and source.pixel_size is not None and file_of(layer) is not None:
        known = Source(Path(str(file_of(layer))), Opening(**how), "").open().pixel_size
        if known is None or not np.isclose(known, source.pixel_size, rtol=SAME_SIZE):
            how["pixel_size"] = ",".join(f"{size:g}" for size in _micrometres(source))
    return how


def _micrometres(source: ImageSource) -> tuple[float, ...]:
    """Size of the image's voxels (z, y, x), or its pixels (y, x), in micrometres."""
    factor, size = micrometres(str(source.layer.units[-1])) or 1.0, source.pixel_size or 1.0
    spacing = source.voxels.spacing
    return (size, size) if spacing is None else tuple(factor * each for each in spacing)


def _free_path(folder: Path, name: str, ending: str) -> Path:
    """A path in `folder` that is not taken, named after a layer."""
    stem = unpathed(name)[:MAX_NAME].strip() or "layer"
    tries = (f"{stem}{'' if number == 1 else f' {number}'}{ending}" for number in range(1, 10_000))
    return next(folder / each for each in tries if not (folder / each).exists())


def _write_image(path: Path, source: ImageSource) -> None:
    stack = source.stack
    dtype = np.dtype(np.uint8) if stack.dtype.kind == "b" else stack.dtype
    with image_writer(path, source.layout(path.stem, dtype)) as write:
        for index in range(len(stack)):
            write(np.asarray(stack[index]).astype(dtype))


def _remember(layer: Layer, path: Path) -> None:
    layer.metadata[FILE] = str(path.absolute())
