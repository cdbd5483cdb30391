"""Files as napari layers with their geometry, and labels layers as files. No Qt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from napari.layers import Layer
from numpy.typing import NDArray

from napari_salt.io import Stack, read_labels, read_stack, write_labels
from napari_salt.io._axes import AxesError, SeveralChannelsError
from napari_salt.io._geometry import sizes_of
from napari_salt.io._series import SeveralImagesError
from napari_salt.io._table import format_to_read, format_to_write
from napari_salt.io._units import of_the_voxel, position
from napari_salt.io._write import label_type
from napari_salt.session._colors import color_of, colormap_of
from napari_salt.session._layers import CLASSES, FILE, OPENING
from napari_salt.terms.card import ClassInfo
from napari_salt.terms.errors import InputError
from napari_salt.terms.units import MICROMETRES

__all__ = ["AFFINE", "SERIES", "LayerData", "fault_of_file", "layer_of", "layers_of", "save_labels"]

LayerData = tuple[Any, dict[str, Any], str]
"""A layer for napari: the array, the layer's arguments and its type."""

AFFINE, SERIES = "napari-salt: affine", "napari-salt: series"
"""Keys, beside `FILE` and `CLASSES`, in the metadata of layers: what files say that a layer cannot hold."""
MOST_IMAGES = 32
"""So many images of a file are opened at once; a plate has hundreds."""
BY_NAPARI = (
    "or open it with napari's own reader (File > Open with Plugin), and choose its channels in 1 Image"
)
_SEGMENTATION = "3D Slicer's segmentation"


def layers_of(path: Path) -> list[LayerData]:
    """Layers of a file or folder: one for each image and channel that it holds; segmentations are labels.

    Layers lie along the axes of the world, whatever the directions of the file's axes: the layer's
    `translate` is the position of the first voxel measured along the file's axes, so that files with the same
    directions lie on each other. The affine itself is in the layer's metadata, from where `save_labels`
    takes it.

    Raises
    ------
    InputError
        If it cannot be read, or its axes are ambiguous.
    """
    try:
        return _layers(path)
    except AxesError as error:
        raise InputError(f"{error}; {BY_NAPARI}") from error


def _layers(path: Path, series: int | None = None, name: str = "") -> list[LayerData]:
    """Layers of a file, or of one of its images, which has a name."""
    try:
        return [layer_of(_read(path, series), name)]
    except SeveralImagesError as several:
        if len(several.names) > MOST_IMAGES:
            raise InputError(f"{several}; in napari, open one by its path") from several
        return [layer for number, each in enumerate(several.names) for layer in _layers(path, number, each)]
    except SeveralChannelsError as several:
        if several.count > MOST_IMAGES:
            raise
        stem = name or path.name.partition(".")[0]
        return [_channel(path, series, channel, stem) for channel in range(several.count)]


def _channel(path: Path, series: int | None, channel: int, name: str) -> LayerData:
    """A layer of one channel, with what projects need to open it again."""
    data, about, kind = layer_of(
        read_stack(path, channel=channel, series=series), f"{name} channel {channel}"
    )
    about["metadata"][OPENING] = {"channel": channel}
    return data, about, kind


def fault_of_file(layer: Layer) -> str:
    """What is missing of the TIFF that napari itself has opened a layer from, with zeros instead; or ""."""
    source = layer.source
    path = Path(source.path) if source.path and source.reader_plugin != "napari-salt" else None
    if path is None or path.suffix.lower() not in (".tif", ".tiff") or not path.is_file():
        return ""
    from napari_salt.io._tiff import fault_of

    return fault_of(path)


def save_labels(path: Path, labels: Any, meta: Mapping[str, Any], others: Iterable[Any] = ()) -> None:
    """Write a labels layer with its geometry; the ending of `path` decides the format.

    Parameters
    ----------
    path
        Where to write.
    labels
        (Y, X), (Z, Y, X), or time points of either as the first axis.
    meta
        The layer's arguments, as napari gives them to writers.
    others
        Layers of the viewer: of an image that was read here and lies where the labels do, the directions in
        space are taken.

    Raises
    ------
    InputError
        If the labels or their geometry cannot be written so.
    """
    if labels.ndim > 4:
        raise InputError(f"labels of {labels.ndim} axes cannot be written; use a stack of time, z, y and x")
    like = _pattern(labels, meta, path)
    place: Mapping[str, Any] = next((each.metadata for each in others if _lies_like(each, labels, meta)), {})
    known = {**place, **meta.get("metadata", {})}
    if AFFINE in known and "orientation" in format_to_write(path).keeps:
        affine = np.asarray(known[AFFINE], float)
        here = _translate(affine, labels.ndim, like.unit or "mm")
        if np.allclose(here, meta.get("translate", 0.0), atol=1e-4):
            source = Path(known[FILE])
            like = replace(like, affine=affine, source=source, series=known.get(SERIES), origin=None)
    elif np.any(np.asarray(meta.get("rotate", np.eye(labels.ndim))) != np.eye(labels.ndim)):
        raise InputError("a layer that is rotated cannot be written with its place; reset its rotation first")
    names: Mapping[int, str] = known.get(CLASSES, {})
    colors = meta.get("colormap")
    classes = [ClassInfo(value, name, color_of(colors, value)) for value, name in names.items()]
    write_labels(path, _typed(labels).reshape(like.data.shape), like, classes)


