"""Segmenting a stack slice by slice: overlapping tiles, smoothly blended, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_salt.core.adapter import Adapter
from napari_salt.core.cleanup import cleaned, smoothed
from napari_salt.core.compute import fast_cpu, resolve_device, to_device, to_host
from napari_salt.core.config import SegmentConfig
from napari_salt.core.errors import InputError
from napari_salt.core.events import SliceResult
from napari_salt.core.memory import BatchSize, check_memory
from napari_salt.core.overlap import ahead
from napari_salt.core.preprocess import SliceReader, Window, resize
from napari_salt.core.runtime import Forward, forward_by
from napari_salt.core.segmenter import Segmenter, class_probabilities
from napari_salt.core.stack import StackLike

if TYPE_CHECKING:
    from distributed import Client

__all__ = [
    "SlicePredictor",
    "Tile",
    "label_dtype",
    "segment",
    "segmentation_events",
    "tiles_of",
    "wanted_slices",
]

KEPT_COLOURS = 4
"""Tiles of one colour whose logits are kept: the padding's, and few others."""


@dataclass(frozen=True)
class View:
    """A turned or mirrored way to look at a slice.

    Parameters
    ----------
    quarter_turns
        Counter-clockwise.
    mirrored
        Axes that are reversed, of (C, H, W).
    """

    quarter_turns: int = 0
    mirrored: tuple[int, ...] = ()

    def of(self, image: Tensor) -> Tensor:
        """Look at `image` (C, H, W) this way."""
        return torch.rot90(image.flip(self.mirrored), self.quarter_turns, (1, 2))

    def size_of(self, size: Sequence[int]) -> tuple[int, int]:
        """What becomes of a (height, width)."""
        height, width = size
        return (width, height) if self.quarter_turns % 2 else (height, width)

    def back(self, image: Tensor) -> Tensor:
        """Undo `of`."""
        return torch.rot90(image, -self.quarter_turns, (1, 2)).flip(self.mirrored)


VIEWS = (View(), View(mirrored=(2,)), View(mirrored=(1,)), View(quarter_turns=1))
"""In the order in which they are used."""


@dataclass(frozen=True)
class Tile:
    """A square of the scaled slice, by its first row and column."""

    top: int
    left: int


def segment(
    stack: StackLike,
    adapter: Adapter,
    config: SegmentConfig | None = None,
    *,
    pixel_size: float | None = None,
    client: Client | None = None,
) -> NDArray[np.unsignedinteger]:
    """Segment a stack into memory.

    Parameters
    ----------
    stack
        numpy, dask or zarr, shape (Z, Y, X) or (Z, Y, X, 3).
    adapter
        What `train` gave, or a loaded file.
    pixel_size
        Micrometres per pixel in the plane, if known; lets an adapter meet other pixel sizes.
    client
        Of a Dask cluster whose workers do the work (see `core.cluster`).

    Returns
    -------
    array
        Label values, shape (Z, Y, X); slices that were not asked for are 0.

    Raises
    ------
    InputError, AdapterError, BaseModelError, DeviceError
    """
    labels = np.zeros(tuple(stack.shape[:3]), label_dtype(adapter.values))
    planes: Iterable[tuple[int, NDArray[np.unsignedinteger]]]
    if client is None:
        events = segmentation_events(stack, adapter, config, pixel_size=pixel_size)
        planes = map(index_and_labels, events)
    else:
        from napari_salt.core.cluster import cluster_results

        planes = cluster_results(client, stack, adapter, config, pixel_size=pixel_size, keep=index_and_labels)
    for index, plane in planes:
        labels[index] = plane
    return labels


def index_and_labels(result: SliceResult) -> tuple[int, NDArray[np.unsignedinteger]]:
    """What `segment` keeps of a slice."""
    return result.index, result.labels


