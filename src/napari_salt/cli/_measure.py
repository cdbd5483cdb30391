"""``napari-salt measure``: a table of the classes or the objects of a segmentation."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_salt.cli._inputs import label_axes
from napari_salt.cli._terminal import begun, progress_bar, tell
from napari_salt.io import Stack, read_labels, read_stack
from napari_salt.io._write import check_folder
from napari_salt.results.kinds import By
from napari_salt.results.measure import measure_events
from napari_salt.results.table import Table
from napari_salt.terms.card import AdapterCard
from napari_salt.terms.errors import InputError
from napari_salt.terms.text import printable
from napari_salt.terms.units import MICROMETRES

__all__ = ["Measuring", "measure", "names_of", "opened", "table_of"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Measuring:
    """How a segmentation is measured.

    Parameters
    ----------
    by
        What has a row.
    independent
        Whether slices are unrelated images.
    pixel_size
        Micrometres along (y, x) or (z, y, x); None: what the files say.
    unit
        "um" or "mm"; None: that of the file.
    """

    by: By = "classes"
    independent: bool = False
    pixel_size: tuple[float, ...] | None = None
    unit: str | None = None

    @classmethod
    def of(cls, options: argparse.Namespace) -> Measuring:
        """As the arguments say."""
        return cls(options.by, options.independent, options.pixel_size, options.unit)


def measure(options: argparse.Namespace) -> tuple[dict[str, Any], bool]:
    """``napari-salt measure``."""
    if options.out is not None:
        _check_table(options.out)
    labels, image = opened(options)
    names = names_of(options)
    names = {info.value: info.name for info in labels.classes} | names
    found = table_of(labels, image, Measuring.of(options), names)
    if options.out is not None:
        found.save(options.out)
        tell(f"{_counted(found, options.by)} in {options.out}")
    elif not options.json:
        sys.stdout.write(printable(found.to_csv(), keep="\n"))
    return {"by": options.by, "rows": list(found.rows())}, False


def names_of(options: argparse.Namespace) -> dict[int, str]:
    """Names of classes: those of the adapter, and over them those that the arguments give."""
    card = AdapterCard.read(options.adapter) if options.adapter else None
    known = {info.value: info.name for info in card.shown_classes} if card else {}
    return known | dict(getattr(options, "class_names", {}))


def table_of(
    labels: Stack, image: Stack | None, how: Measuring, names: Mapping[int, str], *, quiet: bool = False
) -> Table:
    """Measure with a progress bar; `quiet`: without, and without warnings of unknown sizes.

    Raises
    ------
    InputError
        If labels and image do not fit, or the pixel size does not fit the labels.
    """
    flat = how.independent or labels.was_2d or "N" in labels.axes
    sizes, unit, unknown = _sizes(labels, image, how, flat=flat)
    if unknown and not quiet:
        logger.warning(unknown)
    world = None if how.pixel_size else _to_world(labels if labels.spacing else image or labels, unit)
    events = measure_events(
        labels.data,
        None if image is None else image.data,
        by=how.by,
        pixel_size=sizes,
        unit=unit,
        class_names=names,
        independent=flat,
        group=labels.group,
        to_world=world,
    )
    count = len(labels.data)
    with closing(events), progress_bar(count, "measuring", "slice", disable=quiet) as bar:
        for event in begun(events):
            bar.update(round(event.fraction * count) - bar.n)
            if event.table is not None:
                return event.table
    raise AssertionError  # the last event has a table


def _check_table(path: Path) -> None:
    if path.suffix.lower() != ".csv":
        raise InputError(f"{path}: the table is written as CSV; let the name end with .csv")
    check_folder(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file")


def opened(options: argparse.Namespace) -> tuple[Stack, Stack | None]:
    """Open the segmentation and, if the arguments name it, its image.

    Raises
    ------
    InputError
        If a file cannot be read, or they do not belong together.
    """
    axes = label_axes(options.axes)
    if options.image is None:
        if options.channel is not None:
            raise InputError("--channel is of the image; name it with --image, or leave out --channel")
        return read_labels(options.labels, axes=axes), None
    image = read_stack(options.image, axes=options.axes, channel=options.channel)
    labels = read_labels(options.labels, axes=axes, like=image)
    if labels.data.shape != image.data.shape[:3]:
        raise InputError(
            f"{labels.source} has slices and pixels {labels.data.shape}, but {image.source} "
            f"{image.data.shape[:3]}; give the labels of this image"
        )
    return labels, image


def _sizes(
    labels: Stack, image: Stack | None, how: Measuring, *, flat: bool
) -> tuple[tuple[float, ...] | None, str, str]:
    """Size of a voxel, its unit, and what is not known.

    As the arguments say, else the labels' file, else that of the image.
    """
    known = next((s for s in (labels, image) if s is not None and s.spacing is not None and s.unit), None)
    unit = how.unit or ("mm" if known is not None and known.unit == "mm" else "um")
    if how.pixel_size:
        return tuple(size / MICROMETRES[unit] for size in how.pixel_size), unit, ""
    if known is None or known.spacing is None or known.unit is None:
        told = f"{labels.source} does not tell its pixel size: give --pixel-size for areas or volumes"
        return None, unit, told
    factor = MICROMETRES[known.unit] / MICROMETRES[unit]
    sizes = [None if size is None else factor * size for size in known.spacing][flat:]
    if None in sizes:
        told = f"{known.source} does not tell the distance of its slices: for volumes give --pixel-size Z,Y,X"
        return None, unit, told
    return tuple(size for size in sizes if size is not None), unit, ""


def _to_world(stack: Stack, unit: str) -> NDArray[np.float64] | None:
    """Matrix from (z, y, x, 1) in voxels to (z, y, x, 1) in the world in `unit`; None if not known."""
    if stack.affine is not None:  # to (x, y, z, 1), in mm
        matrix = stack.affine[[2, 1, 0, 3]].copy()
        matrix[:3] *= MICROMETRES["mm"] / MICROMETRES[unit]
        return matrix
    if stack.spacing is None or stack.unit is None:
        return None
    factor = MICROMETRES[stack.unit] / MICROMETRES[unit]
    matrix = np.diag([*(factor * (size or 1.0) for size in stack.spacing), 1.0])
    matrix[:3, 3] = factor * np.array(stack.origin or (0, 0, 0))
    return matrix


def _counted(table: Table, by: str) -> str:
    """How many rows there are, in words."""
    if by == "classes":
        return f"a table of {len(table)} rows is"
    classes = table.columns.get("class_name")
    names = {} if classes is None else {name: int((classes == name).sum()) for name in dict.fromkeys(classes)}
    of_each = ", ".join(f"{count} {name}" for name, count in names.items())
    return f"a table of {len(table)} objects{f' ({of_each})' if len(names) > 1 else ''} is"
