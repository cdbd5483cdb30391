"""Getting adapters: from a file, a folder, an address, a Zenodo record, or Hugging Face."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urldefrag, urlsplit

from napari_salt.terms.errors import InputError
from napari_salt.terms.text import printable, reason
from napari_salt.terms.web import open_url

__all__ = ["REPOSITORY", "Fetched", "fetched", "hugging_face", "zenodo"]

ENDING = ".safetensors"
MAX_BYTES, MAX_RECORD_BYTES, MAX_FILES = 100_000_000, 5_000_000, 100
SECONDS = 30.0
ALGORITHMS = {"sha256": 64, "md5": 32, "git": 40}
"""Hexadecimal digits of each; "git": SHA-1 of a blob, of its header and its content."""
ZENODO, HUGGING_FACE = "https://zenodo.org", "https://huggingface.co"
RECORD = re.compile(
    r"zenodo:(\d{1,12})|https://zenodo\.org/records?/(\d{1,12})/?|(?:https://doi\.org/)?10\.5281/zenodo\.(\d{1,12})"
)


REPOSITORY = re.compile(
    r"(?:huggingface:|https://huggingface\.co/)([A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})/?", re.ASCII
)
COMMIT = re.compile("[0-9a-f]{40}")


def zenodo() -> str:
    """Address of Zenodo, or of the server that ``NAPARI_SALT_ZENODO`` names, such as its sandbox."""
    return os.environ.get("NAPARI_SALT_ZENODO", ZENODO).rstrip("/")


def hugging_face() -> str:
    """Address of Hugging Face, or of the server that ``HF_ENDPOINT`` names."""
    return os.environ.get("HF_ENDPOINT", HUGGING_FACE).rstrip("/")


@dataclass(frozen=True)
class Fetched:
    """An adapter's file from somewhere: the name of the file, without its ending, and its content."""

    name: str
    content: bytes


def fetched(source: str) -> Iterator[Fetched]:
    """Read or download adapters.

    Parameters
    ----------
    source
        Path of a file, or of a folder whose ``.safetensors`` files are meant; an address that begins with
        ``https://`` or ``http://``, with ``#sha256=HEX`` after it where its content is known; a Zenodo
        record: ``zenodo:NUMBER``, its address or its DOI; or a public repository of Hugging Face:
        ``huggingface:OWNER/NAME`` or its address.

    Yields
    ------
    Fetched
        Not checked to be an adapter yet.

    Raises
    ------
    InputError
        If there is nothing, it is too large, or does not have the given or published hash.
    """
    record, repository = RECORD.fullmatch(source), REPOSITORY.fullmatch(source)
    if repository:
        yield from _of_repository(repository[1])
    elif record:
        yield from _of_record(next(number for number in record.groups() if number))
    elif re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", source):
        address, fragment = urldefrag(source)
        yield _downloaded(address, unquote(urlsplit(address).path).rpartition("/")[2], _digest_of(fragment))
    else:
        yield from _of_path(Path(source))


def _of_path(path: Path) -> Iterator[Fetched]:
    if path.is_dir():
        files = sorted(file for file in path.glob(f"*{ENDING}") if not file.name.startswith("."))
    else:
        files = [path]
    if not files:
        raise InputError(f"there is no {ENDING} file in {path}; give the folder that holds them")
    for file in files:
        try:
            if file.stat().st_size > MAX_BYTES:
                raise InputError(f"{file} has more than {MAX_BYTES} bytes; an adapter is smaller")
            content = file.read_bytes()
        except OSError as error:
            raise InputError(
                f"{file} cannot be read: {error.strerror}; give a file, a folder, an address or zenodo:NUMBER"
            ) from error
        yield Fetched(_stem(file.name), content)


def _of_record(number: str) -> Iterator[Fetched]:
    """Adapters among the files of a Zenodo record; each must have the hash that Zenodo has published."""
    address = f"{zenodo()}/api/records/{number}"
    files = _listed(address, lambda told: [_file(entry) for entry in told["files"]], "a record", "number")
    files = [file for file in files if file[0].endswith(ENDING)][:MAX_FILES]
    if not files:
        raise InputError(f"the Zenodo record {number} holds no {ENDING} file; check its number")
    for name, link, digest in files:
        yield _downloaded(link, name, digest)


