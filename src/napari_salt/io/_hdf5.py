"""Datasets of HDF5 files, with the axes that ilastik writes and the voxel size of Fiji's HDF5 plugin."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py

from napari_salt.io._axes import given_axes, named_axes, plain_axes
from napari_salt.io._format import Opened, reading
from napari_salt.io._paths import split_inner
from napari_salt.io._units import Spacing, of_the_voxel
from napari_salt.terms.errors import InputError

__all__ = ["open_hdf5"]

_MOST_NAMED = 8


def open_hdf5(path: Path, axes: str | None, *, labels: bool = False) -> Opened:
    """Open a dataset: the only one of two axes or more, or the one that ``file.h5:/path`` names.

    Raises
    ------
    InputError
        If the file is damaged, holds several datasets and none is named, or the axes are ambiguous.
    """
    file, inside = split_inner(path)
    with reading(file, "an HDF5 file"):
        opened = h5py.File(file, "r")
        try:
            data = _dataset(opened, inside, file)
            shape = tuple(data.shape)
            letters = _letters(data.attrs, shape, axes, path, labels=labels)
            spacing, unit = _voxel(data.attrs, letters)
        except BaseException:
            opened.close()
            raise
    return Opened(data, letters, spacing, unit, close=opened.close)


def _dataset(file: h5py.File, inside: str, path: Path) -> h5py.Dataset:
    found: dict[str, h5py.Dataset] = {}

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim > 1 and item.dtype.kind in "buif":
            found[name] = item

    if inside:
        item = file.get(inside)
        if isinstance(item, h5py.Dataset):
            return item
        file.visititems(note)
        what = "is a group" if item is not None else "is not there"
        raise InputError(f"{path}: /{inside} {what}: name one of its datasets ({_listed(found)})")
    file.visititems(note)
    if len(found) == 1:
        return next(iter(found.values()))
    if not found:
        raise InputError(f"{path} holds no dataset of two axes or more: name a file with an image")
    raise InputError(
        f"{path} holds {len(found)} datasets ({_listed(found)}): name one, such as "
        f"{path}:/{next(iter(found))}"
    )


def _listed(names: Mapping[str, Any]) -> str:
    some = [f"/{name} of {'x'.join(map(str, data.shape))}" for name, data in names.items()][:_MOST_NAMED]
    return ", ".join(some) + (f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else "")


def _letters(
    attributes: Mapping[str, Any], shape: tuple[int, ...], axes: str | None, path: Path, *, labels: bool
) -> str:
    """Axis letters: the user's, else those of ilastik's ``axistags``, else what an unnamed array can mean."""
    found = _axistags(attributes, len(shape))
    if axes:
        return given_axes(axes, found or "?", shape, path)
    return named_axes(found, shape, path) if found else plain_axes(shape, path, labels=labels)


def _axistags(attributes: Mapping[str, Any], n_axes: int) -> str:
    """Letters of vigra's axis tags, Q for one that we do not know; "" where there are none."""
    tags = attributes.get("axistags")
    if tags is None:
        return ""
    keys = [str(entry["key"]).upper() for entry in json.loads(tags)["axes"]]
    if len(keys) != n_axes:
        raise ValueError(f"axistags name {len(keys)} axes, the dataset has {n_axes}")
    return "".join(key if key in set("TZCYX") else "Q" for key in keys)


def _voxel(attributes: Mapping[str, Any], letters: str) -> tuple[Spacing | None, str | None]:
    """Voxel size by ``element_size_um`` (z, y, x), as Fiji's HDF5 plugin and PlantSeg write it."""
    sizes = attributes.get("element_size_um")
    if sizes is None or len(sizes) not in (2, 3):
        return None, None
    known = dict(zip("ZYX"[-len(sizes) :], map(float, sizes), strict=True))
    own = [known.get(letter.replace("N", "Z"), 1.0) for letter in letters]
    return of_the_voxel(letters, own, ["um"] * len(letters))
