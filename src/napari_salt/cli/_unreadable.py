"""Slices that cannot be read are left out of a segmentation, where the user has chosen so."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_salt.terms.errors import UnreadableError
from napari_salt.terms.stack import StackLike

__all__ = ["Readable", "telling_of_choice"]

logger = logging.getLogger(__name__)


class Readable:
    """A stack in which the nearest slice that can be read stands in for one that cannot.

    What is found there is not to be kept; but intensities can be measured, and neighbours be looked at.

    Parameters
    ----------
    data
        Shape (Z, Y, X) or (Z, Y, X, 3), read slice by slice.

    Attributes
    ----------
    left_out
        Slices that could not be read so far.
    """

    def __init__(self, data: StackLike) -> None:
        self._data = data
        self.shape, self.dtype = data.shape, data.dtype
        self.left_out: set[int] = set()

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, index: int) -> NDArray[Any]:
        for other in (other for other in self._near(index) if other not in self.left_out):
            try:
                return np.asarray(self._data[other])
            except UnreadableError as error:
                self.left_out.add(other)
                logger.warning("%s; the slice is left out, and 0 in the output", error)
        raise UnreadableError("no slice of the image can be read; copy or export it again")

    def _near(self, index: int) -> Iterator[int]:
        """All slices, the nearest first."""
        for distance in range(len(self)):
            yield from (at for at in sorted({index - distance, index + distance}) if 0 <= at < len(self))


@contextmanager
def telling_of_choice() -> Iterator[None]:
    """Add a note to an error of a slice that cannot be read: that it can be left out."""
    try:
        yield
    except UnreadableError as error:
        error.add_note("--unreadable skip leaves such slices out")
        raise
