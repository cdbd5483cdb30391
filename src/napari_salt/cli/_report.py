"""``napari-salt report``: one HTML file on an adapter and what it has found."""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from napari_salt.cli._measure import Measuring, names_of, opened, table_of
from napari_salt.cli._terminal import tell
from napari_salt.io._write import check_folder
from napari_salt.results.report import Found, report_html
from napari_salt.results.table import write_text
from napari_salt.terms.card import AdapterCard
from napari_salt.terms.errors import InputError

if TYPE_CHECKING:
    from napari_salt.results.kinds import By
    from napari_salt.results.table import Table

__all__ = ["report"]


def report(options: argparse.Namespace) -> tuple[dict[str, Any], bool]:
    """``napari-salt report``."""
    card = AdapterCard.read(options.adapter)
    if options.out.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"{options.out}: the report is HTML; let the name end with .html")
    check_folder(options.out)
    if (options.image is None) != (options.labels is None):
        raise InputError("an image needs its segmentation: give IMAGE and LABELS, or neither")
    found = None if options.image is None else _found(options, card)
    write_text(options.out, report_html(card, found))
    tell(f"the report is in {options.out}")
    classes = [] if found is None or found.table is None else list(found.table.rows())
    return {"report": str(options.out), "classes": classes}, False


def _found(options: argparse.Namespace, card: AdapterCard) -> Found:
    labels, image = opened(options)
    assert image is not None  # noqa: S101 (both are given)
    how = replace(Measuring.of(options), independent=options.independent or card.preprocess.independent)
    names = names_of(options)
    tables: dict[By, Table | None] = {"classes": None, "objects": None}
    wanted: tuple[By, ...] = ("classes", "objects") if options.by == "objects" else (options.by,)
    for by in wanted:
        tables["classes" if by == "classes" else "objects"] = table_of(
            labels, image, replace(how, by=by), names
        )
    used = {key: value for key, value in asdict(card.preprocess).items() if value not in (None, ())}
    return Found(
        image.data,
        labels.data,
        tables["classes"],
        tables["objects"],
        image.source.name,
        tuple(replace(info, name=names.get(info.value, info.name)) for info in card.shown_classes),
        settings={key.replace("_", " "): value for key, value in used.items()},
    )
