"""How many tiles or crops fit into memory at once."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import torch

from napari_salt.core.adapt.segmenter import Segmenter
from napari_salt.core.devices import compute_dtype, is_out_of_memory
from napari_salt.terms.errors import DeviceError

__all__ = [
    "BatchSize",
    "check_memory",
    "crops_that_fit",
    "halved",
    "least_memory",
    "memory_of_crop",
    "tiles_that_fit",
]

logger = logging.getLogger(__name__)

MOST_TILES = 16
"""Upper limit of a batch: beyond it a GPU gains nothing, and each slice has few tiles."""
SHARE = 0.8
"""Share of the free memory to use; the rest is left for fragmentation and other programs."""
ATTENTION_MAPS = 3
"""Attention maps of a block held at once: SAM's code adds relative positions out of place."""

DECODER_MAPS, LOGIT_MAPS = 30, 6
"""Arrays of the size of an image embedding, and of a crop, that a step keeps for each class's gradients.

Measured on LiteMedSAM in float32: 0.125 GB a class from 4 to 72 classes, embeddings of 4.2 MB.
"""


class BatchSize:
    """How many tiles to compute at once; fewer as soon as memory runs out.

    Parameters
    ----------
    wanted
        A number to begin with. None: 1 on a CPU (batches of 4 take longer per tile there) and on MPS;
        on CUDA as many as fit, judged by what the first tile takes.
    device
        What computes.
    """

    def __init__(self, wanted: int | None, device: torch.device) -> None:
        self.count = wanted or 1
        self._device = device
        self._to_measure = wanted is None and device.type == "cuda" and torch.cuda.is_available()

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Compute a batch in the body; the memory of the first one is measured."""
        if not self._to_measure:
            yield
            return
        torch.cuda.reset_peak_memory_stats(self._device)
        before = torch.cuda.memory_allocated(self._device)
        yield
        self._to_measure = False
        allocated = torch.cuda.memory_allocated(self._device)
        free = torch.cuda.mem_get_info(self._device)[0]
        free += torch.cuda.memory_reserved(self._device) - allocated
        self.count = tiles_that_fit(free, torch.cuda.max_memory_allocated(self._device) - before)

    def halve(self, error: BaseException) -> None:
        """Halve the number of tiles permanently after `error` (see `halved`)."""
        self.count = halved(self.count, error, "tile", "at a time")


def halved(count: int, error: BaseException, thing: str, when: str) -> int:
    """Half of `count`, after memory ran out.

    Parameters
    ----------
    count
        Number of things that were computed together.
    error
        What was raised then.
    thing, when
        Words for the messages, such as "tile" and "at a time".

    Raises
    ------
    DeviceError
        If `count` is 1 already.
    BaseException
        `error` itself, if it does not mean that memory ran out.
    """
    if not is_out_of_memory(error):
        raise error
    if count == 1:
        raise DeviceError(
            f"out of memory with one {thing} {when}; close other programs, or use --device cpu"
        ) from error
    logger.warning("out of memory; going on with %d %ss %s", count // 2, thing, when)
    return count // 2


def tiles_that_fit(free: int, per_tile: int) -> int:
    """Number of tiles of `per_tile` bytes each to compute at once with `free` bytes, 1 to `MOST_TILES`."""
    return max(1, min(MOST_TILES, int(SHARE * free / max(1, per_tile))))


def check_memory(segmenter: Segmenter) -> None:
    """Refuse a model of which not even one tile fits, before the system kills the program.

    Checks host memory only; CUDA raises its own out-of-memory error.

    Raises
    ------
    DeviceError
        If one tile takes more than the free memory.
    """
    if segmenter.device.type != "cpu":
        return
    needed, free = least_memory(segmenter), _free_memory()
    if needed > free:
        raise DeviceError(
            f"a tile of {segmenter.input_size} pixels takes more than {needed / 1e9:.1f} GB of memory with "
            f"this base model, and {free / 1e9:.1f} GB are free; close other programs, or train on a base "
            "with smaller inputs, such as sam-vit-b@256"
        )


def crops_that_fit(segmenter: Segmenter, wanted: int) -> int:
    """Number of crops per training step: `wanted`, or fewer if they do not fit into memory.

    Checks host memory only, because the system kills a program that takes too much of it.

    Raises
    ------
    DeviceError
        If not even one fits.
    """
    if segmenter.device.type != "cpu":
        return wanted
    per_crop, free = memory_of_crop(segmenter), _free_memory()
    fitting = min(wanted, free // per_crop)
    if fitting < 1:
        raise DeviceError(
            f"training {segmenter.n_classes} classes takes more than {per_crop / 1e9:.1f} GB of memory, and "
            f"{free / 1e9:.1f} GB are free; merge classes (objects of one class have one value), or close "
            "other programs"
        )
    if fitting < wanted:
        logger.warning(
            "%d crops per step of %d classes take more than %.1f GB of memory, and %.1f GB are free; "
            "going on with %d",
            wanted,
            segmenter.n_classes,
            wanted * per_crop / 1e9,
            free / 1e9,
            fitting,
        )
    return fitting


def memory_of_crop(segmenter: Segmenter) -> int:
    """Bytes that the decoder's gradients of one crop take at least, for all classes."""
    embedding, crop = segmenter.dense_pe.numel(), segmenter.input_size**2
    size = compute_dtype(segmenter.device, trains=True).itemsize
    return segmenter.n_classes * size * (DECODER_MAPS * embedding + LOGIT_MAPS * crop)


def _free_memory() -> int:
    return int(psutil.virtual_memory().available + psutil.swap_memory().free)


def least_memory(segmenter: Segmenter) -> int:
    """Bytes that one tile takes at least: those of the largest attention maps of a ViT, in float32.

    Other encoders hold no such maps; they give 0.
    """
    entries = 0
    for block in getattr(segmenter.image_encoder, "blocks", ()):
        side = segmenter.input_size // segmenter.image_encoder.patch_embed.proj.stride[0]
        seen = side if block.window_size == 0 else min(side, block.window_size)
        windows = math.ceil(side / seen) ** 2
        entries = max(entries, block.attn.num_heads * windows * seen**4)
    return ATTENTION_MAPS * 4 * entries
