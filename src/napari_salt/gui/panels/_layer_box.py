"""A box to choose a layer of the viewer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from qtpy.QtWidgets import QComboBox

from napari_salt.session._layers import made_by_us
from napari_salt.terms.text import printable

__all__ = ["fill_layers", "layer_box"]


def layer_box(tooltip: str) -> QComboBox:
    """An empty box that may be narrower than the names of the layers."""
    box = QComboBox()
    box.setToolTip(tooltip)
    box.setMinimumContentsLength(8)
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    return box


def fill_layers(box: QComboBox, layers: Iterable[Any], kind: type[Any], chosen: Any) -> None:
    """Offer the layers of a kind, without our previews; show the `chosen` one, or none."""
    box.clear()
    box.setCurrentIndex(-1)
    for layer in layers:
        if type(layer) is kind and made_by_us(layer) != "overlay":
            box.addItem(printable(layer.name), layer)
            if layer is chosen:
                box.setCurrentIndex(box.count() - 1)
    if chosen is None:
        box.setCurrentIndex(-1)
