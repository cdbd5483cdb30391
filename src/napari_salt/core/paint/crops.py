"""Training crops: where they lie, and how they are varied."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from napari_salt.core.paint.annotations import IGNORE, PaintedSlice
from napari_salt.core.paint.preprocess import SliceReader

__all__ = ["Augmentation", "Batch", "CropSampler"]


@dataclass(frozen=True)
class Augmentation:
    """How much crops vary. Each value is the half-width of a uniform draw.

    Parameters
    ----------
    turns
        Whether crops are also turned by quarters and mirrored.
    degrees, zoom
        Free rotation, and change of size (0.15: from 1/1.15 to 1.15).
    shift
        Displacement as a share of the crop, for images that fit into one crop.
    contrast, brightness
        Factor about the middle grey, and offset, of intensities from 0 to 1.
    gamma
        Exponent of the intensities (0.25: from 1/1.25 to 1.25).
    """

    turns: bool
    degrees: float = 15.0
    zoom: float = 0.2
    shift: float = 0.08
    contrast: float = 0.2
    brightness: float = 0.1
    gamma: float = 0.25


@dataclass(frozen=True)
class Batch:
    """Crops to learn from.

    Parameters
    ----------
    images
        float32 from 0 to 1, shape (B, 3, S, S).
    target
        int64, shape (B, S, S): 0 background, 1..K classes, `IGNORE` unknown.
    """

    images: Tensor
    target: Tensor


@dataclass(frozen=True)
class _Sheet:
    """One painted slice at the model's scale, and where its classes are."""

    image: Tensor
    target: Tensor
    places: tuple[NDArray[np.int64], ...]


class CropSampler:
    """Draws crops that follow the paint.

    Half of the crops are drawn around a pixel of a class (or background) drawn evenly among those on the
    slice, half around any pixel whose class is known; images that fit into a crop are taken whole.

    Parameters
    ----------
    readers
        The stacks; each painted slice is read once.
    slices
        Paint to draw from.
    crop_size
        Side S of the crops, in pixels of the model's input.
    augmentation
        How crops vary.
    seed
        The same seed gives the same sequence of crops.
    """

    def __init__(
        self,
        readers: Sequence[SliceReader],
        slices: Sequence[PaintedSlice],
        crop_size: int,
        augmentation: Augmentation,
        seed: int,
    ) -> None:
        self._sheets = [_sheet(readers[painted.stack], painted) for painted in slices]
        self._size = crop_size
        self._augmentation = augmentation
        self._random = np.random.default_rng(seed)
        self._queue: list[int] = []

    def draw(self, count: int) -> Batch:
        """Draw `count` crops, from one slice after the other in random order."""
        pairs = [self._crop(self._sheets[self._next()]) for _ in range(count)]
        images = torch.cat([image for image, _ in pairs]).expand(-1, 3, -1, -1)
        return Batch(images, torch.cat([target for _, target in pairs]))

    def _next(self) -> int:
        if not self._queue:
            self._queue = self._random.permutation(len(self._sheets)).tolist()
        return self._queue.pop()

    def _crop(self, sheet: _Sheet) -> tuple[Tensor, Tensor]:
        grid = self._grid(sheet)
        image = F.grid_sample(sheet.image[None], grid, mode="bilinear", align_corners=False)
        # Zero padding of target + 1 makes what lies outside the image IGNORE.
        labels = (sheet.target[None, None] + 1).float()
        target = F.grid_sample(labels, grid, mode="nearest", align_corners=False)
        inside = F.grid_sample(torch.ones_like(labels), grid, align_corners=False)
        return self._tone(image) * inside, target[:, 0].long() - 1

    def _grid(self, sheet: _Sheet) -> Tensor:
        """Sampling grid (1, S, S, 2) of a turned, mirrored, zoomed square, as grid_sample wants it."""
        draw, vary = self._random.uniform, self._augmentation
        angle = math.radians(draw(-vary.degrees, vary.degrees))
        mirror = 1.0
        if vary.turns:
            angle += math.pi / 2 * self._random.integers(4)
            mirror = float(self._random.choice([-1.0, 1.0]))
        zoom = math.exp(draw(-1, 1) * math.log1p(vary.zoom))
        centre_y, centre_x = self._centre(sheet)
        height, width = sheet.target.shape
        cos, sin, half = math.cos(angle) * zoom, math.sin(angle) * zoom, self._size
        theta = torch.tensor(
            [
                [mirror * cos * half / width, -sin * half / width, 2 * centre_x / width - 1],
                [mirror * sin * half / height, cos * half / height, 2 * centre_y / height - 1],
            ],
            dtype=torch.float32,
        )
        return F.affine_grid(theta[None], [1, 1, self._size, self._size], align_corners=False)

    def _centre(self, sheet: _Sheet) -> tuple[float, float]:
        """Centre (y, x) of the next crop, so that the crop lies inside the image if that is large enough."""
        whole = self._random.random() < 0.5
        places = sheet.places[0 if whole else self._random.integers(1, len(sheet.places))]
        width = sheet.target.shape[1]
        spot = divmod(int(self._random.choice(places)), width)
        centre = []
        for pixel, length in zip(spot, sheet.target.shape, strict=True):
            wander = self._random.uniform(-1, 1)
            if length <= self._size:
                centre.append(self._size / 2 + wander * self._augmentation.shift * self._size)
            else:
                near = pixel + wander * self._size / 3
                centre.append(min(max(near, self._size / 2), length - self._size / 2))
        return centre[0], centre[1]

    def _tone(self, image: Tensor) -> Tensor:
        draw, vary = self._random.uniform, self._augmentation
        image = image.clamp(0, 1) ** math.exp(draw(-1, 1) * math.log1p(vary.gamma))
        contrast = 1 + draw(-vary.contrast, vary.contrast)
        offset = draw(-vary.brightness, vary.brightness)
        return ((image - 0.5) * contrast + 0.5 + offset).clamp(0, 1)


def _sheet(reader: SliceReader, painted: PaintedSlice) -> _Sheet:
    image = reader.read(painted.index)
    if reader.preprocess.channels == 1:
        image = image[:1]
    labels = torch.from_numpy(painted.target.astype(np.float32))[None, None]
    target = F.interpolate(labels, reader.size, mode="nearest-exact")[0, 0].to(torch.int16)
    for value in np.setdiff1d(painted.target, [IGNORE, *np.unique(target.numpy())]):
        # A class too fine for this scale gets the nearest pixels.
        places = np.argwhere(painted.target == value) * reader.size // painted.target.shape
        target[places[:, 0], places[:, 1]] = int(value)
    flat = target.numpy().ravel()
    known = np.flatnonzero(flat != IGNORE)
    classes = [np.flatnonzero(flat == value) for value in np.unique(flat[known])]
    return _Sheet(image, target, (known, *classes))
