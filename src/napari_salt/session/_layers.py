"""The layers that are made and written: new labels, previews, results, accepted masks. No Qt.

With `_image_source`, which reads them, the only place that touches napari layers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer
from napari.utils.colormaps import DirectLabelColormap
from numpy.typing import NDArray

from napari_salt.session._image_source import ImageSource
from napari_salt.terms.card import ClassInfo
from napari_salt.terms.events import Preview
from napari_salt.terms.text import shortened, unpathed

__all__ = [
    "PLACEMENT",
    "Output",
    "Overlay",
    "accept_mask",
    "align",
    "camera_of",
    "class_color",
    "colormap_of",
    "made_by_us",
    "new_labels",
]


PLACEMENT = ("scale", "translate", "rotate", "shear", "affine")
"""Properties of a layer that say where it lies."""

OURS, MADE_BY = "napari-salt", "napari-salt: made by"
"""Keys in the metadata of layers that this plugin makes."""


class Overlay:
    """A translucent layer of a few pixels over the current slice, made when it is first shown.

    Parameters
    ----------
    viewer
        A napari viewer (model).
    name
        Of the layer.
    """

    def __init__(self, viewer: Any, name: str) -> None:
        self._viewer = viewer
        self._name = name
        self._layer: Labels | None = None

    def show(self, source: ImageSource, found: Preview, colormap: Any) -> None:
        """Put `found` over its place."""
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
        """Show nothing, and keep the layer for the next time."""
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
    data
        Zeros of the label shape, unsigned: numpy, or an array on disk that takes assignments.
    probabilities
        One array per class of the label shape, float16; empty without a probability layer.
    made_by
        By what: in the layers' metadata under ``"napari-salt: made by"``.
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
    ) -> None:
        self._source = source
        self._viewer = viewer
        placement = source.placement()
        about = {OURS: "result", MADE_BY: dict(made_by or {})}
        self.layer = Labels(data, name=name, colormap=colormap, metadata=about, **placement)
        _add_behind(viewer, self.layer)
        self._maps = []
        for info, values in zip(classes, probabilities, strict=False):
            layer = Image(
                values,
                name=f"{name} P({shortened(unpathed(info.name), 40)})",
                contrast_limits=(0, 1),
                colormap="magma",
                blending="additive",
                visible=False,
                metadata=about,
                **placement,
            )
            _add_behind(viewer, layer)
            self._maps.append(layer)

    @property
    def alive(self) -> bool:
        """Whether the layer is still in the viewer."""
        return self.layer in self._viewer.layers

    def write(self, index: int, labels: NDArray[Any], probabilities: NDArray[np.float32]) -> None:
        """Fill in slice `index`; `probabilities` are (K + 1, Y, X), or (0, Y, X)."""
        place = self._source.place(index)
        self.layer.data[place] = labels
        self.layer.refresh()
        for layer, values in zip(self._maps, probabilities[1:], strict=False):
            layer.data[place] = values
            if layer.visible:
                layer.refresh()


def camera_of(viewer: Any) -> Any:
    """The viewer's camera, which moved to its scene in napari 0.9."""
    return viewer.scene.camera if hasattr(viewer, "scene") else viewer.camera


def new_labels(viewer: Any, source: ImageSource) -> Labels:
    """Add an empty labels layer that fits the image, ready to be painted, and make it active."""
    dtype = np.uint8
    layer = Labels(
        np.zeros(source.label_shape, dtype), name=f"{source.layer.name} paint", **source.placement()
    )
    viewer.add_layer(layer)
    viewer.layers.selection.active = layer
    return layer


def align(layer: Layer, source: ImageSource) -> None:
    """Lay a layer of the label shape on the image."""
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


def class_color(labels: Labels, value: int) -> str:
    """The colour that the layer gives to `value`, as "#rrggbb"."""
    color = labels.get_color(value)
    red, green, blue = (0.5, 0.5, 0.5) if color is None else np.asarray(color)[:3]
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"


def colormap_of(classes: Sequence[ClassInfo]) -> DirectLabelColormap:
    """A label colormap with the colours of an adapter's classes."""
    colors: dict[int | None, str] = {None: "transparent", 0: "transparent"}
    colors.update((c.value, c.color) for c in classes)
    return DirectLabelColormap(color_dict=colors)


def made_by_us(layer: Layer) -> str:
    """What this plugin made the layer as, "overlay" or "result", or an empty string."""
    return str(layer.metadata.get(OURS, ""))


def _add_behind(viewer: Any, layer: Layer) -> None:
    """Add `layer` without making it the one that is painted on next."""
    active = viewer.layers.selection.active
    viewer.add_layer(layer)
    if active is not None:
        viewer.layers.selection.active = active
