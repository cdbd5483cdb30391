"""Settings that nobody should have to know: chosen from what is painted."""

from __future__ import annotations

from collections.abc import Sequence

from napari_salt.core.annotations import (
    Annotations,
    PaintedSlice,
    orientation_matters,
    painted_diameter,
)
from napari_salt.core.config import Preprocess, TrainConfig
from napari_salt.core.stack import StackLike, check_stack

__all__ = ["choose_pixel_scale", "choose_preprocess"]

MAX_UPSCALING = 8.0
NEARLY_WHOLE = 0.7
LARGE, SMALL, VISIBLE = 110.0, 4.0, 8.0
"""Diameters in model pixels: larger objects are shrunk, smaller ones enlarged; the least in overviews."""


def choose_preprocess(
    image: StackLike,
    annotations: Annotations,
    config: TrainConfig,
    input_size: int,
    pixel_size: float | None,
) -> Preprocess:
    """How the slices of `image` become inputs of `input_size` pixels, where `config` does not say it."""
    height, width = image.shape[1:3]
    scale = config.pixel_scale or choose_pixel_scale(annotations.slices, (height, width), input_size)
    return Preprocess(
        check_stack(image),
        scale,
        pixel_size,
        config.independent,
        turns=not orientation_matters(annotations.slices),
    )


def choose_pixel_scale(slices: Sequence[PaintedSlice], shape: tuple[int, int], input_size: int) -> float:
    """Pixels that the model should see per image pixel, from the size of what is painted.

    Small images fill the input. Where the classes keep their place (anatomy), or nearly all of the
    image fits, an overview is worth more than detail, as long as the painted objects stay visible.
    Otherwise objects far larger than a third of the input are shrunk, and hair-thin ones enlarged.
    """
    fill = input_size / max(shape)
    if fill >= 1:
        return min(fill, MAX_UPSCALING)
    diameter = painted_diameter(slices)
    overview = fill > NEARLY_WHOLE or orientation_matters(slices)
    if overview and diameter * fill >= VISIBLE:
        return fill
    if diameter > LARGE:
        return max(fill, LARGE / diameter)
    return min(2.0, max(1.0, SMALL / diameter))
