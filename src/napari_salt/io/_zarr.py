"""OME-Zarr images: versions up to 0.5 are read at full resolution, 0.5 is written."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from napari_salt.io._axes import axes_of_file, given_axes, unnamed_axes
from napari_salt.io._blosc import checked
from napari_salt.io._classes import classes_of, image_label
from napari_salt.io._format import Layout, Opened, reading
from napari_salt.io._series import chosen
from napari_salt.io._units import of_the_voxel, position
from napari_salt.terms.errors import InputError

__all__ = ["ZarrPlanes", "is_zarr", "open_zarr"]

_LETTERS = {"time": "T", "channel": "C"}
_TYPES = {letter: kind for kind, letter in _LETTERS.items()}
_UNITS = {"nm": "nanometer", "um": "micrometer", "mm": "millimeter"}


def is_zarr(path: Path) -> bool:
    """Whether `path` is a Zarr folder, of version 2 or 3."""
    return any((path / name).is_file() for name in ("zarr.json", ".zarray", ".zgroup"))


def open_zarr(path: Path, axes: str | None, *, labels: bool = False, series: str | None = None) -> Opened:
    """Open the full resolution of an OME-Zarr image, or a Zarr array without metadata.

    `series` chooses one of several images: the field of a plate (such as ``B/03/0``), an image of a group,
    or, if `labels`, one of the labels that belong to an image.

    Raises
    ------
    InputError
        If the folder is damaged, is no Zarr, holds no image, or several and none is named, or its axes are
        ambiguous.
    """
    with reading(path, "an OME-Zarr image"):
        if not is_zarr(path):
            what = "folder" if path.is_dir() else "file"
            raise InputError(
                f"{path} is a {what} but no Zarr, and no images or DICOM files are in it: name an image "
                "file, a Zarr folder, or a folder of slices"
            )
        node = zarr.open(path, mode="r")
        if isinstance(node, zarr.Array):
            _check_single(series, path)
            letters = _letters(axes, unnamed_axes(node.ndim), node, path)
            return Opened(checked(node), letters, None, None)
        images, of_it = _images(node), _labels_of(node) if labels else ()
        if len(images) == 1 and not of_it:
            _check_single(series, path)
            return _opened(node, images[0], axes, path)
        if images and not of_it:
            raise InputError(f"{path} holds {len(images)} OME-Zarr images, not one: name an image in it")
        inside = of_it or _inside(node, path)
        what = "labels" if of_it else "images"
        child = path / inside[chosen(series, inside, path, what)]
    return open_zarr(child, axes, labels=labels)


class ZarrPlanes:
    """An OME-Zarr 0.5 image of one level, written plane by plane; each plane is a chunk.

    Use `array` to write in another order; planes that are not written are 0. With ``new=False`` the image at
    `path` is opened and writing continues.
    """

    def __init__(self, path: Path, layout: Layout, *, new: bool = True) -> None:
        self._places = np.ndindex(layout.shape[:-2])
        if not new:
            array = zarr.open_group(path, mode="r+")["0"]
            assert isinstance(array, zarr.Array)  # noqa: S101 (made below)
            self.array = array
            return
        group = zarr.create_group(path, attributes={"ome": _metadata(layout)})
        chunks = (1,) * (len(layout.shape) - 2) + layout.shape[-2:]
        self.array = group.create_array(
            "0",
            shape=layout.shape,
            chunks=chunks,
            dtype=layout.dtype,
            dimension_names=list(layout.axes.lower()),
        )

    def write(self, plane: npt.NDArray[Any]) -> None:
        """Write the next plane as a chunk."""
        self.array[next(self._places)] = plane

    def close(self) -> None:
        """Do nothing: `write` has written everything."""


def _images(group: zarr.Group) -> Sequence[Mapping[str, Any]]:
    """Metadata of the group's images: in practice one, the standard allows several."""
    images: Sequence[Mapping[str, Any]] = _about(group).get("multiscales", ())
    return images


def _about(group: zarr.Group) -> Mapping[str, Any]:
    attributes: Any = group.attrs.asdict()
    about: Mapping[str, Any] = attributes.get("ome", attributes)
    return about


def _check_single(series: str | None, path: Path) -> None:
    if series is not None:
        raise InputError(f"{path} is one image: leave out --series {series}")


def _labels_of(group: zarr.Group) -> Sequence[str]:
    """Paths of the labels of an image, as seen from it; none of a group that is labels itself."""
    if "image-label" in _about(group) or not isinstance(group.get("labels"), zarr.Group):
        return ()
    inside = group["labels"]
    assert isinstance(inside, zarr.Group)  # noqa: S101 (asked above)
    listed = _about(inside).get("labels") or _children(inside)
    return [f"labels/{name}" for name in _within(listed)]


def _inside(group: zarr.Group, path: Path) -> Sequence[str]:
    """Paths of the images of a plate or group, as seen from it.

    Raises
    ------
    InputError
        If there are none.
    """
    if "plate" in _about(group):
        wells = _within(well["path"] for well in _about(group)["plate"].get("wells", ()))
        fields = [f"{well}/{field}" for well in wells for field in _fields(path / well)]
        if not fields:
            raise InputError(f"{path} is a plate of wells without images: export it again")
        return fields
    inside = _children(group)
    if not inside:
        raise InputError(f"{path} holds 0 OME-Zarr images, not one: name an array or an image in it")
    return inside


