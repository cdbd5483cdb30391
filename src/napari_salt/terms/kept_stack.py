"""A stack that reads each slice once: training looks at the painted ones a dozen times."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from napari_salt.terms.stack import StackLike

__all__ = ["KeptStack", "kept"]

KEPT_BYTES = 512 * 2**20


class KeptStack:
    """A `StackLike` that keeps the slices read last in memory.

    Parameters
    ----------
    stack
        Where they are read: dask, zarr, or anything that is read slice by slice.
    size
        Bytes to keep at most.
    """

    def __init__(self, stack: StackLike, size: int = KEPT_BYTES) -> None:
        self.shape, self.dtype = tuple(stack.shape), np.dtype(stack.dtype)
        self.ndim = len(self.shape)
        self._stack = stack
        self._kept: LRUCache[int, NDArray[Any]] = LRUCache(size, getsizeof=lambda plane: plane.nbytes)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, int | np.integer):
            return self._stack[key]
        index = int(key)
        with self._lock:
            if index in self._kept:
                return self._kept[index]
        plane = np.asarray(self._stack[index])
        if plane.nbytes <= self._kept.maxsize:
            with self._lock:
                self._kept[index] = plane
        return plane


def kept(stack: StackLike) -> StackLike:
    """`stack`, reading each slice once as far as memory allows; what is in memory stays as it is."""
    return stack if isinstance(stack, np.ndarray | KeptStack) else KeptStack(stack)
