"""From a slice of the stack to the base model's input; the same in training and prediction."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import theilslopes
from torch import Tensor
from torch.nn import functional as F

from napari_salt.terms.errors import InputError
from napari_salt.terms.preprocess import Preprocess
from napari_salt.terms.stack import StackLike, check_pixel_size, check_stack

__all__ = [
    "SliceReader",
    "Window",
    "channels_first",
    "hounsfield_window",
    "intensity_window",
    "resize",
    "window_slices",
]

logger = logging.getLogger(__name__)

WINDOW_SLICES = 16
MAX_ENLARGED_PIXELS = 500_000_000
"""Most pixels of an enlarged slice, so that an adapter's file cannot exhaust the memory."""
WINDOW_PIXELS = 1_000_000
ROBUST = (1, 99)
"""Percentiles that half a percent of the voxels hardly moves."""


EVEN = (1.0, 1.0)
"""Of a stack that does not fade."""
STEADY, FADED = 0.8, 0.75
"""A stack fades if a line explains so much of its brightness's variance, and falls to this share."""


@dataclass(frozen=True)
class Window:
    """Intensities that become 0 and 1, one pair per channel.

    Parameters
    ----------
    low, high
        Of the whole stack.
    fade
        By how much the distance from `low` to `high` is larger at the first and at the last slice; linear in
        between (see `fading`).
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    fade: tuple[float, float] = EVEN

    def scaled(self, plane: NDArray[Any], place: float) -> NDArray[np.float32]:
        """Values (Y, X) or (Y, X, C) as shares of the window, shape (C, Y, X).

        Parameters
        ----------
        plane
            Values of a slice.
        place
            Where in the stack it lies, 0 to 1.
        """
        first, last = self.fade
        low = np.asarray(self.low)[:, None, None]
        reach = (np.asarray(self.high)[:, None, None] - low) * (first + place * (last - first))
        shares: NDArray[np.float32] = ((channels_first(plane) - low) / reach).astype(np.float32)
        return shares


@dataclass
class SliceReader:
    """Reads slices of one stack as the model sees them.

    Parameters
    ----------
    stack
        Shape (Z, Y, X) or (Z, Y, X, 3).
    preprocess
        The rule; its window is measured on this stack.
    pixel_size
        Micrometres per pixel of this stack, if known.
    window
        The stack's intensity window, if it was measured already.

    Raises
    ------
    InputError
        If the stack does not have the rule's channels, holds nothing but one value, or would be enlarged
        beyond `MAX_ENLARGED_PIXELS`; or if the pixel size is no positive number, or too far from that of
        the training stack.
    """

    stack: StackLike
    preprocess: Preprocess
    pixel_size: float | None = None
    window: Window | None = None

    def __post_init__(self) -> None:
        channels = check_stack(self.stack)
        if channels != self.preprocess.channels:
            kinds = {1: "grey", 3: "colour (RGB)"}
            raise InputError(
                f"the image is {kinds[channels]}, the adapter was trained on "
                f"{kinds[self.preprocess.channels]} images; give an image of that kind"
            )
        check_pixel_size(self.pixel_size)
        self.scale = self.preprocess.scale_for(self.pixel_size)
        height, width = self.stack.shape[1:3]
        self.size = (max(1, round(height * self.scale)), max(1, round(width * self.scale)))
        if self.scale > 1 and self.size[0] * self.size[1] > MAX_ENLARGED_PIXELS:
            raise InputError(
                f"slices of {height} x {width} pixels would be enlarged to {self.size[0]} x {self.size[1]} "
                f"(pixel scale {self.scale:.3g}); check the pixel size, or use another adapter or pixel scale"
            )
        self._warned = False
        rule = self.preprocess
        if self.window is None and rule.window is not None:
            self.window = hounsfield_window(self.stack, rule.window)
        elif self.window is None and not rule.independent:
            self.window = intensity_window(self.stack, rule.percentiles, rule.reach, fade=rule.fade)

    def __len__(self) -> int:
        return int(self.stack.shape[0])

    def raw(self, index: int) -> NDArray[np.float32]:
        """Slice `index`, windowed to 0..1 at its own pixels, float32, shape (C, Y, X)."""
        plane = _plane(self.stack, index)
        window = self.window or intensity_window(
            plane[None], self.preprocess.percentiles, self.preprocess.reach, what=f"image {index}"
        )
        values = np.clip(window.scaled(plane, index / max(1, len(self) - 1)), 0, 1)
        missing = ~np.isfinite(channels_first(plane))
        if missing.any():
            values[missing] = 0
            self._warn_missing(index, int(missing.sum()))
        return values

    def read(self, index: int) -> Tensor:
        """Slice `index` at the model's scale, float32 from 0 to 1, shape (3, *size)."""
        image = torch.from_numpy(self.raw(index))[None]
        image = resize(image, self.size)
        return image.expand(1, 3, -1, -1)[0] if image.shape[1] == 1 else image[0]

    def _warn_missing(self, index: int, count: int) -> None:
        if not self._warned:
            self._warned = True
            logger.warning(
                "slice %d has %d pixels that are not finite; they count as the darkest",
                index,
                count,
            )


