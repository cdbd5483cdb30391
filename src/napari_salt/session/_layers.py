"""Make and fill layers: new labels, previews, results, accepted masks. No Qt.

The image layer is read by `_image_source`.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer
from numpy.typing import NDArray

from napari_salt.results.table import Table
from napari_salt.session._colors import colormap_of
from napari_salt.session._image_source import ImageSource
from napari_salt.terms.card import ClassInfo
from napari_salt.terms.events import Preview
from napari_salt.terms.limits import MAX_CLASS_NAME
from napari_salt.terms.text import shortened, unpathed
from napari_salt.terms.unsure import pixel_uncertainty

__all__ = [
    "FILE",
    "OPENING",
    "PLACEMENT",
    "Output",
    "Overlay",
    "accept_mask",
    "adapter_of",
    "add_comparison",
    "add_difference",
    "add_objects",
    "align",
    "camera_of",
    "holds_objects",
    "made_by_us",
    "names_in",
    "new_labels",
    "options_of_result",
    "paint_values",
    "replace_value",
    "set_features",
]


PLACEMENT = ("scale", "translate", "rotate", "shear", "affine")
"""Properties that place a layer in the world."""

DIFFERENCE = {1: "#ff7f0e", 2: "#1f77b4", 3: "#d62728"}
"""Colour of what only the first of two results has, only the second, and of another class."""

OURS, MADE_BY = "napari-salt", "napari-salt: made by"
CLASSES, FEATURES, FILE = "napari-salt: classes", "napari-salt: features", "napari-salt: file"
"""Keys in the metadata of layers that this plugin makes; `CLASSES`: name by label value, none for objects."""
OPENING = "napari-salt: opening"
"""Key in the metadata of images of a project: how the file was opened, by the names of `Opening`."""


class Overlay:
    """A translucent layer of a few pixels over the current slice, made when it is first shown.

    Parameters
    ----------
    viewer
        A napari viewer (model).
    name
        Name of the layer.
    """

    def __init__(self, viewer: Any, name: str) -> None:
        self._viewer = viewer
        self._name = name
        self._layer: Labels | None = None

    def show(self, source: ImageSource, found: Preview, colormap: Any) -> None:
        """Show `found` at its place on the image of `source`."""
        placement = source.placement(plane=True, offset=(found.top, found.left))
        if self._layer is None or self._layer not in self._viewer.layers:
            self._layer = Labels(
                found.labels,
                name=self._name,
                opacity=0.5,
                colormap=colormap,
                metadata={OURS: "overlay"},
                **placement,
            )
            _add_behind(self._viewer, self._layer)
            self._layer.editable = False
            return
        with self._layer.events.blocker_all():
            _place(self._layer, placement)
        self._layer.colormap = colormap
        self._layer.data = found.labels

    def clear(self) -> None:
        """Set all pixels to 0; the layer stays."""
        if self._layer is not None:
            self._layer.data = np.zeros_like(np.asarray(self._layer.data))

    def remove(self) -> None:
        """Take the layer out of the viewer."""
        if self._layer is not None and self._layer in self._viewer.layers:
            self._viewer.layers.remove(self._layer)
        self._layer = None


class Output:
    """The layers that a segmentation fills, slice by slice.

    Parameters
    ----------
    viewer
        A napari viewer (model).
    source
        What is segmented.
    name
        Name of the labels layer.
    data
        Zeros of the label shape, unsigned, or int32 for objects: numpy, or an array on disk that takes
        assignments.
    classes
        Of the adapter; their names go into those of the probability layers.
    named
        Classes whose values the labels hold; empty for numbers of objects.
    uncertainty
        An array of the label shape, float16, for a layer of where the model is unsure; None for none.
    colormap
        Of the labels layer; None for napari's own.
    probabilities
        One array per class of the label shape, float16; empty for no probability layers.
    made_by
        What made the result; stored in the layers' metadata under ``"napari-salt: made by"``.
    """

    def __init__(
        self,
        viewer: Any,
        source: ImageSource,
        name: str,
        data: Any,
        classes: Sequence[ClassInfo],
        colormap: Any,
        probabilities: Sequence[Any] = (),
        made_by: Mapping[str, Any] | None = None,
        named: Sequence[ClassInfo] = (),
        *,
        uncertainty: Any = None,
    ) -> None:
        self.source = source
        self._viewer = viewer
        self._found: dict[int, bytes] = {}
        placement = source.placement()
        about = {OURS: "result", MADE_BY: dict(made_by or {})}
        names = {info.value: info.name for info in named}
        features = {"index": [*names], "class": [*names.values()]} if names else None
        holds = {**about, CLASSES: names}
        self.layer = Labels(
            data, name=name, colormap=colormap, metadata=holds, features=features, **placement
        )
        _add_behind(viewer, self.layer)
        self._maps: list[Image] = []
        for info, values in zip(classes, probabilities, strict=False):
            title = f"{name} P({shortened(unpathed(info.name), 40)})"
            self._maps.append(self._add_map(values, title, about, visible=False))
        self._unsure = None
        if uncertainty is not None:
            self._unsure = self._add_map(uncertainty, f"{name} uncertainty", about, visible=True)

    def _add_map(self, values: Any, name: str, about: Mapping[str, Any], *, visible: bool) -> Image:
        """Add a layer of values from 0 to 1."""
        layer = Image(
            values,
            name=name,
            contrast_limits=(0, 1),
            colormap="magma",
            blending="additive",
            visible=visible,
            metadata=dict(about),
            **self.source.placement(),
        )
        _add_behind(self._viewer, layer)
        return layer

    @property
    def alive(self) -> bool:
        """Whether the layer is still in the viewer."""
        return self.layer in self._viewer.layers

    def write(self, index: int, labels: NDArray[Any], probabilities: NDArray[np.float32]) -> None:
        """Fill in slice `index` from labels (Y, X) and probabilities (K + 1, Y, X), or (0, Y, X) for none."""
        place = self.source.place(index)
        self.layer.data[place] = labels
        self._keep(index, labels)
        self.layer.refresh()
        shown = [*zip(self._maps, probabilities[1:], strict=False)]
        if self._unsure is not None and len(probabilities):
            shown.append((self._unsure, pixel_uncertainty(probabilities)))
        for layer, values in shown:
            layer.data[place] = values
            if layer.visible:
                layer.refresh()

    def keep(self, index: int) -> None:
        """Take slice `index` as it is now for what was found, to tell what the user changes later."""
        self._keep(index, np.asarray(self.layer.data[self.source.place(index)]))

    def _keep(self, index: int, plane: NDArray[Any]) -> None:
        self._found[index] = zlib.compress(plane.astype(self.layer.dtype).tobytes(), level=1)

    def found(self, index: int) -> NDArray[Any] | None:
        """Labels (Y, X) that were found on slice `index`; None if that was not segmented."""
        kept = self._found.get(index)
        if kept is None:
            return None
        shape = self.source.label_shape[-2:]
        return np.frombuffer(zlib.decompress(kept), self.layer.dtype).reshape(shape)


def names_in(layer: Labels) -> dict[int, str]:
    """Names of the layer's classes by label value, as far as this plugin has stored them."""
    return dict(layer.metadata.get(CLASSES, {}))


