"""Whether a stack is like the one that an adapter was trained on: its pixel size and its intensities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from napari_salt.core.paint.preprocess import SliceReader, resize, window_slices
from napari_salt.terms.card import AdapterCard
from napari_salt.terms.errors import InputError
from napari_salt.terms.preprocess import Preprocess
from napari_salt.terms.stack import StackLike

__all__ = ["intensity_profile", "mean_profile", "misfit", "unlikeness"]

QUANTILES = (1, 5, 10, 25, 50, 75, 90, 95, 99)
DETAILS = ((1, 3), (3, 9), (7, 21))
"""Widths in model pixels of the two boxes whose means are subtracted: fine, middle and coarse structure."""
PROFILE_PIXELS, PROFILE_SIDE = 250_000, 512
INVERTED = 1.75
"""Ratio of distances (as is / inverted) from which to warn. Other stacks of a kind: 1.65 in one of 100."""
UNLIKE = 0.2
"""Mean difference of the grey levels from which to warn. Other stacks of a kind: up to 0.12."""
BITS = {"uint8": 8, "int8": 8, "uint16": 16, "int16": 16, "uint32": 32, "int32": 32}
"""Of types of whole numbers."""
ODD_SIZE = 1.5
"""Ratio of pixel sizes from which to warn that the stack is resampled."""

Profile = list[list[list[float]]]


def intensity_profile(reader: SliceReader) -> Profile:
    """Quantiles of a stack's grey levels and structure as the model sees them, by channel.

    Returns
    -------
    list
        Per channel four rows of the 1, 5, 10, 25, 50, 75, 90, 95 and 99 % quantiles: of the windowed
        intensities (0 to 1), and of fine, middle and coarse structure in the middle of the slices, in units
        of its standard deviation. Inverting the contrast turns the signs and the order of the latter.
        Empty where all sampled slices are blank.
    """
    levels, details = [], []
    for plane in _planes(reader):
        levels.append(_drawn(plane.flatten(1)))
        details.append(_details(plane, reader.scale))
    if not levels:
        return []
    grey = np.percentile(torch.cat(levels, 1).numpy(), QUANTILES, axis=1).T[:, None]
    structure = torch.cat(details, 2).numpy()
    deviation = structure.std(2, keepdims=True) + np.finfo(np.float32).tiny
    rows = np.moveaxis(np.percentile(structure / deviation, QUANTILES, axis=2), 0, -1)
    profile: Profile = np.concatenate([grey, rows], 1).round(4).tolist()
    return profile


def mean_profile(readers: Sequence[SliceReader]) -> Profile:
    """Mean of the intensity profiles of several stacks."""
    profiles = [profile for reader in readers if (profile := intensity_profile(reader))]
    mean: Profile = np.mean(profiles, 0).round(4).tolist() if profiles else []
    return mean


def unlikeness(adapter: AdapterCard, reader: SliceReader) -> Iterator[str]:
    """Yield a sentence on each way in which a stack differs from the one the adapter was trained on.

    Pixel sizes or intensities are not compared where the adapter's file does not hold them.
    """
    if text := _of_pixel_size(adapter.preprocess, reader.pixel_size):
        yield text
    if text := _of_bits(adapter, reader.stack):
        yield text
    then = _known_profile(adapter, reader)
    now = [] if then is None else intensity_profile(reader)
    if then is not None and now and (text := _of_intensities(then, np.array(now))):
        yield text


def misfit(adapter: AdapterCard, stack: StackLike, pixel_size: float | None = None) -> tuple[float, str]:
    """How unlike its training stack a stack is for an adapter, for sorting adapters.

    Parameters
    ----------
    adapter
        Its metadata.
    stack
        Shape (Z, Y, X), or (Z, Y, X, 3) in colour.
    pixel_size
        Micrometres per pixel of the stack, if known.

    Returns
    -------
    score, words
        The distance of the intensity profiles (0: the same; `UNLIKE` where the adapter's is not known),
        plus the octaves between the pixel sizes (those of `ODD_SIZE` where they are not known),
        halved; infinite where it cannot be used. And what that is made of.
    """
    try:
        reader = SliceReader(stack, adapter.preprocess, pixel_size)
    except InputError as error:
        return np.inf, str(error)
    then = _known_profile(adapter, reader)
    now = [] if then is None else intensity_profile(reader)
    distance = _distance(then, np.array(now)) if then is not None and now else UNLIKE
    trained = adapter.preprocess.pixel_size
    known = pixel_size is not None and trained is not None
    octaves = abs(np.log2(pixel_size / trained)) if known else np.log2(ODD_SIZE)  # type: ignore[operator]
    of_size = f"pixels {pixel_size / trained:.3g} times as large" if known else "pixel size unknown"  # type: ignore[operator]
    of_profile = f"intensities differ by {distance:.2f}" if now else "intensities unknown"
    return float(distance + octaves / 2), f"{of_size}, {of_profile}"


def _of_pixel_size(preprocess: Preprocess, pixel_size: float | None) -> str:
    trained = preprocess.pixel_size
    if trained is None:
        return ""
    if pixel_size is None:
        return (
            f"the adapter was trained on pixels of {trained:g} micrometres, and the image does not say how "
            "large its own are: they are taken to be the same; if they are not, give their size "
            "(--pixel-size, pixel_size, or the layer's scale and units)"
        )
    ratio = pixel_size / trained
    if 1 / ODD_SIZE <= ratio <= ODD_SIZE:
        return ""
    return (
        f"the image's pixels are of {pixel_size:g} micrometres, those that the adapter was trained on of "
        f"{trained:g}: the image is resampled to {ratio:.3g} times its size in pixels; if the file is wrong, "
        "give the true size (--pixel-size, pixel_size, or the layer's scale and units)"
    )


def _of_bits(adapter: AdapterCard, stack: StackLike) -> str:
    """Fewer bits are worth a word, since a conversion may have cut off values; more bits are not."""
    facts = (adapter.training, *adapter.training.get("more_stacks", ()))
    trained = [BITS.get(str(known.get("data_type")), 0) for known in facts]
    now = BITS.get(np.dtype(stack.dtype).name, 0)
    if not now or not all(trained) or now >= min(trained):
        return ""
    return (
        f"the image has values of {now} bits, and those that the adapter was trained on have {min(trained)}: "
        "if it was converted, check that dark and bright values are still told apart, or give the original"
    )


def _known_profile(adapter: AdapterCard, reader: SliceReader) -> NDArray[np.float64] | None:
    """The training stack's profile; None where the file has none that can be used."""
    shape = (reader.preprocess.channels, 1 + len(DETAILS), len(QUANTILES))
    try:
        known = np.array(adapter.training.get("intensities"), np.float64)
    except (TypeError, ValueError):
        return None
    return known if known.shape == shape and np.isfinite(known).all() else None


def _of_intensities(then: NDArray[np.float64], now: NDArray[np.float64]) -> str:
    inverted = np.concatenate([1 - now[:, :1, ::-1], -now[:, 1:, ::-1]], 1)
    distance, mirrored = _distance(then, now), _distance(then, inverted)
    middle = QUANTILES.index(50)
    medians = " and ".join(_percent(profile[:, 0, middle]) for profile in (now, then))
    if distance > INVERTED * mirrored:
        return (
            "the image's contrast looks inverted: bright here is what was dark in the training stack "
            f"(distance of their profiles {distance:.2f}, after inverting {mirrored:.2f}; median intensities "
            f"at {medians} of the windows); invert the image, or train on such a stack"
        )
    difference = float(np.abs(now[:, 0] - then[:, 0]).mean(-1).max())
    if difference > UNLIKE:
        return (
            f"the image's intensities are unlike the training stack's (they differ by {difference:.0%} of "
            f"the window on average; medians at {medians} of it); check the channel and the contrast, or "
            "train on such a stack"
        )
    return ""


def _distance(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Mean difference of the grey levels plus that of the structure."""
    difference = np.abs(first - second)
    return float(difference[:, 0].mean() + difference[:, 1:].mean())


def _percent(shares: Sequence[float] | NDArray[np.float64]) -> str:
    return "/".join(f"{share:.0%}" for share in shares)


def _planes(reader: SliceReader) -> Iterator[Tensor]:
    """Every other slice that the window is measured on, windowed, float32 (C, Y, X)."""
    for index in window_slices(len(reader))[::2]:
        try:
            yield torch.from_numpy(reader.raw(index))
        except InputError:  # a blank one among unrelated images; it may not be among those to segment
            continue


def _drawn(values: Tensor) -> Tensor:
    """Evenly spaced columns of (C, N), fewer than twice `PROFILE_PIXELS`."""
    return values[:, :: max(1, values.shape[1] // PROFILE_PIXELS)]


def _details(plane: Tensor, scale: float) -> Tensor:
    """Structure of three sizes in the middle of a plane, as large as the model sees it, (C, 3, N)."""
    side = max(1, round(PROFILE_SIDE / scale))
    top, left = (max(0, (length - side) // 2) for length in plane.shape[1:])
    part = plane[None, :, top : top + side, left : left + side]
    height, width = (max(1, round(length * scale)) for length in part.shape[2:])
    seen = resize(part, (height, width))
    rows = [_mean(seen, inner) - _mean(seen, outer) for inner, outer in DETAILS]
    return torch.stack([_drawn(row[0].flatten(1)) for row in rows], 1)


def _mean(image: Tensor, width: int) -> Tensor:
    return F.avg_pool2d(image, width, 1, width // 2, count_include_pad=False) if width > 1 else image