def _of_repository(name: str) -> Iterator[Fetched]:
    """Adapters among the files of a repository of Hugging Face, all of one commit, with its hashes."""
    base = hugging_face()

    def parse(told: Any) -> list[tuple[str, str, str]]:
        commit = COMMIT.fullmatch(told["sha"])
        if commit is None:
            raise ValueError("its commit has no hash")
        named = [(str(entry["rfilename"]), entry) for entry in told["siblings"]]
        return [
            (file, f"{base}/{name}/resolve/{commit[0]}/{quote(file)}", _digest_of_blob(entry))
            for file, entry in named
            if file.endswith(ENDING)
        ]

    files = _listed(f"{base}/api/models/{name}?blobs=true", parse, "a repository", "name")[:MAX_FILES]
    if not files:
        raise InputError(f"the repository {name} of Hugging Face holds no {ENDING} file; check its name")
    for file, address, digest in files:
        yield _downloaded(address, file.rpartition("/")[2], digest)


def _digest_of_blob(entry: Any) -> str:
    """The hash of a file of a repository: that of a large file, else that which git gives its content."""
    lfs = entry.get("lfs")
    return _checked_digest(f"sha256:{lfs['sha256']}" if lfs else f"git:{entry['blobId']}")


def _listed(
    address: str, parse: Callable[[Any], list[tuple[str, str, str]]], what: str, check: str
) -> list[tuple[str, str, str]]:
    """Name, address and ``"algorithm:hex"`` of files that a server lists."""
    content = _content(address, MAX_RECORD_BYTES)
    try:
        return parse(json.loads(content))
    except InputError:
        raise
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"{address} does not describe {what} ({reason(error)}); check its {check}"
        ) from error


def _file(entry: Any) -> tuple[str, str, str]:
    """Name, address and ``"algorithm:hex"`` of a file of a record."""
    name, link, digest = str(entry["key"]), str(entry["links"]["self"]), str(entry["checksum"])
    return name, link, _checked_digest(digest)


def _digest_of(fragment: str) -> str:
    """``"sha256:hex"`` of ``sha256=hex``; "" of nothing."""
    return _checked_digest(fragment.replace("=", ":", 1)) if fragment else ""


def _checked_digest(digest: str) -> str:
    algorithm, _, value = digest.lower().partition(":")
    if not re.fullmatch(f"[0-9a-f]{{{ALGORITHMS.get(algorithm, 0)}}}", value) or not value:
        raise InputError(f"{printable(digest)[:100]} is no hash; give #sha256= and 64 hexadecimal digits")
    return f"{algorithm}:{value}"


def _downloaded(address: str, name: str, digest: str) -> Fetched:
    content = _content(address, MAX_BYTES)
    if digest:
        algorithm, _, expected = digest.partition(":")
        found = _hashed(content, algorithm)
        if found != expected:
            raise InputError(
                f"{address} has {algorithm} {found[:12]}... instead of {expected[:12]}...; it was changed or "
                "damaged: ask where you got the address"
            )
    return Fetched(_stem(name), content)


def _hashed(content: bytes, algorithm: str) -> str:
    if algorithm == "git":
        algorithm, content = "sha1", b"blob %d\0" % len(content) + content
    return hashlib.new(algorithm, content, usedforsecurity=False).hexdigest()


def _content(address: str, most: int) -> bytes:
    """What an address gives, at most `most` bytes."""
    try:
        with open_url(address, SECONDS) as response:
            content: bytes = response.read(most + 1)
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, InputError):
            raise
        told = reason(error)
        raise InputError(
            f"{printable(address)} cannot be downloaded: {told}; get the file elsewhere"
        ) from error
    if len(content) > most:
        raise InputError(f"{printable(address)} gives more than {most} bytes; an adapter is smaller")
    return content


def _stem(name: str) -> str:
    return name.removesuffix(ENDING).removesuffix(".salt")
