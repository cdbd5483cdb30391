"""A stack in napari's process, as the engine reads it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from napari_salt.engine import _requests as asked

__all__ = ["RemoteStack"]


class RemoteStack:
    """A `StackLike` whose slices are fetched from napari's process when they are taken.

    Parameters
    ----------
    info
        Number, shape (Z, Y, X[, 3]) and dtype of the stack.
    fetch
        Called with the stack's number and a slice's index; gives the slice, (Y, X[, 3]).
    """

    def __init__(self, info: asked.StackInfo, fetch: Callable[[int, int], np.ndarray]) -> None:
        self.info = info
        self.shape = info.shape
        self.dtype = np.dtype(info.dtype)
        self._fetch = fetch

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        if not isinstance(key, int | np.integer):
            raise TypeError(f"a remote stack is read one slice at a time, not by {key!r}")
        return self._fetch(self.info.key, int(key))
