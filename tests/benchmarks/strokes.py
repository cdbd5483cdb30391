"""Strokes as a hurried annotator would paint them, drawn from full labels."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

BRUSH_RADIUS, LENGTH = 2, 60


def strokes(mask: NDArray[np.bool_], pixels: int, random: np.random.Generator) -> NDArray[np.bool_]:
    """Smoothly turning strokes of a 5-pixel brush within `mask` (Y, X), about `pixels` in all."""
    painted = np.zeros_like(mask)
    disc = (
        np.hypot(*np.ogrid[-BRUSH_RADIUS : BRUSH_RADIUS + 1, -BRUSH_RADIUS : BRUSH_RADIUS + 1])
        <= BRUSH_RADIUS + 0.3
    )
    room = ndimage.binary_erosion(mask, disc)
    starts = np.argwhere(room)
    while painted.sum() < pixels:
        y, x = starts[random.integers(len(starts))].astype(float)
        heading = random.uniform(0, 2 * np.pi)
        for _ in range(LENGTH):
            row, column = round(y), round(x)
            inside = 0 <= row < mask.shape[0] and 0 <= column < mask.shape[1]
            if not inside or not room[row, column] or painted.sum() >= pixels:
                break
            top, left = row - BRUSH_RADIUS, column - BRUSH_RADIUS
            painted[top : top + len(disc), left : left + len(disc)] |= disc
            heading += random.normal(0, 0.15)
            y, x = y + np.sin(heading), x + np.cos(heading)
    return painted & mask
