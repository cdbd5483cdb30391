"""Writing a file completely or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from napari_salt.terms.errors import AdapterError

__all__ = ["private_folder", "whole_file", "write_adapter_file"]


def private_folder(path: Path) -> Path:
    """Make a folder, unless it is there, that only the user can read or write; returns `path`.

    Missing parents are made in the same way. A folder that is there keeps its rights: who has chosen one that
    is shared wants it so.

    Raises
    ------
    OSError
        If it cannot be made.
    """
    if not path.is_dir():
        if path.parent != path:
            private_folder(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)
    return path


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file that is renamed to `path` once the body has ended and it is on the disk.

    An existing file at `path` stays unchanged until then; if the body fails, the new one is removed.

    Raises
    ------
    OSError
        If the folder is missing or cannot be written to, or the disk is full.
    """
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(partial).chmod(0o644)
        Path(partial).replace(path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


def write_adapter_file(path: str | os.PathLike[str], content: bytes) -> Path:
    """Write an adapter's bytes, whole or not at all.

    Raises
    ------
    AdapterError
        If the folder is missing or cannot be written to, or the disk is full.
    """
    target = Path(path)
    try:
        with whole_file(target) as file:
            file.write(content)
    except OSError as error:
        if os.access(target.parent, os.W_OK):
            told = f"{target} cannot be written: {error.strerror}; make room, or choose another place"
        else:
            told = f"cannot write to {target.parent}: {error.strerror}; choose another folder"
        raise AdapterError(told) from error
    return target
