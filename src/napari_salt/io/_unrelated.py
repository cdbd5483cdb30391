"""Folders of unrelated images that differ in shape or type, and so cannot be one stack."""

from __future__ import annotations

from pathlib import Path

from napari_salt.io._folder import differ_in_kind, files_in_order
from napari_salt.io._paths import is_there
from napari_salt.io._table import format_to_read
from napari_salt.terms.errors import InputError

__all__ = ["as_pairs"]

SINGLE_SLICES = "images of single slices"


def as_pairs(image: Path, labels: Path) -> list[tuple[Path, Path]] | None:
    """Pair the images of a folder or pattern with those of another, both in natural order.

    Parameters
    ----------
    image, labels
        Folders or patterns of unrelated images and of their labels.

    Returns
    -------
    list or None
        Pairs of files. None where the images are of one shape and type, so that they can be one stack, or
        where `image` is a file.

    Raises
    ------
    InputError
        If there are not as many labels as images.
    """
    if not is_there(image) or format_to_read(image).name != SINGLE_SLICES or not differ_in_kind(image):
        return None
    if not is_there(labels):
        raise InputError(f"{labels} does not exist: check the path")
    files, paints = files_in_order(image), files_in_order(labels)
    if len(files) != len(paints):
        raise InputError(
            f"{image} has {len(files)} images, and {labels} has {len(paints)} labels: give labels of each, "
            "in the order of their names"
        )
    return list(zip(files, paints, strict=True))
