"""The cache folder, digests of files, and where checkpoints of known digests lie; imports no torch."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import platformdirs
import xxhash
from filelock import FileLock

from napari_salt.terms.files import private_folder, whole_file

__all__ = [
    "cache_folder",
    "file_digests",
    "is_file",
    "known_checkpoint",
    "remember_checkpoint",
    "write_atomically",
]

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
        name: xxhash.xxh128() if name == "xxh128" else hashlib.new(name, usedforsecurity=False)
        for name in set(algorithms)
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
    private_folder(path.parent)
    with whole_file(path) as file:
        file.write(content)


def is_file(name: str) -> bool:
    """Whether `name` is the path of a file; no error for what cannot be a path."""
    return os.path.isfile(name)  # noqa: PTH113 - Path.is_file raises on overlong names


def remember_checkpoint(path: Path, digests: Iterable[str]) -> None:
    """Record that a file with these ``"algorithm:hex"`` digests lies at `path`."""
    record = cache_folder() / REMEMBERED
    try:
        private_folder(record.parent)
        with FileLock(record.with_suffix(".lock"), timeout=10):
            before = _remembered()
            entries = before | dict.fromkeys(digests, _note(path))
            if entries != before:
                write_atomically(record, json.dumps(entries, indent=1).encode())
    except OSError as error:
        logger.warning("cannot note where %s lies: %s", path, error)


def known_checkpoint(*digests: str) -> Path | None:
    """Path of a file recorded under one of `digests`, if it is still there and was not changed since."""
    entries = _remembered()
    for note in (entries[digest] for digest in digests if digest in entries):
        path = Path(note["path"])
        if is_file(note["path"]) and _note(path) == note:
            return path
    return None


def _note(path: Path) -> dict[str, Any]:
    """Path of a file, and its size and modification time, which show whether it was changed."""
    stat = path.stat()
    return {"path": str(path.resolve()), "bytes": stat.st_size, "modified_ns": stat.st_mtime_ns}


def _remembered() -> dict[str, dict[str, Any]]:
    try:
        entries = json.loads((cache_folder() / REMEMBERED).read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(entries, dict):
        return {}
    return {k: n for k, n in entries.items() if isinstance(n, dict) and isinstance(n.get("path"), str)}
