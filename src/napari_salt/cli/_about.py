"""The commands ``info`` and ``bases``; they import neither torch nor the file formats."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from napari_salt.cli._terminal import progress_bar, say
from napari_salt.terms.card import AdapterCard, parameters_in
from napari_salt.terms.methods import METHODS
from napari_salt.terms.registry import BASES, base_spec

if TYPE_CHECKING:
    from napari_salt.terms.registry import BaseSpec

__all__ = ["bases", "fetch", "info"]

Result = tuple[dict[str, Any], bool]


def info(options: argparse.Namespace) -> Result:
    """``napari-salt info``."""
    adapter = AdapterCard.read(options.adapter)
    card = {
        "file": str(options.adapter),
        "format": "napari-salt",
        "peft_type": METHODS[adapter.method].peft_type,
        "method": adapter.method,
        "base_model": adapter.base_model,
        "base_sha256": adapter.base_sha256,
        "weights_sha256": adapter.weights_sha256,
        "parameters": parameters_in(options.adapter),
        "bytes": options.adapter.stat().st_size,
        "config": asdict(adapter.salt),
        "classes": [asdict(c) for c in adapter.classes],
        "preprocess": asdict(adapter.preprocess),
        "training": dict(adapter.training),
        "name": adapter.name,
        "description": adapter.description,
        "author": adapter.author,
        "license": adapter.license,
    }
    if not options.json:
        for key, value in card.items():
            say(f"{key}: {value if isinstance(value, str) else json.dumps(value)}")
    return card, False


def bases(options: argparse.Namespace) -> Result:
    """``napari-salt bases``."""
    if options.download:
        fetch(base_spec(options.download))
    rows = [
        {
            "name": spec.name,
            "kind": spec.kind,
            "licence": spec.licence,
            "input_size": spec.input_size,
            "bytes": spec.size or None,
            "digest": spec.digest,
            "url": spec.url or None,
            "state": spec.state,
            "path": str(spec.checkpoint() or spec.place),
        }
        for spec in BASES.values()
    ]
    if not options.json:
        for spec in BASES.values():
            megabytes = f"{spec.size / 1e6:.0f} MB" if spec.size else "size not published"
            say(
                f"{spec.name}  {spec.kind}  {spec.licence}  input {spec.input_size}x{spec.input_size}  "
                f"{megabytes}  {spec.state}"
            )
    return {"bases": rows}, False


def fetch(spec: BaseSpec) -> None:
    """Download the weights of `spec` with a progress bar, unless they are on this machine."""
    from napari_salt.core.bases.download import download

    there = spec.checkpoint() is not None
    with progress_bar(spec.size or None, spec.name, "B", unit_scale=True, disable=there) as bar:
        for progress in download(spec):
            bar.total = progress.total or None
            bar.update(progress.received - bar.n)
