"""A quick look: what a segmenter finds in one model input around a point."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from napari_salt.core.compute import precision
from napari_salt.core.errors import InputError
from napari_salt.core.events import Preview
from napari_salt.core.preprocess import SliceReader, resize
from napari_salt.core.segmenter import Segmenter, with_background

__all__ = ["preview"]


@torch.no_grad()
def preview(
    segmenter: Segmenter,
    reader: SliceReader,
    values: Sequence[int],
    index: int,
    centre: tuple[float, float],
) -> Preview:
    """Segment the square around `centre` that fills the model's input once.

    Parameters
    ----------
    segmenter
        Merged or carrying its parametrizations.
    reader
        The stack.
    values
        Label value of each class.
    index, centre
        Slice, and (y, x) in its pixels; the square is moved to lie in the slice.

    Raises
    ------
    InputError
        If the stack has no such slice.
    """
    if not 0 <= index < len(reader):
        raise InputError(f"slice {index} is out of range; the stack has slices 0 to {len(reader) - 1}")
    plane = torch.from_numpy(reader.raw(index))
    side = max(1, round(segmenter.input_size / reader.scale))
    top, left = (
        int(np.clip(round(middle - side / 2), 0, max(0, length - side)))
        for middle, length in zip(centre, plane.shape[-2:], strict=True)
    )
    part = plane[:, top : top + side, left : left + side]
    size = [max(1, min(segmenter.input_size, round(length * reader.scale))) for length in part.shape[-2:]]
    seen = resize(part[None], (size[0], size[1])).expand(1, 3, -1, -1)
    pad = (0, segmenter.input_size - size[1], 0, segmenter.input_size - size[0])
    device = segmenter.device
    with precision(device):
        logits = segmenter(torch.nn.functional.pad(seen, pad).to(device)).float().cpu()
    native = resize(logits[..., : size[0], : size[1]], (part.shape[-2], part.shape[-1]))
    dtype = np.min_scalar_type(max(values))
    labels = np.array([0, *values], dtype)[with_background(native).argmax(1)[0].numpy()]
    return Preview(index, top, left, labels)