def segmentation_events(
    stack: StackLike,
    adapter: Adapter,
    config: SegmentConfig | None = None,
    *,
    pixel_size: float | None = None,
    between: Callable[[], None] | None = None,
    segmenter: Segmenter | None = None,
    window: Window | None = None,
    job_slices: int | None = None,
) -> Generator[SliceResult, None, None]:
    """Segment a stack, yielding each slice as it is done (see `segment`).

    The next slice is read in the meantime, by a thread. Memory does not depend on the number of slices.

    `between` is called before each batch of tiles, so that a caller can do something else in the
    meantime, or stop by raising. `segmenter` is the adapter's, built and merged, and `window` the stack's
    intensities, if there is one already. `job_slices` is the number of slices of the whole job, where
    these are a part of it: what computes it is chosen by that, so that all parts agree.
    """
    config = config or SegmentConfig()
    slices = wanted_slices(config, stack.shape[0])
    reader = SliceReader(stack, adapter.preprocess, pixel_size, window)
    values = np.array([0, *adapter.values], label_dtype(adapter.values))
    views = VIEWS[: config.views or (len(VIEWS) if adapter.preprocess.turns else 1)]
    with fast_cpu(), closing(ahead(reader.read, slices)) as images:
        segmenter = segmenter or adapter.build(resolve_device(config.device)).merged()
        check_memory(segmenter)
        overlap = possible_overlap(config.overlap, segmenter.input_size)
        tiles = len(views) * len(tiles_of(reader.size, segmenter.input_size, overlap))
        forward = forward_by(config.runtime, segmenter, job_slices or len(slices), tiles)
        predictor = SlicePredictor(segmenter, overlap, config.batch_size, between, forward)
        predicted: Iterator[tuple[int, NDArray[np.float32]]] = (
            (index, predictor.probabilities(image, reader.stack.shape[1:3], views)) for index, image in images
        )
        if config.smooth and not adapter.preprocess.independent:
            predicted = smoothed(predicted, config.group)
        for index, probabilities in predicted:
            classes = cleaned(probabilities.argmax(0), config.min_size, fill_holes=config.fill_holes)
            yield SliceResult(index, values[classes], probabilities, tiles)


def wanted_slices(config: SegmentConfig, count: int) -> Sequence[int]:
    """Slices to segment of a stack of `count`, in the order in which they come."""
    slices = range(count) if config.slices is None else config.slices
    for index in slices:
        if not 0 <= index < count:
            raise InputError(f"slice {index} is out of range; the stack has slices 0 to {count - 1}")
    return sorted(set(slices)) if config.smooth else slices


def label_dtype(values: Sequence[int]) -> np.dtype[np.unsignedinteger]:
    """Smallest unsigned integer type that holds all `values`."""
    return np.min_scalar_type(max(values, default=0))


def possible_overlap(overlap: int, tile: int) -> int:
    """`overlap`, or half of a `tile` that is smaller than twice of it."""
    return min(overlap, tile // 2)


def tiles_of(size: Sequence[int], tile: int, overlap: int) -> list[Tile]:
    """Tiles of side `tile` that cover a (height, width), sharing at least `overlap` pixels."""
    rows, columns = (_starts(length, tile, overlap) for length in size)
    return [Tile(top, left) for top in rows for left in columns]


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

        `image` is what `SliceReader.read` gives.
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
        """Logits of a tile without content, such as padding, computed when it is first met; else None.

        The model decides what it is, as it does for any tile: a constant may well belong to a class.
        """
        colour = cut[:, :1, :1]
        if not torch.equal(cut, colour.expand_as(cut)):
            return None
        key = tuple(colour.flatten().tolist())
        if key in self._colours:
            return self._colours[key]
        (logits,) = self._computed(iter([cut]))  # alone, whatever was met before: resumed runs agree
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


def _starts(length: int, tile: int, overlap: int) -> list[int]:
    """Evenly spread first pixels of the fewest tiles that cover `length` with `overlap`."""
    if length <= tile:
        return [0]
    count = -(-(length - overlap) // (tile - overlap))
    return [round(i * (length - tile) / (count - 1)) for i in range(count)]


def _taper(side: int, overlap: int) -> Tensor:
    """Weight (side, side) that rises linearly over `overlap` pixels from each edge."""
    steps = torch.arange(side, dtype=torch.float32) + 1
    ramp = torch.minimum(steps, steps.flip(0)).clamp_max(max(1, overlap)) / max(1, overlap)
    return ramp[:, None] * ramp[None]
