"""An image layer of any axes as a flat stack of slices, and where its slices and pixels are. No Qt.

All axes before Y and X, except the channels, are flattened into one axis of slices. Label layers have the
image's axes without the channels.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer
from napari.utils.transforms import Affine
from numpy.typing import NDArray

from napari_salt.io._format import Layout
from napari_salt.io._units import of_the_voxel, position
from napari_salt.session._flat_stack import MAX_COLOUR_CHANNELS, FlatStack
from napari_salt.terms.errors import InputError
from napari_salt.terms.planes import AXES, Plane, Voxels
from napari_salt.terms.units import micrometres

__all__ = ["ImageSource"]

FILE_AXES = "TZYX"
SAME_PLACE = 0.5
"""Offset in voxels from which labels are misplaced; below it, napari draws them on the image's voxel."""


@dataclass(frozen=True, eq=False)
class ImageSource:
    """An image layer, at one level and with some channels, as a flat stack of slices.

    Parameters
    ----------
    layer
        The image layer.
    level
        Which level of a multiscale image, 0 is the finest.
    channel_axis, channels
        See `FlatStack`.

    Raises
    ------
    InputError
        If there is no such level, axis or channel.
    """

    layer: Image
    level: int = 0
    channel_axis: int | None = None
    channels: tuple[int, ...] = ()
    stack: FlatStack = field(init=False)

    def __post_init__(self) -> None:
        shape = self.data.shape
        spatial = 3 if self.layer.rgb else 2
        if len(shape) < spatial:
            raise InputError(f"the image has shape {tuple(shape)}; give an image of two axes or more")
        leading = [int(n) for n in shape[:-spatial]]
        if self.channel_axis is not None:
            self._check_channels(leading)
            del leading[self.channel_axis]
        stack = FlatStack(self.data, leading, self.channel_axis, self.channels, rgb=bool(self.layer.rgb))
        object.__setattr__(self, "stack", stack)
        object.__setattr__(self, "leading", tuple(leading))

    leading: tuple[int, ...] = field(init=False)

    @property
    def data(self) -> Any:
        """The array of the chosen level."""
        if not self.layer.multiscale:
            return self.layer.data
        levels = len(self.layer.data)
        if not 0 <= self.level < levels:
            raise InputError(f"level {self.level} is out of range; the image has levels 0 to {levels - 1}")
        return self.layer.data[self.level]

    @property
    def label_shape(self) -> tuple[int, ...]:
        """Shape of labels for this image: the channel axis is left out, or has length 1 if not the first."""
        shape = [*self.leading, *self.stack.shape[1:3]]
        if self.channel_axis:
            shape.insert(self.channel_axis, 1)
        return tuple(shape)

    @property
    def group(self) -> int | None:
        """Slices of one time point, if several axes are flattened into slices; None for a single stack."""
        return self.leading[-1] if len(self.leading) > 1 else None

    @property
    def pixel_size(self) -> float | None:
        """Micrometres per pixel (geometric mean of y and x); None if the layer has no unit of length."""
        sides = []
        for axis in (-2, -1):
            in_one = micrometres(str(self.layer.units[axis]))
            if in_one is None:
                return None
            sides.append(in_one * float(self.layer.scale[axis]) * float(self._factors()[axis]))
        return math.sqrt(sides[0] * sides[1])

    @property
    def voxels(self) -> Voxels:
        """Sizes of the voxels in the layer's units; not known unless slices follow one axis."""
        if len(self.leading) != 1:
            return Voxels()
        axes = [axis for axis in range(self.layer.ndim) if axis != self.channel_axis]
        z, y, x = (float(self.layer.scale[axis]) * float(self._factors()[axis]) for axis in axes)
        return Voxels((z, y, x))

    def place(self, index: int) -> tuple[int, ...]:
        """Position of slice `index` in an array of `label_shape`."""
        place = [int(i) for i in np.unravel_index(index, self.leading)] if self.leading else []
        if self.channel_axis:
            place.insert(self.channel_axis, 0)
        return tuple(place)

    def labels_stack(self, labels: Labels) -> FlatStack:
        """The labels as a flat stack, (Z, Y, X), that matches the image's.

        Raises
        ------
        InputError
            If the layer's shape is not that of the image, or it does not lie on the image.
        """
        shape = tuple(labels.data.shape) if not labels.multiscale else ("multiscale",)
        if shape != self.label_shape:
            raise InputError(
                f"labels layer {labels.name!r} has shape {shape}, image layer {self.layer.name!r} needs "
                f"labels of shape {self.label_shape}; press New to make a layer that fits"
            )
        if self.misplaced(labels):
            raise InputError(
                f"labels layer {labels.name!r} ({_place(labels)}) does not lie on image layer "
                f"{self.layer.name!r} ({_place(self.layer)}); press Align to lay it there, or New to make a "
                "layer that fits"
            )
        axis = self.channel_axis or None
        return FlatStack(labels.data, self.leading, axis, () if axis is None else (0,))

    def misplaced(self, labels: Labels) -> bool:
        """Whether labels of the right shape have a corner half a voxel or more off the image's."""
        if labels.multiscale or tuple(labels.data.shape) != self.label_shape:
            return False
        corners = list(itertools.product(*((0, length - 1) for length in self.label_shape)))
        seen = np.array([self._in_level(self.layer.world_to_data(labels.data_to_world(c))) for c in corners])
        if self.channel_axis == 0:
            seen = seen[:, 1:]
        return bool(np.abs(seen - corners).max(initial=0) >= SAME_PLACE)

    def current_slice(self, point: Sequence[float]) -> int:
        """Slice that a viewer at world position `point` shows."""
        if not self.leading:
            return 0
        data = self._in_level(self.layer.world_to_data(point))
        place: list[float] = data[: self._n_leading].tolist()
        if self.channel_axis is not None:
            del place[self.channel_axis]
        nearest = [min(max(0, round(p)), n - 1) for p, n in zip(place, self.leading, strict=True)]
        return int(np.ravel_multi_index(nearest, self.leading))

    def world_of_slice(self, index: int, point: Sequence[float]) -> tuple[float, ...]:
        """World position, like `point`, at which a viewer shows slice `index`."""
        position: NDArray[np.float64] = np.array(point, float)
        here = self._in_level(self.layer.world_to_data(position))
        place = [float(i) for i in np.unravel_index(index, self.leading)] if self.leading else []
        if self.channel_axis is not None:
            place.insert(self.channel_axis, here[self.channel_axis])
        here[: self._n_leading] = place
        return self._world_of(here, position)

    def world_of_plane(self, plane: Plane, place: int, point: Sequence[float]) -> tuple[float, ...]:
        """World position, like `point`, at which a viewer shows the slice `place` of plane y or x."""
        position: NDArray[np.float64] = np.array(point, float)
        here = self._in_level(self.layer.world_to_data(position))
        here[AXES.index(plane) - 3] = place
        return self._world_of(here, position)

    def _world_of(self, here: NDArray[np.float64], position: NDArray[np.float64]) -> tuple[float, ...]:
        """`position` with the place `here` in the chosen level's voxels."""
        factors = self._factors()
        position[-self.layer.ndim :] = self.layer.data_to_world(here * factors + (factors - 1) / 2)
        return tuple(position.tolist())

    def slices_in_reach(self, labels: Labels, dims: Any) -> set[int]:
        """Slices that an edit of `labels` by hand can change, with the viewer's `dims`.

        An edit spreads along the axes that are displayed and along the last `n_edit_dimensions` in the
        viewer's order; on all other axes it stays where the viewer is.
        """
        if not self.leading:
            return {0}
        hidden = dims.ndim - labels.ndim
        order = [axis - hidden for axis in dims.order if axis >= hidden]
        spread = {*order[-labels.n_edit_dimensions :], *order[-dims.ndisplay :]}
        here = self.place(self.current_slice(dims.point))
        reach = [
            np.arange(labels.data.shape[axis]) if axis in spread else np.array([here[axis]])
            for axis in range(labels.ndim - 2)
        ]
        if self.channel_axis:
            del reach[self.channel_axis]
        return set(np.ravel_multi_index(np.ix_(*reach), self.leading).ravel().tolist())

    def pixel_at(self, point: Sequence[float]) -> tuple[float, float]:
        """World position `point` as (y, x) in the slice's pixels."""
        data = self._in_level(self.layer.world_to_data(point))
        return float(data[-2]), float(data[-1])

    def placement(self, *, plane: bool = False, offset: tuple[int, int] = (0, 0)) -> dict[str, Any]:
        """Arguments of a layer of `label_shape` that lies on the image.

        Parameters
        ----------
        plane
            Whether the layer has the last two axes only.
        offset
            Pixels (y, x) from the image's corner to the layer's.
        """
        ndim = self.layer.ndim
        axes = (
            list(range(ndim - 2, ndim)) if plane else [a for a in range(ndim) if a or self.channel_axis != 0]
        )
        factors = self._factors()
        linear = Affine(
            rotate=self.layer.rotate, scale=self.layer.scale, shear=self.layer.shear
        ).linear_matrix
        # The first pixel of a coarser level lies in the middle of the finer pixels that it was made of.
        start = (factors - 1) / 2
        start[-2:] += np.array(offset) * factors[-2:]
        translate = np.asarray(self.layer.translate) + linear @ start
        affine = np.asarray(self.layer.affine.affine_matrix)
        corner = [*axes, ndim]
        return {
            "scale": (np.asarray(self.layer.scale) * factors)[axes],
            "translate": translate[axes],
            "rotate": np.asarray(self.layer.rotate)[np.ix_(axes, axes)],
            "shear": _shear_of(self.layer, axes),
            "affine": affine[np.ix_(corner, corner)],
            "units": [self.layer.units[a] for a in axes],
            "axis_labels": [self.layer.axis_labels[a] for a in axes],
        }

    def layout(self, name: str, dtype: np.dtype[Any]) -> Layout:
        """Layout of labels for this image on disk; rotation, shear and the layer's affine are lost.

        Raises
        ------
        InputError
            If there are more axes than time, z, y and x.
        """
        shape, placement = self.label_shape, self.placement()
        if len(shape) > len(FILE_AXES):
            raise InputError(
                f"labels of shape {shape} cannot be written as OME-Zarr; use a stack of {FILE_AXES}, or "
                "raise the memory limit"
            )
        timed = placement["units"][0].is_compatible_with("second")
        letters = "TYX" if timed and len(shape) == 3 else FILE_AXES[-len(shape) :]
        units = [str(unit) for unit in placement["units"]]
        scale, translate = (placement[key].tolist() for key in ("scale", "translate"))
        spacing, unit = of_the_voxel(letters, scale, units)
        return Layout(
            axes=letters,
            shape=shape,
            dtype=dtype,
            spacing=spacing,
            unit=unit,
            origin=position(letters, translate, units),
            channels=(),
            name=name,
            like=None,
            time_step=scale[0] if "T" in letters else None,
            time_unit=units[0] if timed else None,
        )

    @property
    def _n_leading(self) -> int:
        return int(self.layer.ndim) - 2

    def _in_level(self, data: Sequence[float]) -> NDArray[np.float64]:
        """A position in the finest level as one in the chosen level."""
        factors = self._factors()
        return (np.asarray(data, np.float64) - (factors - 1) / 2) / factors

    def _factors(self) -> NDArray[np.float64]:
        """Pixels of the finest level per pixel of the chosen level, along each axis of the layer."""
        if not self.layer.multiscale:
            return np.ones(self.layer.ndim)
        ndim = int(self.layer.ndim)
        finest, chosen = (
            np.array(shape[:ndim], np.float64) for shape in (self.layer.data[0].shape, self.data.shape)
        )
        return finest / chosen

    def _check_channels(self, leading: Sequence[int]) -> None:
        axis = self.channel_axis
        if axis is None or not 0 <= axis < len(leading):
            raise InputError(
                f"channel axis {axis} is out of range; the image has {len(leading)} axes before Y and X"
            )
        if not 1 <= len(self.channels) <= MAX_COLOUR_CHANNELS:
            raise InputError(
                f"{len(self.channels)} channels are chosen; choose one, or up to three as colour"
            )
        for channel in self.channels:
            if not 0 <= channel < leading[axis]:
                raise InputError(f"channel {channel} is out of range; the image has 0 to {leading[axis] - 1}")


def _place(layer: Layer) -> str:
    """Where the layer lies, in words for the user."""
    scale, translate = (
        tuple(round(float(v), 4) for v in values) for values in (layer.scale, layer.translate)
    )
    turned = not (np.allclose(layer.rotate, np.eye(layer.ndim)) and np.allclose(layer.shear, 0))
    more = ", turned" if turned else ""
    more += "" if np.allclose(layer.affine.affine_matrix, np.eye(layer.ndim + 1)) else ", affine"
    return f"scale {scale}, translate {translate}{more}"


def _shear_of(layer: Layer, axes: Sequence[int]) -> NDArray[np.float64]:
    """The layer's shear for some of its axes, in napari's form: the upper triangle, row by row."""
    full = np.eye(layer.ndim)
    full[np.triu_indices(layer.ndim, 1)] = np.asarray(layer.shear)
    part = full[np.ix_(axes, axes)]
    return part[np.triu_indices(len(axes), 1)]
