"""Giving an adapter to others: to a repository of Hugging Face, or as a draft on Zenodo. Imports no torch."""

from __future__ import annotations

import http.client
import json
import os
import urllib.error
from html import escape
from typing import Any
from urllib.parse import quote, urlsplit

from napari_salt.terms.card import AdapterCard
from napari_salt.terms.errors import InputError
from napari_salt.terms.fetching import hugging_face, zenodo
from napari_salt.terms.readme import body_of
from napari_salt.terms.text import printable, reason, shortened
from napari_salt.terms.web import check_private, send

__all__ = ["check_publishable", "to_hugging_face", "to_zenodo"]

ENDING, README = ".salt.safetensors", "README.md"
LIBRARY, KEYWORDS = "napari-salt", ("napari-salt", "segment-anything", "image-segmentation", "salt")
SECONDS = 60.0
MAX_ANSWER = 5_000_000
TOKEN = "ZENODO_TOKEN"  # noqa: S105 (the name of a variable) # nosec B105


def check_publishable(card: AdapterCard) -> None:
    """Raise InputError for an adapter that does not say who has made it and what others may do with it."""
    for field, flag in (("author", "--author"), ("license", "--license")):
        if not getattr(card, field).strip():
            raise InputError(f"the adapter has no {field}, which others need; give it with {flag}")


def to_hugging_face(content: bytes, card: AdapterCard, name: str, repository: str, *, private: bool) -> str:
    """Put an adapter into a repository of Hugging Face, which is made if there is none.

    The token is the one that the package huggingface_hub finds (``hf auth login``, or ``HF_TOKEN``). A page
    that the repository has already stays as it is.

    Parameters
    ----------
    content, card
        The adapter's file, and its metadata.
    name
        Name of the file, without its ending.
    repository
        ``OWNER/NAME``.
    private
        Whether a new repository is for its owner alone.

    Returns
    -------
    str
        Address of the repository.

    Raises
    ------
    InputError
        If the package is missing, there is no token, or the server refuses.
    """
    try:
        from huggingface_hub import CommitOperationAdd, HfApi
        from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined] # of the client in use
    except ImportError as error:
        raise InputError(
            'Hugging Face needs the package huggingface_hub; run pip install "napari-salt[huggingface]"'
        ) from error
    address = hugging_face()
    check_private(address)
    api = HfApi(endpoint=address)
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        added = [CommitOperationAdd(f"{name}{ENDING}", content)]
        if not api.file_exists(repository, README):
            added.append(CommitOperationAdd(README, _page(card, name, repository).encode()))
        api.create_commit(repository, added, commit_message=f"Add {name}")
    except (HTTPError, OSError, ValueError) as error:
        raise InputError(
            f"{address} does not take it: {reason(error)}; check the name of the repository, and the token "
            "(hf auth login, or HF_TOKEN)"
        ) from error
    return f"{address}/{repository}"


def _page(card: AdapterCard, name: str, repository: str) -> str:
    """The page of a repository: what Hugging Face sorts by, then the words."""
    from huggingface_hub import ModelCardData

    facts = ModelCardData(
        license=card.license.lower(),
        library_name=LIBRARY,
        pipeline_tag="image-segmentation",
        tags=[*KEYWORDS],
    )
    return f"---\n{facts.to_yaml()}\n---\n\n{body_of(card, name, f'huggingface:{repository}')}"


def to_zenodo(content: bytes, card: AdapterCard, name: str) -> str:
    """Make a draft of a record on Zenodo with an adapter in it; it is not published.

    The token is in the environment variable ``ZENODO_TOKEN``; it needs the scope *deposit:write*.

    Parameters
    ----------
    content, card
        The adapter's file, and its metadata.
    name
        Name of the file, without its ending.

    Returns
    -------
    str
        Address of the draft, which only its owner sees.

    Raises
    ------
    InputError
        If there is no token, or the server refuses.
    """
    token, base = os.environ.get(TOKEN, "").strip(), zenodo()
    if not token:
        raise InputError(
            f"there is no token in {TOKEN}; make one with the scope deposit:write at "
            f"{base}/account/settings/applications"
        )
    made = _sent(f"{base}/api/deposit/depositions", "POST", json.dumps(_record(card, name)).encode(), token)
    bucket, draft = _links(made, base)
    for file, data in ((f"{name}{ENDING}", content), (README, body_of(card, name, "zenodo:NUMBER").encode())):
        _sent(f"{bucket}/{quote(file)}", "PUT", data, token)
    return draft


def _record(card: AdapterCard, name: str) -> dict[str, Any]:
    """The draft's metadata, in the words of Zenodo."""
    about = f"Adapter of napari-salt for {', '.join(info.name for info in card.shown_classes)}."
    return {
        "metadata": {
            "title": card.name or name,
            "upload_type": "other",
            "description": "<p>"
            + "</p><p>".join(map(escape, filter(None, (card.description, about))))
            + "</p>",
            "creators": [{"name": card.author}],
            "license": card.license.lower(),
            "keywords": [*KEYWORDS],
        }
    }


def _links(made: Any, base: str) -> tuple[str, str]:
    """Where the draft's files go, and its page; the token goes to no other server than `base`."""
    try:
        bucket, draft = str(made["links"]["bucket"]), str(made["links"]["html"])
    except (LookupError, TypeError) as error:
        raise InputError(f"{base} made no draft ({reason(error)}); try again later") from error
    if urlsplit(bucket)[:2] != urlsplit(base)[:2]:
        raise InputError(
            f"{base} wants the files at {shortened(printable(bucket), 200)}; the token is not sent there"
        )
    return bucket.rstrip("/"), printable(draft)


def _sent(address: str, method: str, content: bytes, token: str) -> Any:
    """The server's answer to what is sent."""
    kind = "application/json" if method == "POST" else "application/octet-stream"
    headers = {"Authorization": f"Bearer {token}", "Content-Type": kind}
    try:
        with send(address, method, content, headers, SECONDS) as response:
            return json.loads(response.read(MAX_ANSWER))
    except (OSError, http.client.HTTPException, ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        told = error.read(1000).decode(errors="replace") if isinstance(error, urllib.error.HTTPError) else ""
        told = printable(" ".join(f"{reason(error)} {told}".split()))
        raise InputError(
            f"{address} does not take it: {shortened(told, 300)}; check the token in {TOKEN}"
        ) from error
