"""What the table of formats holds of each: names, reader, writer, and what a written file keeps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from napari_salt.io._format import Layout, Opened, PlaneFile
    from napari_salt.io._stack import Stack

__all__ = ["Fact", "Format", "Open"]

Fact = Literal["position", "orientation", "unknown distance"]


class Open(Protocol):
    """Function that opens a file."""

    def __call__(self, path: Path, axes: str | None, *, labels: bool) -> Opened:
        """Open `path`; `axes` are those that the user gives, `labels` says that it holds labels.

        Where the format's `has_series` is set, it may be called with ``series="..."`` as well: which of
        several images is meant (see `napari_salt.io._series.chosen`).
        """
        ...


@dataclass(frozen=True)
class Format:
    """A file format.

    Parameters
    ----------
    name
        Its usual name.
    suffixes
        File name endings in lower case that are offered for output; error messages recommend the last.
    open
        Opens a file and reads its geometry (see `Open`).
    planes
        Makes a `PlaneFile` for a path and a `Layout`; None where the format is only read.
    keeps
        What a written file stores of the voxels' position, beyond their size; "unknown distance" where it
        can leave open how far apart the slices are.
    keeps_size
        Whether a written file stores the size of voxels.
    has_channels
        Whether a written file has named channels, as probabilities need.
    other_suffixes
        Further file name endings, in lower case, that are accepted.
    read_suffixes
        Further ones that are only read.
    is_folder
        Whether an image is a folder.
    has_series
        Whether a file may hold several images, of which one can be chosen (see `Open`).
    has_time
        Whether a written file can hold a time series.
    only_of
        Formats of the image that written labels can belong to; empty: any.
    unfit
        What keeps labels of an image, besides its format, from being written; None: nothing ever does.
    most_slices
        How many slices a written file can have; None: any number.
    recognise
        Whether a file (or folder) with none of the known endings is of this format, by its content.
    may_replace
        Whether an existing folder is such an image, and may be overwritten.
    """

    name: str
    suffixes: tuple[str, ...]
    open: Open
    planes: Callable[[Path, Layout], PlaneFile] | None = None
    keeps: tuple[Fact, ...] = ()
    keeps_size: bool = True
    has_channels: bool = False
    other_suffixes: tuple[str, ...] = ()
    read_suffixes: tuple[str, ...] = ()
    is_folder: bool = False
    has_series: bool = False
    has_time: bool = True
    only_of: tuple[str, ...] = ()
    unfit: Callable[[Stack], str] | None = None
    most_slices: int | None = None
    recognise: Callable[[Path], bool] = lambda _: False
    may_replace: Callable[[Path], bool] = lambda _: False

    def has(self, path: Path) -> bool:
        """Whether the name of `path` has one of the format's endings."""
        return path.name.lower().endswith(self.suffixes + self.other_suffixes + self.read_suffixes)

    def writes(self, path: Path) -> bool:
        """Whether a file of this name can be written."""
        return self.planes is not None and path.name.lower().endswith(self.suffixes + self.other_suffixes)
