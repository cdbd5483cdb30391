"""Class probabilities of one slice: its tiles computed in batches, and blended."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_salt.core.adapt.forward import Forward
from napari_salt.core.adapt.segmenter import Segmenter, class_probabilities
from napari_salt.core.devices import to_device, to_host
from napari_salt.core.paint.preprocess import resize
from napari_salt.core.segment.memory import BatchSize
from napari_salt.core.segment.runtime import forward_by
from napari_salt.core.tiles import VIEWS, Tile, View, _taper, possible_overlap, tiles_of

__all__ = ["SlicePredictor"]


KEPT_COLOURS = 4
"""Most uniform tiles (of one colour) whose logits are kept: that of the padding, and few others."""
SURE, UNSURE_SHARE = 0.8, 0.005
"""A pixel is unsure if no class has this probability; tiles with a larger share of them get another look."""


class SlicePredictor:
    """Logits of whole slices from a segmenter that sees square tiles.

    Parameters
    ----------
    segmenter
        In eval mode; merged for speed, or carrying its parametrizations (as in training). It must not
        change: the logits of tiles without content are remembered.
    overlap, batch_size
        See `SegmentConfig`.
    between
        Called before each batch of tiles.
    forward
        What computes the segmenter; torch, if nothing else is given.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        overlap: int,
        batch_size: int | None = None,
        between: Callable[[], None] | None = None,
        forward: Forward | None = None,
    ) -> None:
        self._segmenter = segmenter
        self._device = segmenter.device
        self._overlap = possible_overlap(overlap, segmenter.input_size)
        self._taper = _taper(segmenter.input_size, self._overlap)
        self._forward = forward or forward_by("torch", segmenter)
        self._batch = BatchSize(batch_size or self._forward.at_once, self._device)
        self._between = between
        self._colours: dict[tuple[float, ...], Tensor] = {}

    def tiles(self, size: Sequence[int]) -> list[Tile]:
        """Tiles that a slice of (height, width) takes."""
        return tiles_of(size, self._segmenter.input_size, self._overlap)

    def probabilities(
        self, image: Tensor, size: Sequence[int], views: Sequence[View] = VIEWS[:1], *, fast: bool = False
    ) -> NDArray[np.float32]:
        """Probabilities of background and classes at `size` (Y, X), float32, shape (K + 1, Y, X).

        Parameters
        ----------
        image
            As `SliceReader.read` returns it: float32 from 0 to 1, shape (3, H, W).
        size
            (height, width) of the result in pixels.
        views
            Views whose logits are averaged.
        fast
            Only tiles in which the first view is unsure are looked at again.
        """
        found = self.looked_again(image, views) if fast else self.mean_logits(image, views)
        shown: NDArray[np.float32] = class_probabilities(resize(found[None], (size[0], size[1])))[0].numpy()
        return shown

    def mean_logits(self, image: Tensor, views: Sequence[View]) -> Tensor:
        """Mean of `logits` over several views of the slice."""
        looks = (view.of(image) for view in views)
        logits = self._logits_of(self._cut(look, t) for look in looks for t in self.tiles(look.shape[1:]))
        total: Tensor | int = 0
        for view in views:
            size = view.size_of(image.shape[1:])
            total = total + view.back(self._blended(size, self.tiles(size), logits))
        return torch.as_tensor(total) / len(views)

    def looked_again(self, image: Tensor, views: Sequence[View]) -> Tensor:
        """`logits` of the first view, and the mean over all `views` in tiles in which the first is unsure.

        A tile's other views count less towards its edges, so that there is no seam.
        """
        total = self.logits(image)
        unsure = class_probabilities(total[None])[0].amax(0) < SURE
        counted = torch.ones_like(total[0])
        for view in views[1:]:
            seen, where = view.of(image), view.of(unsure[None])[0]
            tiles = [t for t in self.tiles(where.shape) if self._part(where, t).float().mean() > UNSURE_SHARE]
            logits = self._logits_of(self._cut(seen, tile) for tile in tiles)
            found = view.back(self._blended(where.shape, tiles, logits))
            weight = view.back(self._weight(where.shape, tiles)[None])[0].clamp_max(1)
            total, counted = total + weight * found, counted + weight
        return total / counted

    def logits(self, image: Tensor, wanted: Tensor | None = None) -> Tensor:
        """Blended logits of one slice.

        Parameters
        ----------
        image
            float32 from 0 to 1, shape (3, H, W), at the model's scale.
        wanted
            Mask (H, W); tiles that miss it are left out, and their logits are 0.

        Returns
        -------
        Tensor
            float32 on the CPU, shape (K, H, W).
        """
        tiles = self.tiles(image.shape[-2:])
        if wanted is not None:
            tiles = [t for t in tiles if self._part(wanted, t).any()]
        return self._blended(image.shape[-2:], tiles, self._logits_of(self._cut(image, t) for t in tiles))

    def _blended(self, size: Sequence[int], tiles: Sequence[Tile], found: Iterator[Tensor]) -> Tensor:
        """Mean of the logits that `found` gives for `tiles` of a (height, width), each by its weight."""
        total = torch.zeros(self._segmenter.n_classes, *size)
        for tile, logits in zip(tiles, found, strict=False):
            part = self._part(total, tile)
            height, width = part.shape[1:]
            part += logits[:, :height, :width] * self._taper[:height, :width]
        return total / self._weight(size, tiles).clamp_min(torch.finfo(total.dtype).tiny)

    def _weight(self, size: Sequence[int], tiles: Sequence[Tile]) -> Tensor:
        """Sum of the weights of `tiles` in each pixel of a (height, width)."""
        weight = torch.zeros(*size)
        for tile in tiles:
            part = self._part(weight, tile)
            part += self._taper[: part.shape[0], : part.shape[1]]
        return weight

    def _part(self, image: Tensor, tile: Tile) -> Tensor:
        """The tile's part of an image (..., H, W), smaller than a tile at the image's edges."""
        side = self._segmenter.input_size
        return image[..., tile.top : tile.top + side, tile.left : tile.left + side]

    def _logits_of(self, cuts: Iterable[Tensor]) -> Iterator[Tensor]:
        """float32 CPU logits (K, S, S) of each square cut; cuts are taken as they are needed."""
        known: deque[Tensor | None] = deque()

        def unknown() -> Iterator[Tensor]:
            for cut in cuts:
                known.append(self._of_one_colour(cut))
                if known[-1] is None:
                    yield cut

        for logits in self._computed(unknown()):
            while (before := known.popleft()) is not None:
                yield before
            yield logits
        for after in known:
            yield torch.as_tensor(after)

    def _of_one_colour(self, cut: Tensor) -> Tensor | None:
        """Logits of a uniform tile, such as padding, computed once and kept; None for other tiles.

        They come from the model, as for any tile: a constant colour may belong to a class.
        """
        colour = cut[:, :1, :1]
        if not torch.equal(cut, colour.expand_as(cut)):
            return None
        key = tuple(colour.flatten().tolist())
        if key in self._colours:
            return self._colours[key]
        (logits,) = self._computed(iter([cut]))  # in a batch of its own, so that resumed runs agree
        if len(self._colours) < KEPT_COLOURS:
            self._colours[key] = logits
        return logits

    @torch.no_grad()
    def _computed(self, cuts: Iterator[Tensor]) -> Iterator[Tensor]:
        """float32 CPU logits (K, S, S) of square cuts; a GPU computes the next batch meanwhile."""
        under_way: Callable[[], Iterable[Tensor]] = tuple
        waiting: list[Tensor] = []
        while True:
            waiting += islice(cuts, max(0, self._batch.count - len(waiting)))
            batch = waiting[: self._batch.count]
            if not batch:
                break
            if self._between is not None:
                self._between()
            try:
                with self._batch.measured():
                    logits = to_host(self._forward(to_device(torch.stack(batch), self._device)))
            except (RuntimeError, MemoryError) as error:
                self._batch.halve(error)
                continue
            del waiting[: len(batch)]
            yield from under_way()
            under_way = logits
        yield from under_way()

    def _cut(self, image: Tensor, tile: Tile) -> Tensor:
        side, part = self._segmenter.input_size, self._part(image, tile)
        if part.shape[-2:] == (side, side):
            return part
        return torch.nn.functional.pad(part, (0, side - part.shape[-1], 0, side - part.shape[-2]))