def _read(path: Path, series: int | None = None) -> Stack:
    """Labels of a segmentation, else the image; a fourth axis without a name is taken as time."""
    name = format_to_read(path).name
    if name == _SEGMENTATION:
        return read_labels(path, series=series)
    stack = _image(path, series)
    return read_labels(path, series=series) if stack.classes else stack


def _image(path: Path, series: int | None) -> Stack:
    try:
        return read_stack(path, series=series)
    except (SeveralImagesError, SeveralChannelsError):
        raise
    except InputError as ambiguous:
        try:
            return read_stack(path, axes="TZYX", series=series)
        except InputError:
            raise ambiguous from None


def layer_of(stack: Stack, name: str = "") -> LayerData:
    """A layer of an opened file; segmentations that name their classes are labels."""
    data: Any = stack.data[0] if stack.was_2d and stack.frames == 1 else stack.data
    if stack.frames > 1 and not stack.was_2d:
        data = data.reshape((stack.frames, -1, *data.shape[1:]))
    ndim = data.ndim - stack.rgb
    about: dict[str, Any] = {FILE: str(stack.source.absolute())}
    kwargs: dict[str, Any] = {
        "name": name or stack.source.name.partition(".")[0],
        "axis_labels": ("t", "z", "y", "x")[-ndim:] if not (stack.was_2d and ndim == 3) else ("t", "y", "x"),
        "metadata": about,
    }
    if stack.spacing is not None:  # if the distance of slices is unknown, z is as long as y
        z, y, x = stack.spacing
        kwargs["scale"] = _last((z or y, y, x), ndim, stack, stack.time_step or 1.0)
        unit = stack.unit or "pixel"
        kwargs["units"] = _last((unit,) * 3, ndim, stack, stack.time_unit or "pixel")
        if stack.origin is not None:
            kwargs["translate"] = _last(stack.origin, ndim, stack, 0.0)
    if stack.affine is not None:
        about[AFFINE] = stack.affine.tolist()
        kwargs["translate"] = _translate(stack.affine, ndim, stack.unit or "mm")
    if stack.series is not None:
        about[SERIES] = stack.series
    if not stack.classes:
        return data, {**kwargs, "rgb": stack.rgb}, "image"
    about[CLASSES] = {info.value: info.name for info in stack.classes}
    return np.asarray(data), {**kwargs, "colormap": colormap_of(stack.classes)}, "labels"


def _last(values: Sequence[Any], ndim: int, stack: Stack, time: Any) -> tuple[Any, ...]:
    """Values along z, y, x for the layer's axes."""
    if stack.frames > 1:
        return (time, *values[-(ndim - 1) :])
    return tuple(values[-ndim:])


def _translate(affine: NDArray[np.float64], ndim: int, unit: str) -> tuple[float, ...]:
    """Position of the first voxel along the directions of the axes, in `unit`."""
    directions = affine[:3, :3] / sizes_of(affine)
    along = np.linalg.solve(directions, affine[:3, 3]) * MICROMETRES["mm"] / MICROMETRES[unit]
    return tuple([0.0, *along.tolist()][-ndim:])


def _lies_like(layer: Any, labels: Any, meta: Mapping[str, Any]) -> bool:
    """Whether a layer was read with its directions in space, and has the shape and place of the labels."""
    return (
        AFFINE in layer.metadata
        and tuple(layer.data.shape[: labels.ndim]) == tuple(labels.shape)
        and np.allclose(layer.scale, meta.get("scale", 1.0))
        and np.allclose(layer.translate, meta.get("translate", 0.0))
    )


def _pattern(labels: Any, meta: Mapping[str, Any], path: Path) -> Stack:
    """The image that labels of the layer's shape and place would belong to."""
    ndim = labels.ndim
    units = [str(unit) for unit in meta.get("units") or ("pixel",) * ndim]
    timed = ndim == 4 or (ndim == 3 and units[0] in ("second", "millisecond", "microsecond", "minute"))
    letters = "TYX" if timed and ndim == 3 else "TZYX"[-ndim:]
    scale, translate = (
        np.broadcast_to(np.asarray(meta.get(key, default), float), ndim).tolist()
        for key, default in (("scale", 1.0), ("translate", 0.0))
    )
    spacing, unit = of_the_voxel(letters, scale, units)
    where = position(letters, translate, units)
    frames = labels.shape[0] if timed else 1
    return Stack(
        data=da.zeros((int(np.prod(labels.shape[:-2])), *labels.shape[-2:]), dtype=np.uint8),
        rgb=False,
        spacing=spacing,
        unit=unit,
        axes=letters,
        was_2d="Z" not in letters,
        source=Path(f"the layer {meta.get('name', path.stem)!r}"),
        origin=where if any(where) else None,
        frames=frames,
        time_step=scale[0] if timed else None,
        time_unit=units[0] if timed and units[0] != "pixel" else None,
    )


def _typed(labels: Any) -> NDArray[Any]:
    """The labels in a type that is written."""
    array = np.asarray(labels)
    if label_type(array.dtype) == array.dtype:
        return array
    if array.size and array.min() < 0:
        raise InputError(f"the labels have the value {array.min()}; labels are whole numbers from 0")
    most = int(array.max(initial=0))
    if most > np.iinfo(np.uint32).max:
        raise InputError(f"the labels have the value {most}; values above 4294967295 are not written")
    return array.astype(np.min_scalar_type(most))
