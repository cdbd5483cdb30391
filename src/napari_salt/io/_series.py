"""Choosing one of the images that a file or folder holds (``--series``)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_salt.io._format import ArrayOnDisk
from napari_salt.terms.errors import InputError

__all__ = ["Picked", "SeveralImagesError", "chosen", "listed", "volume_of"]

_MOST_NAMED = 8


class SeveralImagesError(InputError):
    """A file or folder holds several images, of which none was chosen.

    Parameters
    ----------
    message
        For the user.
    names
        Of the images, in order.
    """

    def __init__(self, message: str, names: Sequence[str]) -> None:
        super().__init__(message)
        self.names = tuple(names)


def chosen(series: str | None, names: Sequence[str], path: Path, what: str) -> int:
    """Number of the image that is meant.

    Parameters
    ----------
    series
        Its number from 0, its name, or a part of that which no other has; None where there is only one.
    names
        Of the images, in order.
    path, what
        For the message: the file, and what it holds, such as "images".

    Raises
    ------
    SeveralImagesError
        If there are several and none is named.
    InputError
        If `series` fits none, or several.
    """
    if series is None:
        if len(names) == 1:
            return 0
        raise SeveralImagesError(
            f"{path} holds {len(names)} {what} ({listed(names)}): choose one with --series, by its number",
            names,
        )
    if series.isdecimal():
        fitting = [int(series)] if int(series) < len(names) else []
    else:
        wanted, known = series.casefold(), [name.casefold() for name in names]
        same = [number for number, name in enumerate(known) if name == wanted]
        fitting = same or [number for number, name in enumerate(known) if wanted in name]
    if len(fitting) == 1:
        return fitting[0]
    how = "fits none" if not fitting else f"fits {len(fitting)}"
    raise InputError(
        f"--series {series} {how} of the {len(names)} {what} of {path} ({listed(names)}): choose one by its "
        "number"
    )


def listed(names: Sequence[str]) -> str:
    """The first names with their numbers, such as "0: T1, 1: T2"."""
    some = ", ".join(f"{number}: {name}" for number, name in enumerate(names[:_MOST_NAMED]))
    return some + (f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else "")


class Picked:
    """An array at fixed places of its first axes.

    Parameters
    ----------
    array
        Its first axes are left out.
    place
        Place along each of them.
    """

    def __init__(self, array: ArrayOnDisk, place: Sequence[int]) -> None:
        self._array = array
        self._place = tuple(slice(int(at), int(at) + 1) for at in place)
        self.shape = tuple(array.shape[len(self._place) :])
        self.dtype = array.dtype

    def __getitem__(self, key: tuple[slice, ...]) -> npt.NDArray[Any]:
        taken = np.asarray(self._array[(*self._place, *key)])
        return taken.reshape(taken.shape[len(self._place) :])


def volume_of(array: ArrayOnDisk, series: str, path: Path) -> Picked:
    """The volume that is meant (see `chosen`), of those along the axes before the last three."""
    lead = tuple(array.shape[:-3])
    names = [f"volume {number}" for number in range(math.prod(lead))]
    number = chosen(series, names, path, "volumes")
    place = np.unravel_index(number, lead) if lead else ()
    return Picked(array, [int(at) for at in place])
