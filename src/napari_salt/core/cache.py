"""The cache folder, digests of files, and where checkpoints of known digests lie; imports no torch."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import platformdirs
import xxhash
from filelock import FileLock

__all__ = ["cache_folder", "file_digests", "known_checkpoint", "remember_checkpoint", "write_atomically"]

logger = logging.getLogger(__name__)

CHUNK = 1 << 20
REMEMBERED = "checkpoints.json"


def cache_folder() -> Path:
    """Folder for downloaded bases and what is computed from them.

    ``NAPARI_SALT_CACHE`` if it is set, else the platform's cache folder. It may not exist yet.
    """
    chosen = os.environ.get("NAPARI_SALT_CACHE")
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("napari-salt"))


def file_digests(path: Path, algorithms: Iterable[str]) -> dict[str, str]:
    """Hexadecimal digests of a file by algorithm (those of hashlib, and xxh128), read once."""
    hashes: dict[str, Any] = {
        name: xxhash.xxh128() if name == "xxh128" else hashlib.new(name) for name in set(algorithms)
    }
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            for each in hashes.values():
                each.update(chunk)
    return {name: each.hexdigest() for name, each in hashes.items()}


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file of the cache, whole or not at all; makes its folder.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(partial).replace(path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


def remember_checkpoint(path: Path, digests: Iterable[str]) -> None:
    """Note that a file of these ``"algorithm:hex"`` digests lies at `path`."""
    record = cache_folder() / REMEMBERED
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(record.with_suffix(".lock"), timeout=10):
            entries = _remembered() | dict.fromkeys(digests, str(path.resolve()))
            write_atomically(record, json.dumps(entries, indent=1).encode())
    except (OSError, TimeoutError) as error:
        logger.warning("cannot note where %s lies: %s", path, error)


def known_checkpoint(*digests: str) -> Path | None:
    """A file that was noted under one of `digests` and is still there."""
    entries = _remembered()
    paths = (Path(entries[digest]) for digest in digests if digest in entries)
    return next((path for path in paths if path.is_file()), None)


def _remembered() -> dict[str, str]:
    try:
        entries = json.loads((cache_folder() / REMEMBERED).read_bytes())
    except (OSError, ValueError):
        return {}
    valid = isinstance(entries, dict) and all(isinstance(path, str) for path in entries.values())
    return entries if valid else {}
