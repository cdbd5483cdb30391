"""Whether files are DICOM, told by their first bytes and without any library."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from napari_salt.io._paths import is_pattern, matches

__all__ = ["has_dicom", "is_dicom"]

_PREAMBLE = 128
_SUFFIXES = (".dcm", ".ima")
_LOOKED_AT = 40
"""Files of a folder whose bytes are looked at; a folder of DICOM may begin with other files."""


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM does: 128 bytes of anything, then "DICM"."""
    try:
        with path.open("rb") as file:
            return file.read(_PREAMBLE + 4)[_PREAMBLE:] == b"DICM"
    except OSError:
        return False


def has_dicom(path: Path) -> bool:
    """Whether a folder, or a folder in it, or a pattern's matches, have DICOM files among the first."""
    files = iter(matches(path)) if is_pattern(path) else _files(path)
    return any(file.suffix.lower() in _SUFFIXES or is_dicom(file) for file in islice(files, _LOOKED_AT))


def _files(folder: Path) -> Iterator[Path]:
    """Files of a folder, then those of the folders in it; nothing of a Zarr."""
    if any((folder / name).is_file() for name in ("zarr.json", ".zarray", ".zgroup")) or not folder.is_dir():
        return
    yield from (path for path in folder.iterdir() if path.is_file())
    for inner in sorted(path for path in folder.iterdir() if path.is_dir()):
        yield from _files(inner)
