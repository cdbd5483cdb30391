"""Table of file formats: for each its names, its reader, its writer, and what a written file keeps.

Nothing here imports a format's library; readers and writers are imported when they are called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from napari_salt.terms.errors import InputError

if TYPE_CHECKING:
    from napari_salt.io._format import Layout, Opened, PlaneFile

__all__ = [
    "FORMATS",
    "Fact",
    "Format",
    "format_to_read",
    "format_to_write",
    "is_stack",
    "offered",
    "register_format",
    "what_is_read",
]

Fact = Literal["position", "orientation", "unknown distance"]


class Open(Protocol):
    """Function that opens a file."""

    def __call__(self, path: Path, axes: str | None, *, labels: bool) -> Opened:
        """Open `path`; `axes` are those that the user gives, `labels` says that it holds labels."""
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
    has_channels
        Whether a written file has named channels, as probabilities need.
    other_suffixes
        Further file name endings, in lower case, that are accepted.
    is_folder
        Whether an image is a folder.
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
    has_channels: bool = False
    other_suffixes: tuple[str, ...] = ()
    is_folder: bool = False
    recognise: Callable[[Path], bool] = lambda _: False
    may_replace: Callable[[Path], bool] = lambda _: False

    def has(self, path: Path) -> bool:
        """Whether the name of `path` has one of the format's endings."""
        return path.name.lower().endswith(self.suffixes + self.other_suffixes)


def _later(module: str, function: str) -> Any:
    """A function of a module of `napari_salt.io`; the module is imported at the first call."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return getattr(import_module(f"napari_salt.io.{module}"), function)(*args, **kwargs)

    return call


FORMATS: dict[str, Format] = {
    each.name: each
    for each in (
        Format(
            "TIFF",
            (".tif",),
            open=_later("_tiff", "open_tiff"),
            planes=_later("_tiff", "TiffPlanes"),
            keeps=("unknown distance",),
            has_channels=True,
            other_suffixes=(".tiff",),
            recognise=_later("_tiff", "is_tiff"),
        ),
        Format(
            "OME-Zarr",
            (".zarr",),
            open=_later("_zarr", "open_zarr"),
            planes=_later("_zarr", "ZarrPlanes"),
            keeps=("position", "unknown distance"),
            has_channels=True,
            is_folder=True,
            recognise=Path.is_dir,
            may_replace=_later("_zarr", "is_zarr"),
        ),
        Format(
            "NIfTI",
            (".nii", ".nii.gz"),
            open=_later("_nifti", "open_nifti"),
            planes=_later("_nifti", "NiftiPlanes"),
            keeps=("position", "orientation"),
        ),
    )
}
"""Formats by name, in order of precedence."""


def register_format(entry: Format) -> None:
    """Add a format to `FORMATS` for this process.

    Parameters
    ----------
    entry
        Its `open` and `planes` read and write the files.

    Raises
    ------
    InputError
        If another format has its name or one of its suffixes.
    """
    taken = [other.name for other in FORMATS.values() if any(other.has(Path(s)) for s in entry.suffixes)]
    if entry.name in FORMATS or taken:
        raise InputError(f"the format {entry.name} is there already, or its suffix is of {', '.join(taken)}")
    FORMATS[entry.name] = entry


def format_to_read(path: Path) -> Format:
    """The format of an existing file or folder, by its name, else by its content.

    Raises
    ------
    InputError
        If it has none of the known formats.
    """
    folder = path.is_dir()
    fitting = [each for each in FORMATS.values() if each.is_folder or not folder]
    found = [each for each in fitting if each.has(path)] or [each for each in fitting if each.recognise(path)]
    if not found:
        what = f"a {path.suffix[1:].upper()} file" if path.suffix else "no image file"
        raise InputError(
            f"{path} is {what}, which is not read: save it as {_listed(FORMATS)} (in napari: File > Save "
            f"Selected Layers, as {next(iter(offered()))})"
        )
    return found[0]


def format_to_write(path: Path) -> Format:
    """The format of an output, by its name.

    Raises
    ------
    InputError
        If no format that can be written has this ending.
    """
    for each in FORMATS.values():
        if each.planes is not None and each.has(path):
            return each
    raise InputError(f"{path}: the name tells the format: let it end with {_listed(offered())}")


def is_stack(path: Path) -> bool:
    """Whether the name has an ending of one of the formats."""
    return any(each.has(path) for each in FORMATS.values())


def offered(*, channels: bool = False) -> list[str]:
    """Suffixes of formats that can be written; with `channels`, of those with named channels."""
    written = [each for each in FORMATS.values() if each.planes and (each.has_channels or not channels)]
    return [suffix for each in written for suffix in each.suffixes]


def what_is_read() -> str:
    """All formats with their suffixes, in words."""
    return _listed(
        f"{each.name} ({'a folder, ' if each.is_folder else ''}{', '.join(each.suffixes)})"
        for each in FORMATS.values()
    )


def _listed(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else last
