"""Colours of label values. No Qt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap

from napari_salt.terms.card import ClassInfo

__all__ = ["class_color", "color_of", "colormap_of", "recolored", "shared_colormap"]


def class_color(labels: Labels, value: int) -> str:
    """The colour that the layer gives to `value`, as "#rrggbb"."""
    return color_of(labels.colormap, value)


def color_of(colormap: Any, value: int) -> str:
    """The colour that a label colormap of napari's gives to `value`, as "#rrggbb"; grey without one."""
    red, green, blue = (0.5, 0.5, 0.5) if colormap is None else np.asarray(colormap.map(value))[:3]
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"


def colormap_of(classes: Sequence[ClassInfo]) -> DirectLabelColormap:
    """A label colormap with the colours of `classes`; other values are transparent."""
    colors: dict[int | None, str] = {None: "transparent", 0: "transparent"}
    colors.update((c.value, c.color) for c in classes)
    return DirectLabelColormap(color_dict=colors)


def recolored(labels: Labels, value: int, color: str) -> DirectLabelColormap:
    """The layer's colours of the label values up to 255, with another "#rrggbb" for `value`."""
    colors: dict[int | None, Any] = {None: "transparent", 0: "transparent"}
    for each in range(1, 256):
        shown = labels.get_color(each)
        colors[each] = "transparent" if shown is None else shown
    colors[value] = color
    return DirectLabelColormap(color_dict=colors)


def shared_colormap(layers: Sequence[Labels], colormap: Any) -> Any:
    """Colours for the values of all `layers`, and of `colormap`.

    Numbers of objects have napari's own; values of classes the first layer's colour, else that of the next.
    """
    maps = [*(layer.colormap for layer in layers), colormap]
    for each in maps:
        if not isinstance(each, DirectLabelColormap):
            return each
    colors: dict[int | None, Any] = {}
    for each in reversed(maps):
        colors.update(each.color_dict)
    return DirectLabelColormap(color_dict={**colors, None: "transparent", 0: "transparent"})
