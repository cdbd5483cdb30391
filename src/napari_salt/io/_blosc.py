"""Zarr chunks compressed by Blosc, checked before they are decoded.

Blosc's decoder believes the sizes in a chunk's header and reads beyond a chunk that is shorter, which can end
the whole process.
"""

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.storage import LocalStore

from napari_salt.io._format import ArrayOnDisk

__all__ = ["checked"]

HEADER_BYTES = 16


def checked(array: zarr.Array[Any]) -> ArrayOnDisk:
    """`array`; where it lies on this machine, compressed by Blosc, one that checks chunks before reading."""
    store = array.store_path.store
    blosc = "blosc" in type(array.compressors[-1]).__name__.lower() if array.compressors else False
    if blosc and array.shards is None and isinstance(store, LocalStore):
        return _Checked(array, Path(store.root) / array.store_path.path)
    return array


class _Checked:
    """A Zarr array whose chunks' headers are compared with their files' sizes.

    Parameters
    ----------
    array
        The array, without shards.
    folder
        Where its chunks lie.
    """

    def __init__(self, array: zarr.Array[Any], folder: Path) -> None:
        self.shape, self.dtype = array.shape, array.dtype
        self._array, self._folder = array, folder
        self._bytes = int(np.prod(array.chunks)) * array.dtype.itemsize

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        for path in self._chunks(key):
            self._check(path)
        return np.asarray(self._array[key])

    def _chunks(self, key: tuple[slice, ...]) -> Iterator[Path]:
        """Files of the chunks that `key` touches."""
        spans = []
        for at, length, chunk in zip(key, self.shape, self._array.chunks, strict=True):
            start, stop, _ = at.indices(length)
            spans.append(range(start // chunk, -(-max(start, stop) // chunk)))
        for place in product(*spans):
            yield self._folder / self._array.metadata.encode_chunk_key(place)

    def _check(self, path: Path) -> None:
        if not path.is_file():
            return  # such a chunk holds the fill value
        size = path.stat().st_size
        with path.open("rb") as file:
            header = file.read(HEADER_BYTES)
        plain, block, packed = (int.from_bytes(header[at : at + 4], "little") for at in (4, 8, 12))
        if len(header) < HEADER_BYTES or packed != size or plain != self._bytes or block > max(plain, 1):
            raise ValueError(
                f"chunk {path.name} of {size} bytes is damaged: its header says {packed} and {plain}"
            )
