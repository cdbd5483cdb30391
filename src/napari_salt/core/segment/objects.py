"""From classes to numbered objects: seeds and a watershed in the whole volume."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label
from skimage.segmentation import watershed

from napari_salt.core.devices import check_room
from napari_salt.core.paint.objects import BORDER, INSIDE
from napari_salt.core.segment.cleanup import are_neighbours
from napari_salt.terms.events import SliceResult

__all__ = ["check_voxels", "numbered", "separated"]

Objects = NDArray[np.int32]

SPECK = 0.02
"""Seeds and objects smaller than this share of the size-weighted mean size are removed."""
BYTES_PER_VOXEL = 40
"""Memory that labelling and watershed take at once."""


@dataclass(frozen=True)
class _Seen:
    """What is kept of a slice: 6 bytes a pixel at most."""

    index: int
    classes: NDArray[np.integer]
    inside: NDArray[np.bool_] | None = None
    border: NDArray[np.uint8] | None = None


def check_voxels(voxels: int) -> None:
    """Refuse a volume whose objects cannot be numbered in the free memory.

    Raises
    ------
    InputError
        If `voxels` take more than the free memory.
    """
    check_room(
        voxels * BYTES_PER_VOXEL,
        f"numbering the objects of {voxels / 1e6:.0f} million voxels",
        "segment fewer slices, or close other programs",
    )


def numbered(
    results: Iterator[SliceResult], *, borders: bool, unrelated: bool = False, group: int | None = None
) -> Iterator[SliceResult]:
    """Yield each slice as it comes, with `final` False; after the last, all again with objects' numbers.

    Objects are those of a volume of neighbouring slices (see `separated`), int32, from 1.

    Parameters
    ----------
    results
        Slices in the order of the stack, with classes as labels.
    borders
        Whether the probabilities are those of background, insides and borders.
    unrelated
        Whether slices are unrelated images, each a volume of its own.
    group
        Number of slices of one time point; no object extends over several.
    """
    seen = []
    for result in results:
        if result.done is not None:  # progress only
            yield result
            continue
        seen.append(_seen(result) if borders else _Seen(result.index, result.labels))
        yield replace(result, final=False)
    used = 0
    for volume in _volumes(seen, group, unrelated=unrelated):
        kept = ("classes", "inside", "border") if borders else ("classes",)
        objects = separated(*(np.stack([getattr(each, name) for each in volume]) for name in kept))
        objects[objects > 0] += used
        used = max(used, int(objects.max()))
        for each, plane in zip(volume, objects, strict=True):
            yield SliceResult(each.index, plane, np.empty((0, *plane.shape), np.float32), 0)


def separated(
    classes: NDArray[np.integer],
    inside: NDArray[np.bool_] | None = None,
    border: NDArray[np.uint8] | None = None,
) -> Objects:
    """Objects of a volume, numbered from 1, int32, shape (Z, Y, X).

    Without `inside`, connected voxels of one class (26 neighbours). Else connected insides (6 neighbours)
    are seeds from which a watershed on the probability of a border fills the classes, so that touching
    objects come apart; classes without a seed are objects as well, and specks are removed (see `SPECK`).

    Parameters
    ----------
    classes
        Shape (Z, Y, X), 0 is background.
    inside
        Bool, shape (Z, Y, X): objects without their borders; None if that is not known.
    border
        Probability of a border, uint8, 0 to 255, shape (Z, Y, X).
    """
    if inside is None:
        pieces: Objects = label(classes, background=0, connectivity=3).astype(np.int32)  # type: ignore[no-untyped-call]
        return pieces
    seeds = _without_specks(label(inside & (classes > 0), connectivity=1))  # type: ignore[no-untyped-call]
    objects = watershed(border, seeds, mask=classes > 0)  # type: ignore[no-untyped-call]
    rest = label((classes > 0) & (objects == 0), connectivity=3)  # type: ignore[no-untyped-call]
    objects = np.where(rest > 0, rest + objects.max(), objects)  # an object without a seed
    return _renumbered(_without_specks(objects))


def _seen(result: SliceResult) -> _Seen:
    """What is kept of a slice with the probabilities of background, insides and borders."""
    inside = result.probabilities.argmax(0) == INSIDE
    border = np.rint(255 * result.probabilities[BORDER]).astype(np.uint8)
    return _Seen(result.index, result.labels, inside, border)


def _volumes(seen: Sequence[_Seen], group: int | None, *, unrelated: bool) -> Iterator[Sequence[_Seen]]:
    """Runs of neighbouring slices of one time point."""
    start = 0
    for end in range(1, len(seen) + 1):
        last, after = seen[end - 1], seen[end : end + 1]
        if unrelated or not (after and are_neighbours(last.index, after[0].index, group)):
            yield seen[start:end]
            start = end


def _without_specks(objects: NDArray[np.integer]) -> NDArray[np.integer]:
    sizes = np.bincount(objects.ravel())
    sizes[0] = 0
    if not sizes.any():
        return objects
    typical = (sizes.astype(float) ** 2).sum() / sizes.sum()
    specks = sizes < SPECK * typical
    return np.where(specks[objects], 0, objects)


def _renumbered(objects: NDArray[np.integer]) -> Objects:
    there = np.unique(objects[objects > 0])
    numbers = np.zeros(int(objects.max()) + 1, np.int32)
    numbers[there] = np.arange(1, len(there) + 1)
    found: Objects = numbers[objects]
    return found
