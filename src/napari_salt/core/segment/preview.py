"""A quick look: what a segmenter finds in one model input around a point."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from napari_salt.core.adapt.segmenter import Segmenter, with_background
from napari_salt.core.devices import precision
from napari_salt.core.paint.preprocess import SliceReader, resize
from napari_salt.terms.events import Preview
from napari_salt.terms.slice_ranges import check_slices
from napari_salt.terms.stack import label_dtype

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

    Returns
    -------
    Preview
        Label values of the square, and where it lies.

    Raises
    ------
    InputError
        If the stack has no such slice.
    """
    check_slices([index], len(reader))
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
    labels = np.array([0, *values], label_dtype(values))[with_background(native).argmax(1)[0].numpy()]
    return Preview(index, top, left, labels)
