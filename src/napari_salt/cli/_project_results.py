"""The table and the report of a project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_salt.cli._measure import Measuring, table_of
from napari_salt.cli._project_state import Done
from napari_salt.cli._terminal import tell
from napari_salt.io import Stack, read_labels
from napari_salt.io._project_files import Source
from napari_salt.results.project_report import Case, project_html
from napari_salt.results.table import Table, write_text
from napari_salt.terms.card import AdapterCard
from napari_salt.terms.errors import InputError
from napari_salt.terms.options import values_of
from napari_salt.terms.project import Project

__all__ = ["check_results", "joined", "rows_of", "write_results"]

TABLE, REPORT = "table.csv", "report.html"
MOST_PICTURES = 24
SUMMED = ("voxels", "pixels", "volume_", "area_")
"""Columns of objects whose sum is that of the class; by name, or its beginning."""


def check_results(folder: Path) -> None:
    """Raise InputError where a table or a report of something else would be overwritten."""
    for name in (TABLE, REPORT):
        if (folder / name).exists():
            raise InputError(
                f"{folder / name} is there already, and not of a project; move it away, or choose another "
                "output folder"
            )


def rows_of(
    image: Stack, labels: Path, how: Measuring, adapter: AdapterCard, *, count_objects: bool
) -> list[dict[str, Any]]:
    """Rows of the table for an image: one for each class, or one for all objects where these are numbered.

    Parameters
    ----------
    image
        What was segmented.
    labels
        Its segmentation's file.
    how
        How to measure.
    adapter
        Names the classes.
    count_objects
        Whether to count the connected objects of each class.
    """
    found = read_labels(labels, like=image)
    names = {info.value: info.name for info in adapter.shown_classes}
    sized = replace(how, pixel_size=_whole_size(image, how, flat=how.independent or found.was_2d))
    table = table_of(found, image, sized, names, quiet=True)
    if how.by == "numbers":
        return [_summed(table, ", ".join(names.values()))]
    rows = list(table.rows())
    if count_objects:
        objects = table_of(found, image, replace(sized, by="objects"), names, quiet=True)
        for row in rows:
            same = objects["class"] == row["class"]
            if "time" in row and "time" in objects.columns:
                same &= objects["time"] == row["time"]
            row["objects"] = int(same.sum())
    return rows


def _whole_size(image: Stack, how: Measuring, *, flat: bool) -> tuple[float, ...] | None:
    """The size that was given, with the distance of slices that the file says, where a volume needs it."""
    given = how.pixel_size
    if given is None or flat or len(given) == 3:
        return given
    known = image.spacing
    if known is None or known[0] is None or image.unit is None:
        return None
    return (known[0] * {"nm": 1e-3, "um": 1.0, "mm": 1e3}[image.unit], *given)


def _summed(table: Table, name: str) -> dict[str, Any]:
    columns = {n: c for n, c in table.columns.items() if n.startswith(SUMMED)}
    return {"class_name": name, **{n: c.sum().item() for n, c in columns.items()}, "objects": len(table)}


def joined(rows: Sequence[Mapping[str, Any]]) -> Table:
    """One table of rows that may have different columns; what a row lacks is not known."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {}
    for name in names:
        column = np.empty(len(rows), object)
        column[:] = [row.get(name) for row in rows]
        columns[name] = column
    return Table(columns)


def write_results(
    project: Project,
    adapter: AdapterCard,
    done: Sequence[tuple[Source, Path, Done]],
    failed: Mapping[str, str],
) -> tuple[Path | None, Path | None]:
    """Write the table and the report of what is done; give both paths, None where nothing is."""
    if not done:
        return None, None
    folder = project.output_folder
    names = [source.path.name if _alone(source, done) else source.name for source, _, _ in done]
    rows = [{"image": n, **row} for n, (_, _, each) in zip(names, done, strict=True) for row in each.rows]
    table = joined(rows)
    table.save(folder / TABLE)
    if unsized := [n for n, (_, _, each) in zip(names, done, strict=True) if not _has_size(each)]:
        tell(
            f"{len(unsized)} images do not tell their pixel size or the distance of their slices, such as "
            f"{unsized[0]}: for areas and volumes give pixel-size in [images]"
        )
    shown = [done[i] for i in np.unique(np.linspace(0, len(done) - 1, MOST_PICTURES).round().astype(int))]
    cases = [_case(source, labels) for source, labels, _ in shown]
    settings = values_of(project.segmenting)
    write_text(folder / REPORT, project_html(adapter, cases, table, len(done), failed, settings))
    tell(f"the table is in {folder / TABLE}, the report in {folder / REPORT}")
    return folder / TABLE, folder / REPORT


def _has_size(done: Done) -> bool:
    return any(name.startswith(("volume_", "area_")) for row in done.rows for name in row)


def _alone(source: Source, done: Sequence[tuple[Source, Path, Done]]) -> bool:
    """Whether no other image has the same name."""
    return sum(other.path.name == source.path.name for other, _, _ in done) == 1


def _case(source: Source, labels: Path) -> Case:
    """A slice in the middle of an image, with its segmentation."""
    try:
        image = source.open()
        found = read_labels(labels, like=image)
        middle = len(image.data) // 2
        return Case(source.name, middle, np.asarray(image.data[middle]), np.asarray(found.data[middle]))
    except InputError as error:  # the file has gone meanwhile
        return Case(source.name, 0, None, None, str(error))
