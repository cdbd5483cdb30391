"""An array of any number of axes as a flat stack of slices. Imports neither napari nor Qt."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_salt.terms.config import Unpainted

__all__ = ["MAX_COLOUR_CHANNELS", "FlatStack", "PaintSnapshot"]

MAX_COLOUR_CHANNELS = 3


class FlatStack:
    """An array of any number of axes as a `StackLike`, (Z, Y, X) or (Z, Y, X, 3), read slice by slice.

    Parameters
    ----------
    data
        numpy, dask, zarr or alike: leading axes, one of which may be channels, then Y, X(, colour).
    leading
        Lengths of the leading axes without the channels; their product is the number of slices.
    channel_axis, channels
        Which axis of `data` holds channels, and which of them are taken: one for grey, two or three
        for colour (with two, blue stays empty).
    rgb
        Whether the last axis is colour; alpha is dropped.
    """

    def __init__(
        self,
        data: Any,
        leading: Sequence[int],
        channel_axis: int | None = None,
        channels: Sequence[int] = (),
        *,
        rgb: bool = False,
    ) -> None:
        self._data, self._leading, self._rgb = data, tuple(leading), rgb
        self._channel_axis, self._channels = channel_axis, tuple(channels)
        plane = data.shape[-3:-1] if rgb else data.shape[-2:]
        colour = (3,) if rgb or len(self._channels) > 1 else ()
        self.shape: tuple[int, ...] = (math.prod(self._leading), *(int(n) for n in plane), *colour)
        self.dtype = np.dtype(data.dtype)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Slice `index` as numpy: (Y, X) or (Y, X, 3)."""
        place = tuple(int(i) for i in np.unravel_index(int(index), self._leading)) if self._leading else ()
        if self._rgb:
            return np.asarray(self._data[place])[..., :3]
        if self._channel_axis is None:
            return np.asarray(self._data[place])
        planes = [
            np.asarray(self._data[(*place[: self._channel_axis], channel, *place[self._channel_axis :])])
            for channel in self._channels
        ]
        if len(planes) == 1:
            return planes[0]
        planes += [np.zeros_like(planes[0])] * (MAX_COLOUR_CHANNELS - len(planes))
        return np.stack(planes, axis=-1)


class PaintSnapshot:
    """A copy of labels at one moment that keeps only the painted slices; the others read as 0.

    Parameters
    ----------
    shape
        (Z, Y, X).
    planes
        Copies of the painted slices, (Y, X), by position.
    marks
        What unpainted means on single slices, by position: "background", or "ignore" for unknown.
    """

    def __init__(
        self,
        shape: Sequence[int],
        planes: Mapping[int, NDArray[Any]],
        marks: Mapping[int, Unpainted] | None = None,
    ) -> None:
        self.marks = dict(marks or {})
        self.shape: tuple[int, ...] = tuple(shape)
        self.planes = dict(planes)
        self.dtype = next(iter(self.planes.values()), np.zeros(0, np.uint8)).dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> NDArray[Any]:
        plane = self.planes.get(int(index))
        return np.zeros(self.shape[1:], self.dtype) if plane is None else plane