def holds_objects(layer: Labels) -> bool:
    """Whether the values of a layer that this plugin made are numbers of objects."""
    return CLASSES in layer.metadata and not layer.metadata[CLASSES]


def adapter_of(layer: Labels) -> str:
    """Digest of the adapter that made the layer, or "", also if that was made with another strength."""
    made_by = layer.metadata.get(MADE_BY, {})
    return "" if made_by.get("strength", 1) != 1 else str(made_by.get("adapter", ""))


def options_of_result(layer: Labels) -> dict[str, Any]:
    """Options of the segmentation that made the layer, by name."""
    return dict(layer.metadata.get(MADE_BY, {}).get("options", {}))


def add_objects(viewer: Any, source: ImageSource, labels: Labels, numbers: NDArray[np.int32]) -> Labels:
    """Add a layer with the numbers of the objects of `labels`."""
    made_by = {**labels.metadata.get(MADE_BY, {}), "objects of": labels.name}
    about = {OURS: "result", MADE_BY: made_by, CLASSES: {}}
    layer = Labels(numbers, name=f"{labels.name} objects", metadata=about, **source.placement())
    _add_behind(viewer, layer)
    return layer


def add_difference(viewer: Any, source: ImageSource, data: Any, names: Mapping[int, str]) -> Labels:
    """Add a layer that shows where two results differ, with what each value means."""
    infos = [ClassInfo(value, name[:MAX_CLASS_NAME], DIFFERENCE[value]) for value, name in names.items()]
    layer = Labels(
        data,
        name="difference",
        colormap=colormap_of(infos),
        metadata={OURS: "difference"},
        features={"index": [*names], "difference": [*names.values()]},
        **source.placement(),
    )
    _add_behind(viewer, layer)
    layer.editable = False
    return layer


