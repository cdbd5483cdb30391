"""What the file formats have in common: the result of opening, the input of writing, and errors."""

import contextlib
import math
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from napari_salt.io._geometry import Affine
from napari_salt.io._units import Place, Spacing
from napari_salt.terms.card import ClassInfo
from napari_salt.terms.errors import InputError
from napari_salt.terms.text import reason

__all__ = [
    "DAMAGE",
    "ArrayOnDisk",
    "Gathered",
    "Layout",
    "Opened",
    "PlaneFile",
    "one_line",
    "reading",
    "writing",
]

DAMAGE = (  # what readers and decoders raise on damaged files
    ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, RuntimeError, TypeError,
    ValueError, struct.error, zlib.error,
)  # fmt: skip


class ArrayOnDisk(Protocol):
    """An array on disk; indexing reads only the part that is taken."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        ...

    @property
    def dtype(self) -> Any:
        """Type of the values, as numpy understands it."""
        ...

    def __getitem__(self, key: Any, /) -> Any: ...


@dataclass(frozen=True)
class Opened:
    """An image file, opened.

    Parameters
    ----------
    array
        Its values, with one axis per letter of `axes`.
    axes
        One letter per axis, as `napari_salt.io._axes` knows them.
    spacing, unit
        As in `napari_salt.io.Stack`.
    origin
        Position (z, y, x) of the first voxel in `unit`, None where the file does not say.
    close
        To be called when the array is no longer needed.
    affine
        As in `napari_salt.io.Stack`: (4, 4), in mm; None where the file does not say.
    unit_assumed
        Whether the file names no unit, so that `unit` is the usual one of its format.
    time_step, time_unit
        Time from one time point to the next, and its unit, such as "second"; None if not known.
    step, classes, partial
        As in `napari_salt.io.Stack`.
    """

    array: ArrayOnDisk
    axes: str
    spacing: Spacing | None
    unit: str | None
    origin: Place | None = None
    close: Callable[[], object] | None = None
    affine: Affine | None = None
    time_step: float | None = None
    time_unit: str | None = None
    step: float | None = None
    unit_assumed: bool = False
    classes: tuple[ClassInfo, ...] = ()
    partial: bool = False


@dataclass(frozen=True)
class Layout:
    """An image to be written.

    Parameters
    ----------
    axes
        Letters of T, C and Z, in this order, then YX.
    shape
        One length per axis.
    dtype
        Of the values.
    spacing, unit, origin
        As in `Opened`.
    channels
        Names along C; empty for labels.
    name
        Name of the image in the file's metadata.
    like
        File of the image with the same voxels that it belongs to, if there is one.
    time_step, time_unit, affine
        As in `Opened`.
    classes
        Names and colours of the label values, as far as they are known.
    series
        Which image of `like`, where that holds several.
    """

    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    spacing: Spacing | None
    unit: str | None
    origin: Place | None
    channels: tuple[str, ...]
    name: str
    like: Path | None
    time_step: float | None = None
    time_unit: str | None = None
    affine: Affine | None = None
    classes: tuple[ClassInfo, ...] = ()
    series: str | None = None

    @property
    def n_planes(self) -> int:
        """Number of (Y, X) planes."""
        return math.prod(self.shape[:-2])

    @property
    def n_bytes(self) -> int:
        """Bytes of all values, uncompressed."""
        return math.prod(self.shape) * self.dtype.itemsize


class PlaneFile(Protocol):
    """A file that is written plane by plane; its class is called with a path and a `Layout`."""

    def write(self, plane: npt.NDArray[Any]) -> None:
        """Write the next (Y, X) plane, in C order."""
        ...

    def close(self) -> None:
        """Finish the file."""
        ...


class Gathered:
    """A `PlaneFile` of a format that is written in one piece: planes are kept in memory until all are there.

    Parameters
    ----------
    path, layout
        As for every `PlaneFile`.
    save
        Writes the whole array, of the layout's shape, to the path.
    """

    def __init__(
        self, path: Path, layout: Layout, save: Callable[[Path, npt.NDArray[Any], Layout], object]
    ) -> None:
        self._path, self._layout, self._save = path, layout, save
        self._array = np.zeros(layout.shape, layout.dtype)
        self._planes = self._array.reshape(-1, *layout.shape[-2:])
        self._written = 0

    def write(self, plane: npt.NDArray[Any]) -> None:
        """Keep the next plane."""
        self._planes[self._written] = plane
        self._written += 1

    def close(self) -> None:
        """Write the file, if no plane is missing."""
        if self._written == len(self._planes):
            self._save(self._path, self._array, self._layout)


@contextlib.contextmanager
def reading(path: Path, kind: str, *damage: type[Exception]) -> Iterator[None]:
    """Turn exceptions of opening a file into an `InputError`.

    Parameters
    ----------
    path
        The file.
    kind
        What it should be, such as "a TIFF file".
    damage
        Exceptions of the format's reader for damaged files, besides `DAMAGE`.

    Raises
    ------
    InputError
        If the block raises OSError, one of `DAMAGE` or one of `damage`.
    """
    try:
        yield
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or one_line(error)}") from error
    except DAMAGE + damage as error:
        raise InputError(
            f"{path} is not {kind}, or is damaged ({one_line(error)}): copy or export it again"
        ) from error


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an OSError of writing `path` into an `InputError`."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or one_line(error)}") from error


def one_line(error: Exception) -> str:
    """Give the message of `error`, printable and on one line, of at most 300 characters."""
    return reason(error)
