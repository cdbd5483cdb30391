"""Paths that name more or less than one file: glob patterns, and datasets inside an HDF5 file."""

from __future__ import annotations

import re
from pathlib import Path

from napari_salt.terms.errors import InputError

__all__ = ["files_of", "is_pattern", "is_there", "matches", "root_of", "split_inner"]

_WILD = "*?["
_INNER = re.compile(r"(?P<file>.+?\.(?:h5|hdf5|hdf|ilp))(?::/*|/+)(?P<inside>.*)", re.IGNORECASE)


def is_pattern(path: Path) -> bool:
    """Whether `path` is a glob pattern such as ``slices/*.png``, and no existing file."""
    return any(letter in str(path) for letter in _WILD) and not _exists(path)


def matches(pattern: Path) -> list[Path]:
    """Files that a glob pattern matches, in no particular order; ``**`` matches any folders."""
    folder = root_of(pattern)
    try:
        found = folder.glob("/".join(pattern.parts[len(folder.parts) :]))
        return [path for path in found if path.is_file()]
    except (ValueError, NotImplementedError) as error:
        raise InputError(f"{pattern} is no valid pattern ({error}): give one such as slices/*.png") from error


def root_of(path: Path) -> Path:
    """The file or folder on the disk that `path` begins with: of a pattern, its folder without wildcards."""
    if not is_pattern(path):
        return split_inner(path)[0]
    parts = path.parts
    first = next(index for index, part in enumerate(parts) if any(letter in part for letter in _WILD))
    return Path(*parts[:first])


def split_inner(path: Path) -> tuple[Path, str]:
    """Split ``file.h5:/path`` (or ``file.h5/path``) into the file and the path inside, "" without one."""
    found = None if _exists(path) else _INNER.fullmatch(str(path).replace("\\", "/"))
    return (Path(found["file"]), found["inside"].strip("/")) if found else (path, "")


def is_there(path: Path) -> bool:
    """Whether what `path` names exists: a file or folder, a file that holds a dataset, or any match."""
    if is_pattern(path):
        return bool(matches(path))
    return _exists(split_inner(path)[0])


def files_of(path: Path) -> list[Path]:
    """All files that `path` names: one, those of a folder and its folders, or the matches of a pattern."""
    if is_pattern(path):
        return matches(path)
    file = split_inner(path)[0]
    return [each for each in file.rglob("*") if each.is_file()] if file.is_dir() else [file]


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that the file system cannot have
        return False
