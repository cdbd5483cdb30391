"""Names and colours of classes in OME-Zarr: the metadata ``image-label`` of a label image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from napari_salt.terms.card import ClassInfo
from napari_salt.terms.errors import InputError
from napari_salt.terms.text import printable

__all__ = ["classes_of", "image_label"]

UNKNOWN_COLOR = "#808080"
NAMES = ("class", "name", "label")
"""Properties in which programs keep the name of a label."""


def image_label(classes: Sequence[ClassInfo]) -> dict[str, Any]:
    """Give the metadata of labels with these classes; https://ngff.openmicroscopy.org/0.5/#label-md."""
    if not classes:
        return {}
    colors = [{"label-value": c.value, "rgba": [*bytes.fromhex(c.color[1:]), 255]} for c in classes]
    return {
        "colors": colors,
        "properties": [{"label-value": info.value, "class": info.name} for info in classes],
    }


def classes_of(metadata: Any) -> tuple[ClassInfo, ...]:
    """Give the classes that the metadata names, in the order of their values; those without a name are not.

    Parameters
    ----------
    metadata
        The file's ``image-label``, of whatever form.
    """
    colors = {entry["label-value"]: _color(entry.get("rgba")) for entry in _entries(metadata, "colors")}
    found: dict[int, ClassInfo] = {}
    for entry in _entries(metadata, "properties"):
        value = entry["label-value"]
        name = next((entry[key] for key in NAMES if isinstance(entry.get(key), str)), "")
        try:
            found[value] = ClassInfo(value, printable(name), colors.get(value, UNKNOWN_COLOR))
        except InputError:  # a name of many lines; the labels can be used all the same
            continue
    return tuple(found[value] for value in sorted(found) if found[value].name)


def _entries(metadata: Any, key: str) -> list[Mapping[str, Any]]:
    entries = metadata.get(key) if isinstance(metadata, Mapping) else None
    if not isinstance(entries, list):
        return []
    return [e for e in entries if isinstance(e, Mapping) and type(e.get("label-value")) is int]


def _color(rgba: Any) -> str:
    fits = isinstance(rgba, list) and len(rgba) >= 3
    if fits and all(type(part) is int and 0 <= part <= 255 for part in rgba[:3]):
        return f"#{bytes(rgba[:3]).hex()}"
    return UNKNOWN_COLOR
