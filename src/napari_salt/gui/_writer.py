"""File > Save of a labels layer, with its voxel size and place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import napari

from napari_salt.session._layer_files import save_labels

__all__ = ["write_labels_layer"]


def write_labels_layer(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write a labels layer for napari; directions in space are those of an image that it lies on.

    Parameters
    ----------
    path
        Its ending decides the format.
    data
        The layer's labels.
    attributes
        The layer's arguments.

    Returns
    -------
    list of str
        The path.

    Raises
    ------
    InputError
        If it cannot be written so.
    """
    viewer = napari.current_viewer()
    save_labels(Path(path), data, attributes, viewer.layers if viewer else ())
    return [path]
