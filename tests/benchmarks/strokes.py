"""Strokes as a hurried annotator would paint them, drawn from full labels."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

RADII, LENGTH = (2, 1, 0), 60
"""A brush of 5 pixels, or a finer one where the class is thinner."""
MOST_STROKES = 10_000


def strokes(mask: NDArray[np.bool_], pixels: int, random: np.random.Generator) -> NDArray[np.bool_]:
    """Smoothly turning strokes within `mask` (Y, X), about `pixels` in all, at most half of the mask."""
    painted = np.zeros_like(mask)
    if not mask.any():
        return painted
    rooms = ((radius, ndimage.binary_erosion(mask, _disc(radius))) for radius in RADII)
    radius, room = next((radius, room) for radius, room in rooms if room.any())
    disc, starts = _disc(radius), np.argwhere(room)
    wanted = min(pixels, max(1, int(mask.sum()) // 2))
    for _ in range(MOST_STROKES):
        if painted.sum() >= wanted:
            break
        y, x = starts[random.integers(len(starts))].astype(float)
        heading = random.uniform(0, 2 * np.pi)
        for _ in range(LENGTH):
            row, column = round(y), round(x)
            inside = 0 <= row < mask.shape[0] and 0 <= column < mask.shape[1]
            if not inside or not room[row, column] or painted.sum() >= wanted:
                break
            top, left = row - radius, column - radius
            painted[top : top + len(disc), left : left + len(disc)] |= disc
            heading += random.normal(0, 0.15)
            y, x = y + np.sin(heading), x + np.cos(heading)
    return painted & mask


def _disc(radius: int) -> NDArray[np.bool_]:
    near: NDArray[np.bool_] = np.hypot(*np.ogrid[-radius : radius + 1, -radius : radius + 1]) <= radius + 0.3
    return near
