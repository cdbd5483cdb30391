"""Images and labels of a project as layers of the viewer. No Qt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from napari.layers import Image, Labels

from napari_salt.io import Stack
from napari_salt.io._project_files import PairSource, Source, pairs_of, seen_from
from napari_salt.session._colors import recolored
from napari_salt.session._image_source import ImageSource
from napari_salt.session._layer_files import AFFINE, layer_of
from napari_salt.session._layers import CLASSES, FILE, OPENING
from napari_salt.session._paint import Pair
from napari_salt.terms.config import TrainConfig, Unpainted
from napari_salt.terms.errors import InputError
from napari_salt.terms.project import Project
from napari_salt.terms.project_parts import Opening, opening_of
from napari_salt.terms.units import MICROMETRES

__all__ = ["RESAMPLED", "OpenedPair", "image_of", "opened_pairs"]

RESAMPLED = "napari-salt: resampled"
"""Key in the metadata of labels of a project that were resampled onto their image."""


@dataclass(frozen=True)
class OpenedPair:
    """An image to learn from and its labels, as layers that are not in the viewer yet.

    Parameters
    ----------
    image, labels
        The layers.
    marks
        What unpainted means on single slices, by position.
    """

    image: Image
    labels: Labels
    marks: Mapping[int, Unpainted]

    @property
    def pair(self) -> Pair:
        """The layers as training takes them."""
        return Pair(ImageSource(self.image), self.labels)


def opened_pairs(project: Project) -> Iterator[tuple[str, OpenedPair | InputError]]:
    """Open the images that a project learns from; give each with its name, or what is wrong with it.

    All labels are read; classes have the project's names and colours, else those of their files.
    """
    for name, found in pairs_of(project):
        if isinstance(found, InputError):
            yield name, found
            continue
        for source in found:
            try:
                yield seen_from(project, source.image), _opened(source, project.training)
            except InputError as error:
                yield seen_from(project, source.image), error


def image_of(source: Source) -> Image:
    """An image to segment as a layer.

    Raises
    ------
    InputError
        As `read_stack`.
    """
    return _image(source.open(), source.opening)


def _opened(source: PairSource, config: TrainConfig) -> OpenedPair:
    image, labels = source.open()
    shown = _image(image, source.entry)
    if labels.data.shape != image.data.shape[:3]:
        raise InputError(
            f"the labels {source.labels} have the shape {labels.data.shape}, the image "
            f"{image.data.shape[:3]}; give labels of the image's shape"
        )
    painted = _labels(labels, shown, config, resampled=source.entry.resample)
    return OpenedPair(shown, painted, source.entry.marks)


def _image(stack: Stack, opening: Opening) -> Image:
    stack = _resized(replace(stack, classes=()), opening)
    data, about, _ = layer_of(stack)
    how = {name: value for name, value in opening_of(opening).items() if value is not None}
    layer = Image(data, **about)
    layer.metadata[OPENING] = how
    return layer


def _resized(stack: Stack, opening: Opening) -> Stack:
    """The stack with voxels of the size that the project gives, on the grid that the file gives."""
    lengths, inside = opening.lengths, opening.in_plane
    if lengths is None or inside is None:
        return stack
    known = replace(stack, true_pixel_size=None).pixel_size
    if len(lengths) < 3 and known and stack.spacing and None not in stack.spacing:
        in_um = MICROMETRES[stack.unit or "um"] * inside / known
        z, y, x = (float(size or 1.0) * in_um for size in stack.spacing)
        lengths = (z, y, x)
    spacing = (lengths[0] if len(lengths) == 3 else None, lengths[-2], lengths[-1])
    return replace(stack, spacing=spacing, unit="um", origin=None, affine=None)


def _labels(stack: Stack, image: Image, config: TrainConfig, *, resampled: bool) -> Labels:
    """The labels as a layer that lies on that of the image."""
    shape = image.data.shape[:-1] if image.rgb else image.data.shape
    names = {info.value: info.name for info in stack.classes} | dict(config.class_names)
    colors = {info.value: info.color for info in stack.classes} | dict(config.class_colors)
    about: dict[str, Any] = {FILE: str(stack.source.absolute()), CLASSES: names}
    if AFFINE in image.metadata:
        about[AFFINE] = image.metadata[AFFINE]
    if resampled:
        about[RESAMPLED] = True
    name = stack.source.name.partition(".")[0]
    layer = Labels(
        np.array(stack.data).reshape(shape),
        name=f"{name} labels" if name == image.name else name,
        metadata=about,
        **{key: getattr(image, key) for key in ("scale", "translate", "units", "axis_labels")},
    )
    for value, color in colors.items() if config.painted == "classes" else ():
        layer.colormap = recolored(layer, value, color)
    return layer
