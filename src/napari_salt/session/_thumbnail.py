"""A small picture of what an adapter has found in a slice. No Qt, no torch."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_salt.terms.events import Preview

__all__ = ["SIDE", "thumbnail"]

SIDE = 96
"""Pixels of the longer side."""
COVERING = 0.45
"""Opacity of what was found."""
PERCENTILES = 1, 99


def thumbnail(plane: NDArray[Any], found: Preview, colormap: Any) -> bytes:
    """Draw a preview over its part of the slice.

    Parameters
    ----------
    plane
        The slice, shape (Y, X) or (Y, X, 3), any type and range; its grey levels are stretched.
    found
        What was found in a square of it.
    colormap
        napari's, of label values.

    Returns
    -------
    bytes
        A PNG file, RGB, its longer side `SIDE` pixels.
    """
    height, width = found.labels.shape
    part = plane[found.top : found.top + height, found.left : found.left + width]
    grey = np.nan_to_num(part.astype(np.float32))
    low, high = np.percentile(grey, PERCENTILES)
    grey = np.clip((grey - low) / max(high - low, np.finfo(np.float32).tiny), 0, 1)
    colour = np.broadcast_to(grey[..., None] if grey.ndim == 2 else grey, (*grey.shape[:2], 3))
    cover = np.asarray(colormap.map(found.labels), np.float32)  # (h, w, 4), 0 to 1
    opacity = COVERING * cover[..., 3:] * (found.labels != 0)[..., None]
    mixed = np.round(255 * (colour * (1 - opacity) + cover[..., :3] * opacity)).astype(np.uint8)
    picture = Image.fromarray(mixed)
    picture.thumbnail((SIDE, SIDE))
    content = io.BytesIO()
    picture.save(content, "PNG", optimize=True)
    return content.getvalue()