def hounsfield_window(stack: StackLike, window: tuple[float, float]) -> Window:
    """The window of a CT, whatever values the stack has.

    Parameters
    ----------
    stack
        Shape (Z, Y, X).
    window
        Hounsfield units that become 0 and 1.

    Raises
    ------
    InputError
        If no value is below 0 in at most 16 evenly spaced slices, as air and fat are: then the values are no
        Hounsfield units.
    """
    sample = np.stack([_thinned(_plane(stack, index)) for index in window_slices(stack.shape[0])])
    finite = sample[np.isfinite(sample)]
    if not (finite < 0).any():
        found = f"from {finite.min():g} to {finite.max():g}" if finite.size else "not finite"
        raise InputError(
            f"the CT window from {window[0]:g} to {window[1]:g} is in Hounsfield units, where air is at "
            f"-1000, but the image's values are {found}: open the file with its rescaling (slope and "
            "intercept), or train without a CT window"
        )
    return Window(window[:1], window[1:])


def intensity_window(
    stack: StackLike,
    percentiles: tuple[float, float],
    reach: float | None = None,
    *,
    fade: bool = False,
    what: str = "the image",
) -> Window:
    """Measure the intensities that become 0 and 1, per channel, on at most 16 evenly spaced slices.

    These are the percentiles, but at most `reach` beyond the 1st and 99th, so that half a percent of very
    bright voxels cannot darken the others.

    Where the percentiles coincide (a nearly empty image) the extremes take their place. A colour
    channel without finite values in these slices has the window from 0 to 1: it stays dark.

    Parameters
    ----------
    stack
        Shape (Z, Y, X) or (Z, Y, X, 3).
    percentiles
        The lower and the upper one, 0 to 100.
    reach
        Share of the range between the 1st and 99th percentile; None: no limit.
    fade
        Whether the window follows a stack that fades with depth (see `fading`).
    what
        Name of the stack in messages.

    Raises
    ------
    InputError
        If there is no finite value, or only one.
    """
    sample = np.stack([_thinned(_plane(stack, index)) for index in window_slices(stack.shape[0])])
    channels = [sample] if sample.ndim == 3 else [sample[..., c] for c in range(sample.shape[-1])]
    pairs = [_range(channel, percentiles, reach) for channel in channels]
    if not any(high > low for low, high in pairs):
        found = "no finite value" if np.isnan(pairs).all() else f"only the value {np.nanmin(pairs):g}"
        raise InputError(f"{what} holds {found}; there is nothing to learn from or to segment")
    pairs = np.nan_to_num(pairs).tolist()
    return Window(
        tuple(low for low, _ in pairs),
        tuple(high if high > low else low + 1 for low, high in pairs),
        fading(sample) if fade else EVEN,
    )


def fading(sample: NDArray[Any]) -> tuple[float, float]:
    """How a window follows a stack that fades steadily with depth, as light is absorbed and scattered.

    The 99th percentile above the 10th is fitted by a line over the slices (Theil-Sen). The window follows it
    by its square root: half of the way, because some of a trend may be what the stack shows.

    Parameters
    ----------
    sample
        Evenly spaced slices of the stack, shape (n, Y, X) or (n, Y, X, C).

    Returns
    -------
    tuple of float
        See `Window`; (1, 1) unless the fading is steady and strong (see `STEADY`, `FADED`).
    """
    values = sample.reshape(len(sample), -1).astype(np.float64)
    if len(sample) < WINDOW_SLICES or not np.isfinite(values).all():
        return EVEN
    dark, bright = np.percentile(values, (10, 99), axis=1)
    extent, place = bright - dark, np.linspace(0, 1, len(sample))
    slope, start, _, _ = theilslopes(extent, place)
    left = ((extent - start - slope * place) ** 2).sum() / max(((extent - extent.mean()) ** 2).sum(), 1e-12)
    ends = np.array([start, start + slope])
    if ends.min() <= 0 or 1 - left < STEADY or ends.min() > FADED * ends.max():
        return EVEN
    first, last = np.sqrt(ends / ends.mean()).tolist()
    return first, last


def window_slices(count: int) -> list[int]:
    """Slices that a window is measured on: at most 16 of `count`, evenly spaced."""
    picks: list[int] = np.linspace(0, count - 1, min(count, WINDOW_SLICES)).round().astype(int).tolist()
    return picks


def channels_first(plane: NDArray[Any]) -> NDArray[Any]:
    """A slice (Y, X) or (Y, X, C) as (C, Y, X), a view."""
    return plane[None] if plane.ndim == 2 else np.moveaxis(plane, -1, 0)


def resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resample (B, C, H, W) to `size`, low-passed when it shrinks."""
    if tuple(image.shape[-2:]) == tuple(size):
        return image
    return F.interpolate(image, size, mode="bilinear", align_corners=False, antialias=True)


def _plane(stack: StackLike, index: int) -> NDArray[Any]:
    """One slice as a numpy array of numbers in native byte order."""
    plane = np.asarray(stack[index])
    kind = np.uint8 if plane.dtype.kind == "b" else plane.dtype.newbyteorder("=")
    return plane.astype(kind, copy=False)


def _thinned(plane: NDArray[Any]) -> NDArray[Any]:
    """Every n-th pixel, so that a percentile costs the same for any slice size."""
    step = max(1, int(np.sqrt(plane.shape[0] * plane.shape[1] / WINDOW_PIXELS)))
    return plane[::step, ::step]


def _range(
    values: NDArray[Any], percentiles: tuple[float, float], reach: float | None
) -> tuple[float, float]:
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    if finite.size == 0:
        return (float("nan"), float("nan"))
    low, high, dark, bright = np.percentile(finite, (*percentiles, *ROBUST))
    if reach is not None and dark < bright:
        margin = reach * (bright - dark)
        low, high = max(low, dark - margin), min(high, bright + margin)
    if low == high:
        low, high = finite.min(), finite.max()
    return float(low), float(high)
