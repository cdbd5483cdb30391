"""Settings that are chosen automatically from the paint."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_salt.core.paint.annotations import (
    Annotations,
    PaintedSlice,
    orientation_matters,
    painted_diameter,
)
from napari_salt.core.paint.objects import as_one_class
from napari_salt.core.paint.preprocess import EVEN, ROBUST, Window, intensity_window
from napari_salt.core.tiles import possible_overlap, tiles_of
from napari_salt.terms.config import SegmentConfig, TrainConfig
from napari_salt.terms.errors import InputError
from napari_salt.terms.preprocess import HOUNSFIELD, Preprocess
from napari_salt.terms.stack import StackLike, check_stack

__all__ = ["REACH", "choose_pixel_scale", "choose_preprocess", "choose_reach", "robust_windows"]

REACH, CLIPPED = 0.25, 0.1
"""Reach of the intensity window, and the share of a class that must not lie beyond it."""

BODY = 50.0
"""Micrometres per pixel from which a stack shows a body, whose parts keep their orientation."""

MAX_UPSCALING = 8.0
NEARLY_WHOLE = 0.7
OBJECT = 28.0
"""Least diameter in model pixels where borders are learnt: SAM's masks have a quarter of the resolution."""
LARGE, SMALL, VISIBLE = 110.0, 4.0, 8.0
"""Diameters in model pixels: objects are shrunk above, enlarged below, and visible in overviews from it."""

LITTLE, FAR_FEWER = 0.9, 2 / 3
"""Shrinking that costs no accuracy, and the share of tiles it must leave to be worth it."""


def choose_preprocess(
    images: Sequence[StackLike],
    annotations: Annotations,
    config: TrainConfig,
    input_size: int,
    pixel_size: float | None,
) -> Preprocess:
    """Choose how slices become model input, as far as `config` leaves it open.

    Parameters
    ----------
    images
        Stacks, (Z, Y, X) or (Z, Y, X, 3); the first of several decides the pixel scale.
    annotations
        The paint of all stacks.
    config
        Its pixel scale and orientation have priority.
    input_size
        Side of the model's input in pixels.
    pixel_size
        Micrometres per pixel of the first stack, if known.

    Returns
    -------
    Preprocess
        As stored in the adapter.
    """
    first = images[0]
    painted = as_one_class(annotations.slices) if annotations.border else annotations.slices
    height, width = first.shape[1:3]
    of_a_body = pixel_size is not None and pixel_size >= BODY
    oriented = config.orientation == "fixed" or (
        config.orientation == "auto" and (of_a_body or orientation_matters(painted))
    )
    scale = config.pixel_scale or choose_pixel_scale(
        [each for each in painted if each.stack == 0],
        (height, width),
        input_size,
        oriented=oriented,
    )
    if annotations.border and config.pixel_scale is None:
        scale = max(scale, min(OBJECT / painted_diameter(painted), MAX_UPSCALING))
    if config.window != "auto":
        if check_stack(first) != 1:
            raise InputError(f"the CT window {config.window} is for grey images, and these are in colour")
        fixed = HOUNSFIELD[config.window]
        return Preprocess(
            1, scale, pixel_size, config.independent, turns=not oriented, plane=config.plane, window=fixed
        )
    windows = robust_windows(images, independent=config.independent)
    return Preprocess(
        check_stack(first),
        scale,
        pixel_size,
        config.independent,
        turns=not oriented,
        reach=choose_reach(images, painted, windows),
        plane=config.plane,
        fade=any(window is not None and window.fade != EVEN for window in windows),
    )


def robust_windows(images: Sequence[StackLike], *, independent: bool = False) -> list[Window | None]:
    """Intensities of each stack that few voxels hardly move; None for each where slices are unrelated."""
    return [None if independent else intensity_window(image, ROBUST, REACH, fade=True) for image in images]


def choose_reach(
    images: Sequence[StackLike], slices: Sequence[PaintedSlice], windows: Sequence[Window | None]
) -> float | None:
    """How far the intensity window goes beyond the 1st and 99th percentile (see `Preprocess`).

    None where that would clip a tenth of what is painted as some class: in a sparse stack the objects
    may be the brightest half percent.

    Parameters
    ----------
    images
        Stacks, (Z, Y, X) or (Z, Y, X, 3).
    slices
        The paint of all stacks.
    windows
        As `robust_windows` gives them; where it is None, each slice has one of its own.

    Returns
    -------
    float or None
        A share of the range between these percentiles.
    """
    clipped: dict[int, list[NDArray[np.bool_]]] = {}
    for painted in slices:
        plane = np.asarray(images[painted.stack][painted.index])
        window = windows[painted.stack]
        if window is None:
            window = intensity_window(plane[None], ROBUST, REACH, what=f"image {painted.index}")
        low, high = np.array(window.low), np.array(window.high)
        margin = REACH * (high - low)
        pixels = plane.reshape(*plane.shape[:2], -1)
        outside = (pixels < low - margin) | (pixels > high + margin)
        for value in np.unique(painted.target[painted.target > 0]).tolist():
            clipped.setdefault(value, []).append(outside[painted.target == value])
    shares = [np.concatenate(parts).mean(0).max() for parts in clipped.values()]
    return REACH if max(shares, default=0) < CLIPPED else None


def choose_pixel_scale(
    slices: Sequence[PaintedSlice], shape: tuple[int, int], input_size: int, *, oriented: bool = False
) -> float:
    """Pixels that the model should see per image pixel, from the size of what is painted.

    Small images fill the input. Where the classes keep their place (`oriented`: anatomy), or nearly all of
    the image fits, an overview is worth more than detail, as long as the painted objects stay visible.
    Otherwise objects thicker than 110 model pixels are shrunk to that, and those thinner than 4 enlarged,
    at most twofold. The scale is reduced by up to a tenth where that takes far fewer tiles (512 pixels:
    two a side instead of three).

    Parameters
    ----------
    slices
        The paint.
    shape
        (height, width) of the slices in pixels.
    input_size
        Side of the model's input in pixels.
    oriented
        Whether the classes keep their place from slice to slice.
    """
    fill = input_size / max(shape)
    if fill >= 1:
        return min(fill, MAX_UPSCALING)
    diameter = painted_diameter(slices)
    overview = fill > NEARLY_WHOLE or oriented
    if overview and diameter * fill >= VISIBLE:
        return fill
    suiting = max(fill, LARGE / diameter) if diameter > LARGE else min(2.0, max(1.0, SMALL / diameter))
    return _fitted(suiting, shape, input_size)


def _fitted(scale: float, shape: tuple[int, int], input_size: int) -> float:
    """`scale`, or a little less if a slice takes far fewer tiles then."""
    overlap = possible_overlap(SegmentConfig.overlap, input_size)
    step = input_size - overlap

    def tiles(by: float) -> int:
        return len(tiles_of([round(length * by) for length in shape], input_size, overlap))

    # Scales at which whole tiles cover an axis exactly.
    exact = [(input_size + n * step) / length for length in shape for n in range(int(length * scale) // step)]
    near = [by for by in exact if LITTLE * scale <= by < scale]
    fewest = min(near, key=lambda by: (tiles(by), -by), default=scale)
    return fewest if tiles(fewest) <= FAR_FEWER * tiles(scale) else scale