def add_comparison(
    viewer: Any, source: ImageSource, name: str, divided: Any, line: Any, colormap: Any
) -> tuple[Labels, Labels]:
    """Add a layer of two results divided by a line, and one of the line.

    Parameters
    ----------
    viewer, source
        Where to, and the image.
    name
        Of the first layer.
    divided, line
        Arrays of the label shape; they are read when they are shown.
    colormap
        Of the first layer.
    """
    lines = colormap_of([ClassInfo(1, "line", "#ffffff")])
    made = []
    for data, title, colors in ((divided, name, colormap), (line, "comparison line", lines)):
        about = {OURS: "comparison"}
        made.append(Labels(data, name=title, colormap=colors, metadata=about, **source.placement()))
        _add_behind(viewer, made[-1])
        made[-1].editable = False
    return made[0], made[1]


def set_features(layer: Labels, key: str, table: Table) -> bool:
    """Make the table the layer's features, row by label value in the column `key`.

    False, and nothing is changed, if the layer has features that this plugin has not made.
    """
    if len(layer.features.columns) and FEATURES not in layer.metadata and not made_by_us(layer):
        return False
    layer.features = {"index": table[key], **table.columns}
    layer.metadata[FEATURES] = True
    return True


def camera_of(viewer: Any) -> Any:
    """The viewer's camera, which moved to its scene in napari 0.9."""
    return viewer.scene.camera if hasattr(viewer, "scene") else viewer.camera


def new_labels(viewer: Any, source: ImageSource) -> Labels:
    """Add an empty labels layer (uint8) that fits the image, and make it active."""
    dtype = np.uint8
    layer = Labels(
        np.zeros(source.label_shape, dtype), name=f"{source.layer.name} paint", **source.placement()
    )
    viewer.add_layer(layer)
    viewer.layers.selection.active = layer
    return layer


def align(layer: Layer, source: ImageSource) -> None:
    """Move a layer of the label shape onto the image."""
    _place(layer, source.placement())


def _place(layer: Layer, placement: Mapping[str, Any]) -> None:
    for name in PLACEMENT:
        setattr(layer, name, placement[name])


def accept_mask(labels: Labels, source: ImageSource, index: int, mask: NDArray[np.bool_], value: int) -> int:
    """Paint `mask` (Y, X) into slice `index`, undoable; give the number of pixels that changed.

    Where the layer preserves labels, only unpainted pixels change.
    """
    place = source.place(index)
    plane = np.asarray(labels.data[place])
    wanted = mask & (plane != value)
    if labels.preserve_labels:
        wanted &= plane == 0
    rows, columns = np.nonzero(wanted)
    leading = tuple(np.full(rows.shape, i) for i in place)
    labels.data_setitem((*leading, rows, columns), value)
    return int(rows.size)


def paint_values(
    labels: Labels,
    source: ImageSource,
    places: Mapping[int, tuple[NDArray[np.intp], NDArray[np.intp]]],
    values: Mapping[int, NDArray[np.integer]],
) -> None:
    """Paint pixels in one step of napari's undo history: by slice, rows and columns, and their values."""
    indices = [
        (*(np.full(rows.shape, i) for i in source.place(index)), rows, columns)
        for index, (rows, columns) in places.items()
    ]
    new = np.concatenate([values[index] for index in places]).astype(labels.dtype)
    labels.data_setitem(tuple(np.concatenate(axis) for axis in zip(*indices, strict=True)), new)


def replace_value(labels: Labels, source: ImageSource, slices: Sequence[int], value: int, other: int) -> None:
    """Set all pixels of `value` on these slices to `other`, in one step of napari's undo history."""
    found = []
    for index in slices:
        place = source.place(index)
        rows, columns = np.nonzero(np.asarray(labels.data[place]) == value)
        found.append((*(np.full(rows.shape, i) for i in place), rows, columns))
    if found:
        labels.data_setitem(tuple(np.concatenate(axis) for axis in zip(*found, strict=True)), other)


def made_by_us(layer: Layer) -> str:
    """The role of a layer that this plugin made: "overlay", "result", "difference", "comparison"; else ""."""
    return str(layer.metadata.get(OURS, ""))


def _add_behind(viewer: Any, layer: Layer) -> None:
    """Add `layer` and keep the active layer active, so that painting goes on there."""
    active = viewer.layers.selection.active
    viewer.add_layer(layer)
    if active is not None:
        viewer.layers.selection.active = active
