"""The command ``adapters``: a library of adapters, mixtures of them, and giving them to others."""

from __future__ import annotations

import argparse
import math
from typing import Any

from napari_salt.cli._about import info
from napari_salt.cli._inputs import adapter_file, check_adapter_path, given_texts, load, prepare_base
from napari_salt.cli._terminal import say, tell
from napari_salt.io import read_stack
from napari_salt.terms.card import AdapterCard, described
from napari_salt.terms.errors import InputError
from napari_salt.terms.fetching import REPOSITORY, fetched
from napari_salt.terms.library import Entry, Library
from napari_salt.terms.publishing import check_publishable, to_hugging_face, to_zenodo
from napari_salt.terms.readme import body_of

__all__ = ["adapters"]

Result = tuple[dict[str, Any], bool]


def adapters(options: argparse.Namespace) -> Result:
    """``napari-salt adapters``."""
    actions = {"list": _list, "add": _add, "remove": _remove, "show": _show, "mix": _mix, "publish": _publish}
    return actions[options.action](options), False


def _list(options: argparse.Namespace) -> dict[str, Any]:
    library = Library()
    ranked = [(entry, 0.0, "") for entry in library.entries(options.words)]
    if options.image is not None:
        ranked = _by_fit([entry for entry, _, _ in ranked], options)
    for entry, _, words in ranked:
        if not options.json:
            say(f"{entry.line} ({words})" if words else entry.line)
    if not ranked:
        tell(f"no adapter in {library.folder} matches; napari-salt adapters add FILE puts one there")
    rows = [_row(entry) for entry, _, _ in ranked]
    for row, (_, score, words) in zip(rows, ranked, strict=True):
        if options.image is not None:
            row |= {"misfit": score if math.isfinite(score) else None, "why": words}
    return {"folder": str(library.folder), "adapters": rows}


def _by_fit(entries: list[Entry], options: argparse.Namespace) -> list[tuple[Entry, float, str]]:
    """Entries with how unlike the image their training stack was, the most alike first."""
    from napari_salt.core.paint.likeness import misfit

    image = read_stack(options.image, axes=options.axes, channel=options.channel)
    found = [(entry, *misfit(entry.card, image.data, image.pixel_size)) for entry in entries]
    return sorted(found, key=lambda one: one[1])


def _row(entry: Entry) -> dict[str, Any]:
    card = entry.card
    return {
        "name": entry.name,
        "path": str(entry.path),
        "classes": [info.name for info in card.shown_classes],
        "base_model": card.base_model,
        "pixel_size": card.preprocess.pixel_size,
        "channels": card.preprocess.channels,
        "held_out_dice": entry.mean_dice,
        "author": card.author,
        "license": card.license,
        "note": card.description,
    }


def _add(options: argparse.Namespace) -> dict[str, Any]:
    library, texts = Library(), given_texts(options)
    found = list(fetched(options.source))
    if options.called and len(found) > 1:
        raise InputError(f"{options.source} holds {len(found)} adapters; leave --as out")
    entries = []
    for file in found:
        content = described(file.content, **texts) if texts else file.content
        entry = library.add(content, options.called or file.name, replace=options.replace)
        entries.append(entry)
        if not options.json:
            say(entry.line)
    return {"folder": str(library.folder), "adapters": [_row(entry) for entry in entries]}


def _remove(options: argparse.Namespace) -> dict[str, Any]:
    path = Library().remove(options.adapter)
    tell(f"{path} is removed")
    return {"removed": str(path)}


def _show(options: argparse.Namespace) -> dict[str, Any]:
    options.adapter = adapter_file(options.adapter)
    return info(options)[0]


def _mix(options: argparse.Namespace) -> dict[str, Any]:
    check_adapter_path(options.out)
    loaded = [load(path) for path in options.adapters]
    from napari_salt.core.adapt.mixing import mix

    prepare_base(loaded[0], None)
    weights = options.weights or [1 / len(loaded)] * len(loaded)
    mixed = mix(loaded, weights, strength=options.strength).with_texts(given_texts(options))
    mixed.save(options.out)
    tell(f"the mixture is in {options.out}")
    return {"adapter": str(options.out), "weights": list(weights), "strength": options.strength}


def _publish(options: argparse.Namespace) -> dict[str, Any]:
    path = adapter_file(options.adapter)
    (file,) = fetched(str(path))
    content, texts = file.content, given_texts(options)
    content = described(content, **texts) if texts else content
    card = AdapterCard.from_bytes(content)
    check_publishable(card)
    name = file.name
    repository = REPOSITORY.fullmatch(options.to)
    if repository is None and options.to != "zenodo":
        raise InputError(f"--to is {options.to!r}; give huggingface:OWNER/NAME or zenodo")
    if options.dry_run:
        say(body_of(card, name, options.to))
        return {"to": options.to, "address": None, "bytes": len(content)}
    if repository is not None:
        address = to_hugging_face(content, card, name, repository[1], private=options.private)
        tell(f"it is at {address}; others run napari-salt adapters add huggingface:{repository[1]}")
    else:
        address = to_zenodo(content, card, name)
        tell(f"the draft is at {address}; look at it, and publish it there: nobody else sees it before")
    return {"to": options.to, "address": address, "bytes": len(content)}
