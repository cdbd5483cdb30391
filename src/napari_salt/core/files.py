"""Writing a file so that it is there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from napari_salt.core.errors import AdapterError

__all__ = ["write_adapter_file"]


def write_adapter_file(path: str | os.PathLike[str], content: bytes) -> Path:
    """Write an adapter's bytes; a file that was there stays whole until the new one is complete.

    Raises
    ------
    AdapterError
        If the folder is missing or cannot be written to, or the disk is full.
    """
    target = Path(path)
    try:
        handle, partial = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    except OSError as error:
        raise AdapterError(
            f"cannot write to {target.parent}: {error.strerror}; choose another folder"
        ) from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(partial).chmod(0o644)
        Path(partial).replace(target)
    except BaseException as error:
        Path(partial).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise AdapterError(
                f"{target} cannot be written: {error.strerror}; make room, or choose another place"
            ) from error
        raise
    return target
