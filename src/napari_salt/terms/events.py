"""What happened, as small frozen events that can be imported without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_salt.terms.card import AdapterCard

__all__ = ["Phase", "Preview", "SliceResult", "SliceUncertainty", "TrainingEvent"]

Phase = Literal["start", "warm", "learn", "final", "done"]

A_co = TypeVar("A_co", bound=AdapterCard, covariant=True)
"""The kind of adapter: torch's in the core."""


@dataclass(frozen=True)
class TrainingEvent(Generic[A_co]):
    """One moment of a training.

    Parameters
    ----------
    phase
        ``"start"`` once, ``"warm"`` while only tokens and decoder learn, ``"learn"`` while some paint is
        held out, ``"final"`` when all paint is learnt from, ``"done"`` once.
    step
        Whole steps so far, without those of the warm start.
    fraction
        Share of the budget used up, 0 to 1.
    seconds
        Wall-clock time since the start.
    loss, learning_rate
        Of the latest step; NaN at the start, and a rate of 0 at the end.
    held_out_dice
        Dice by label value on held-out paint, when it was measured at this step; without the classes that
        are neither painted nor found there.
    adapter
        The adapter, whenever it is the best so far, and at the end the one to keep.
    message
        Something that the user should read, or "".
    """

    phase: Phase
    step: int
    fraction: float
    seconds: float
    loss: float
    learning_rate: float
    held_out_dice: Mapping[int, float] | None = None
    adapter: A_co | None = None
    message: str = ""


@dataclass(frozen=True)
class SliceResult:
    """One segmented slice.

    Parameters
    ----------
    index
        Position in the stack.
    labels
        The user's label values, shape (Y, X), uint8 or, where values exceed 255, uint16 or uint32; or
        numbers of objects, int32.
    probabilities
        float32, shape (K + 1, Y, X), background first.
    tiles
        Number of tiles it took; 0 with numbers of objects.
    final
        False while objects have no numbers yet: the labels are classes, and all slices come again, without
        probabilities.
    done
        Where planes across the stored slices are computed first: how many of them are done, and of how many.
        Such a result tells of progress only: its index is that of the plane, its arrays are empty. None: the
        slice itself.
    """

    index: int
    labels: NDArray[np.integer]
    probabilities: NDArray[np.float32]
    tiles: int
    final: bool = True
    done: tuple[int, int] | None = None


@dataclass(frozen=True)
class Preview:
    """The segmentation of a square around one point of one slice.

    Parameters
    ----------
    index
        Position of the slice in the stack.
    top, left
        First row and column of the square in the slice.
    labels
        The user's label values, shape (h, w), unsigned integers.
    """

    index: int
    top: int
    left: int
    labels: NDArray[np.unsignedinteger]


@dataclass(frozen=True)
class SliceUncertainty:
    """How unsure an adapter is of one slice.

    Parameters
    ----------
    index
        Position in the stack.
    uncertainty
        From 0 (sure); see `uncertainty.slice_uncertainty`.
    """

    index: int
    uncertainty: float
