"""Slices as pictures: the image, and the labels over it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
from imagecodecs import png_encode
from numpy.typing import NDArray
from skimage.color import hsv2rgb, label2rgb
from skimage.segmentation import find_boundaries

__all__ = ["embedded", "overlaid", "seen"]

Picture = NDArray[np.uint8]

LARGEST = 640
"""Pixels along the longer side of a picture; larger slices are thinned out."""
WINDOW = (0.5, 99.5)
"""Percentiles that are shown black and white."""
OPACITY = 0.35
GOLDEN = 0.618033988749895
"""Step of hue from object to object, so that neighbouring numbers differ."""


def seen(plane: NDArray[Any]) -> Picture:
    """A slice of an image, (Y, X) or (Y, X, 3), as colours, (y, x, 3), of at most `LARGEST` pixels a side."""
    values = _thinned(plane).astype(np.float64)
    known = values[np.isfinite(values)]
    low, high = np.percentile(known, WINDOW) if known.size else (0.0, 1.0)
    scaled = np.clip(np.nan_to_num((values - low) / max(high - low, 1e-12)), 0, 1)
    grey = scaled if scaled.ndim == 3 else np.repeat(scaled[..., None], 3, axis=2)
    return np.rint(255 * grey).astype(np.uint8)


def overlaid(picture: Picture, labels: NDArray[Any], colors: Mapping[int, str]) -> Picture:
    """Labels of a slice over its picture: translucent, with outlines.

    Parameters
    ----------
    picture
        What `seen` gives of the image.
    labels
        Whole numbers of the slice in full size, (Y, X); 0 is background.
    colors
        Colour ("#rrggbb") by value; other values get colours of their own.
    """
    labels = _thinned(labels)
    there = [int(value) for value in np.unique(labels) if value]
    if not there:
        return picture
    chosen = np.array([_rgb(colors[v]) if v in colors else _hue(v) for v in there])
    mixed = label2rgb(  # type: ignore[no-untyped-call]
        labels, picture, chosen, alpha=OPACITY, bg_color=None, saturation=1
    )
    outline = find_boundaries(labels, mode="inner")  # type: ignore[no-untyped-call]
    mixed[outline] = chosen[np.searchsorted(there, labels[outline])]
    drawn: Picture = np.rint(255 * mixed).astype(np.uint8)
    return drawn


def embedded(picture: Picture) -> str:
    """A picture as the address of a PNG that holds all of it, for an ``img`` in HTML."""
    return "data:image/png;base64," + base64.b64encode(png_encode(np.ascontiguousarray(picture))).decode()


def _thinned(plane: NDArray[Any]) -> NDArray[Any]:
    step = -(-max(plane.shape[:2]) // LARGEST)
    return plane[::step, ::step]


def _rgb(color: str) -> tuple[float, ...]:
    return tuple(part / 255 for part in bytes.fromhex(color[1:]))


def _hue(value: int) -> tuple[float, ...]:
    rgb: tuple[float, ...] = tuple(hsv2rgb([value * GOLDEN % 1.0, 0.8, 1.0]).tolist())
    return rgb