def _children(group: zarr.Group) -> list[str]:
    """Names of the images in a group; Zarr lists them in any order."""
    return sorted((name for name, child in group.groups() if _images(child)), key=lambda n: (len(n), n))


def _fields(well: Path) -> Sequence[str]:
    """Paths of the images of a well, as seen from it."""
    about = _about(zarr.open_group(well, mode="r")).get("well", {})
    return _within(image["path"] for image in about.get("images", ()))


def _within(names: Iterable[Any]) -> list[str]:
    """Names of folders, without those that lead elsewhere."""
    given = map(str, names)
    return [name for name in given if not Path(name).is_absolute() and ".." not in Path(name).parts]


def _opened(group: zarr.Group, image: Mapping[str, Any], axes: str | None, path: Path) -> Opened:
    dataset = image["datasets"][0]
    array = group[dataset["path"]]
    if not isinstance(array, zarr.Array):
        raise InputError(f"{path}: {dataset['path']} is no array: export the image again")
    entries = [{"name": entry} if isinstance(entry, str) else entry for entry in image.get("axes", "tczyx")]
    letters = _letters(axes, "".join(map(_letter, entries)), array, path)
    units = [str(entry.get("unit", "")) for entry in entries]
    steps = [*dataset.get("coordinateTransformations", ()), *image.get("coordinateTransformations", ())]
    classes = classes_of(_about(group).get("image-label"))
    if not any(step["type"] == "scale" for step in steps):
        return Opened(checked(array), letters, None, None, classes=classes)
    scale, origin = _scale_and_origin(steps, array.ndim)
    spacing, unit = of_the_voxel(letters, scale, units)
    where = position(letters, origin, units) if any(origin) else None
    time = letters.find("T")
    step, time_unit = (None, None) if time < 0 else (scale[time], units[time] or None)
    opened = Opened(checked(array), letters, spacing, unit, where, time_step=step, time_unit=time_unit)
    return replace(opened, classes=classes)


def _letters(axes: str | None, found: str, array: Any, path: Path) -> str:
    if len(found) != array.ndim:
        raise InputError(f"{path} names {len(found)} axes, but has {array.ndim}: export the image again")
    return given_axes(axes, found, array.shape, path) if axes else axes_of_file(found, array.shape, path)


def _letter(entry: Mapping[str, Any]) -> str:
    name = str(entry["name"]).upper()
    return _LETTERS.get(entry.get("type", ""), name if len(name) == 1 else "Q")


def _scale_and_origin(steps: Sequence[Mapping[str, Any]], n_axes: int) -> tuple[list[float], list[float]]:
    """Voxel size and position of the first voxel along each axis, after all transformations in order."""
    scale, origin = np.ones(n_axes), np.zeros(n_axes)
    for step in steps:
        if step["type"] == "scale":
            factor = np.asarray(step["scale"], float).reshape(n_axes)
            scale, origin = scale * factor, origin * factor
        elif step["type"] == "translation":
            origin = origin + np.asarray(step["translation"], float).reshape(n_axes)
    return scale.tolist(), origin.tolist()


def _metadata(layout: Layout) -> dict[str, Any]:
    """Metadata of an image in version 0.5; https://ngff.openmicroscopy.org/0.5/."""
    units = dict.fromkeys("ZYX", _UNITS.get(layout.unit or "")) | {"T": layout.time_unit}
    if layout.spacing is not None and layout.spacing[0] is None:
        units["Z"] = None
    axes = []
    for axis in layout.axes:
        unit = {"unit": units[axis]} if units.get(axis) else {}
        axes.append({"name": axis.lower(), "type": _TYPES.get(axis, "space"), **unit})
    lengths = dict(zip("TZYX", (layout.time_step, *(layout.spacing or (None,) * 3)), strict=True))
    scale = [lengths.get(axis) or 1.0 for axis in layout.axes]
    steps: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
    if layout.origin is not None:
        places = dict(zip("ZYX", layout.origin, strict=True))
        steps.append({"type": "translation", "translation": [places.get(a, 0.0) for a in layout.axes]})
    dataset = {"path": "0", "coordinateTransformations": steps}
    metadata: dict[str, Any] = {
        "version": "0.5",
        "multiscales": [{"name": layout.name, "axes": axes, "datasets": [dataset]}],
    }
    if layout.channels:
        metadata["omero"] = {"channels": [_channel(name, layout.dtype) for name in layout.channels]}
    else:
        metadata["image-label"] = image_label(layout.classes)
    return metadata


def _channel(name: str, dtype: np.dtype[Any]) -> dict[str, Any]:
    """How viewers display a probability channel: white, from 0 to the largest value."""
    most = 1 if dtype.kind == "f" else np.iinfo(dtype).max
    window = {"start": 0, "end": most, "min": 0, "max": most}
    return {"label": name, "color": "FFFFFF", "active": True, "window": window}
