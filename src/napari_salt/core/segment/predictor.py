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
        self, image: Tensor, size: Sequence[int], views: Sequence[View] = VIEWS[:1]
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
        """
        logits = resize(self.mean_logits(image, views)[None], (size[0], size[1]))
        found: NDArray[np.float32] = class_probabilities(logits)[0].numpy()
        return found

    def mean_logits(self, image: Tensor, views: Sequence[View]) -> Tensor:
        """Mean of `logits` over several views of the slice."""
        looks = (view.of(image) for view in views)
        logits = self._logits_of(self._cut(look, t) for look in looks for t in self.tiles(look.shape[1:]))
        total: Tensor | int = 0
        for view in views:
            size = view.size_of(image.shape[1:])
            total = total + view.back(self._blended(size, self.tiles(size), logits))
        return torch.as_tensor(total) / len(views)

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
        side = self._segmenter.input_size
        height, width = image.shape[-2:]
        tiles = self.tiles((height, width))
        if wanted is not None:
            tiles = [t for t in tiles if wanted[t.top : t.top + side, t.left : t.left + side].any()]
        return self._blended((height, width), tiles, self._logits_of(self._cut(image, t) for t in tiles))

    def _blended(self, size: Sequence[int], tiles: Sequence[Tile], found: Iterator[Tensor]) -> Tensor:
        """Mean of the logits that `found` gives for `tiles` of a (height, width), each by its weight."""
        side = self._segmenter.input_size
        height, width = size
        total = torch.zeros(self._segmenter.n_classes, height, width)
        weight = torch.zeros(height, width)
        for tile, logits in zip(tiles, found, strict=False):
            rows = slice(tile.top, min(tile.top + side, height))
            columns = slice(tile.left, min(tile.left + side, width))
            part = (slice(0, rows.stop - rows.start), slice(0, columns.stop - columns.start))
            total[:, rows, columns] += logits[:, *part] * self._taper[part]
            weight[rows, columns] += self._taper[part]
        return total / weight.clamp_min(torch.finfo(weight.dtype).tiny)

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
        side = self._segmenter.input_size
        part = image[:, tile.top : tile.top + side, tile.left : tile.left + side]
        if part.shape[-2:] == (side, side):
            return part
        return torch.nn.functional.pad(part, (0, side - part.shape[-1], 0, side - part.shape[-2]))
