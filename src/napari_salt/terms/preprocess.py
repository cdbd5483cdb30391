"""How slices become model input: the rule that an adapter carries. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from napari_salt.terms.errors import InputError
from napari_salt.terms.planes import Plane

__all__ = ["HOUNSFIELD", "Preprocess"]

MAX_SIZE_RATIO = 16
"""Largest ratio of the pixel sizes of training and use; beyond, a wrong unit is more likely."""
HOUNSFIELD: Mapping[str, tuple[float, float]] = {
    "soft-tissue": (-160.0, 240.0),
    "lung": (-1350.0, 150.0),
    "bone": (-450.0, 1050.0),
    "brain": (0.0, 80.0),
}
"""Windows that radiologists look at CT through: Hounsfield units that become black and white."""
MAX_INTENSITY = 1e6


@dataclass(frozen=True)
class Preprocess:
    """How slices become model input. Stored in the adapter.

    Parameters
    ----------
    channels
        1 for grey, 3 for colour.
    pixel_scale
        Pixels that the model sees per image pixel.
    pixel_size
        Side of an image pixel of the training stack in micrometres, if known.
    independent
        Whether slices are unrelated images, each with its own intensity window.
    percentiles
        Percentiles of the intensities that become 0 and 1.
    turns
        Whether quarter turns and mirror images are as likely as the original orientation.
    reach
        How far the window goes beyond the 1st and 99th percentile at most, as a share of the range between
        them. None (older adapters, and classes that are the brightest or darkest percent): no limit.
    plane
        Which planes of the training stack were painted.
    fade
        Whether the window follows a stack that fades with depth.
    window
        Hounsfield units that become 0 and 1, the same in all stacks. None: by the percentiles.
    """

    channels: int = 1
    pixel_scale: float = 1.0
    pixel_size: float | None = None
    independent: bool = False
    percentiles: tuple[float, float] = (0.1, 99.9)
    turns: bool = False
    reach: float | None = None
    plane: Plane = "z"
    fade: bool = False
    window: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        low, high = self.percentiles
        sound = {
            "channels": self.channels in (1, 3),
            "pixel_scale": 1e-3 <= self.pixel_scale <= 1e3,
            "pixel_size": self.pixel_size is None or 1e-6 <= self.pixel_size <= 1e9,
            "percentiles": 0 <= low < high <= 100,
            "reach": self.reach is None or 0 <= self.reach <= 1e3,
            "plane": self.plane in get_args(Plane),
            "window": self.window is None
            or (-MAX_INTENSITY <= self.window[0] < self.window[1] <= MAX_INTENSITY and self.channels == 1),
        }
        for name, is_sound in sound.items():
            if not is_sound:
                raise InputError(f"{name} is {getattr(self, name)!r}, which no stack can have")

    def scale_for(self, pixel_size: float | None) -> float:
        """Pixel scale for a stack with pixels of `pixel_size` micrometres.

        An object keeps its size in the model's input when both pixel sizes are known.

        Raises
        ------
        InputError
            If the pixel sizes differ by more than a factor of `MAX_SIZE_RATIO`.
        """
        if pixel_size is None or self.pixel_size is None:
            return self.pixel_scale
        ratio = pixel_size / self.pixel_size
        if not 1 / MAX_SIZE_RATIO <= ratio <= MAX_SIZE_RATIO:
            raise InputError(
                f"pixels of {pixel_size:g} micrometres are {ratio:.3g} times those the adapter was trained "
                f"on ({self.pixel_size:g}); check the pixel size and unit in the file, or give the true one "
                "(--pixel-size)"
            )
        return self.pixel_scale * ratio
