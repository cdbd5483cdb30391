"""A labels layer on its image: its voxels' sizes, its place in the world, its classes, its file's layout."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray

from napari_salt.io import Stack, read_stack
from napari_salt.io._format import Layout
from napari_salt.io._keeping import not_kept
from napari_salt.io._table import format_to_write, is_stack
from napari_salt.io._write import label_type, layout_of
from napari_salt.session._colors import class_color
from napari_salt.session._image_source import ImageSource
from napari_salt.session._layers import FILE, names_in
from napari_salt.terms.card import ClassInfo
from napari_salt.terms.errors import SaltError
from napari_salt.terms.units import LENGTHS, MICROMETRES, micrometres

__all__ = ["Placed"]

SAME_SIZE = 0.01
"""Relative tolerance of voxel sizes of a file and of the layer that was opened from it."""


class Placed:
    """A labels layer that fits an image.

    Parameters
    ----------
    source
        The image.
    layer
        The labels.

    Raises
    ------
    InputError
        If the layer does not fit the image, or does not lie on it.
    """

    def __init__(self, source: ImageSource, layer: Labels) -> None:
        self.source, self.layer = source, layer
        self.stack = source.labels_stack(layer)
        skipped = source.channel_axis or None  # of length 1 in the labels
        self._axes = [axis for axis in range(layer.ndim) if axis != skipped]

    @property
    def in_time(self) -> bool:
        """Whether the only axis of slices is time."""
        units = self.layer.units
        return len(self.source.leading) == 1 and units[self._axes[0]].is_compatible_with("second")

    def is_flat(self, *, unrelated: bool) -> bool:
        """Whether slices are images without neighbours; `unrelated`: the user says so."""
        return unrelated or not self.source.leading or self.in_time

    @property
    def unit(self) -> str:
        """The unit of tables: "mm" if x is in that or a larger one, else "um"."""
        ours = LENGTHS.get(str(self.layer.units[-1]), ("um", 1.0))[0]
        return "mm" if ours == "mm" else "um"

    def sizes(self, *, flat: bool) -> tuple[float, ...] | None:
        """Size of a voxel (z, y, x), or pixel (y, x), in `unit`; None if an axis has no unit of length."""
        axes = self._axes[-2:] if flat else self._axes[-3:]
        factors = [self._factor(axis) for axis in axes]
        if None in factors:
            return None
        scale = self.source.placement()["scale"]
        return tuple(float(scale[axis]) * (f or 1.0) for axis, f in zip(axes, factors, strict=True))

    def to_world(self, *, flat: bool) -> NDArray[np.float64]:
        """Matrix (4, 4) from (z, y, x, 1) in voxels to (z, y, x, 1) in the world, in `unit`."""
        axes = self._axes[-2:] if flat else self._axes[-3:]
        corner = np.asarray(self.layer.data_to_world(np.zeros(self.layer.ndim)))
        matrix = np.eye(4)
        for column, axis in enumerate(axes, start=3 - len(axes)):
            step = np.eye(self.layer.ndim)[axis]
            moved = np.asarray(self.layer.data_to_world(step)) - corner
            matrix[3 - len(axes) : 3, column] = moved[axes]
        matrix[3 - len(axes) : 3, 3] = corner[axes]
        factors = [self._factor(axis) or 1.0 for axis in axes]
        matrix[3 - len(axes) : 3] *= np.array(factors)[:, None]
        return matrix

    def classes(self, known: tuple[ClassInfo, ...]) -> tuple[ClassInfo, ...]:
        """Classes of the labels in the layer's colours: as the layer names them, else as they are `known`."""
        names = names_in(self.layer) or {info.value: info.name for info in known}
        return tuple(
            ClassInfo(value, name, class_color(self.layer, value)) for value, name in sorted(names.items())
        )

    def layout(self, path: Path, classes: tuple[ClassInfo, ...]) -> tuple[Layout, Path, str]:
        """How the layer is written to `path`.

        If the image was opened from a file that has its shape and voxel size, the labels lie as in that file;
        else as the layer does.

        Returns
        -------
        layout, source, lost
            The file of the image, or ``Path()``; and what the format cannot hold, or "".

        Raises
        ------
        InputError
            If the format is unknown, or the layer has more axes than time, z, y and x.
        """
        dtype = label_type(np.dtype(self.layer.dtype))
        kept = format_to_write(path).keeps
        file = self._file()
        if file is not None:
            return layout_of(path, file, dtype, classes=classes), file.source, not_kept(path, file)
        layout = replace(self.source.layout(path.name.partition(".")[0], dtype), classes=classes)
        matrix = self.to_world(flat=False) if len(self._axes) > 2 else None
        turned = matrix is not None and not np.allclose(matrix[:3, :3], np.diag(np.diag(matrix[:3, :3])))
        if turned and "orientation" in kept and matrix is not None and self.sizes(flat=False):
            affine = matrix[[2, 1, 0, 3]]
            affine[:3] *= MICROMETRES[self.unit] / MICROMETRES["mm"]
            return replace(layout, affine=affine), Path(), ""
        lost = f"{path} keeps the voxel size, but not how the layer is turned" if turned else ""
        return layout, Path(), lost

    def _file(self) -> Stack | None:
        """The image's file, if it can be read and is what the layer shows."""
        layer = self.source.layer
        path = layer.metadata.get(FILE) or layer.source.path
        if not path or not is_stack(Path(path)) or layer.multiscale:
            return None
        try:
            stack = read_stack(path)
        except SaltError:
            return None
        if stack.data.shape[:3] != self.source.stack.shape[:3]:
            return None
        ours = self.sizes(flat=stack.was_2d)
        if ours is None or stack.spacing is None or stack.unit is None:
            return stack if ours is None and np.allclose(layer.scale, 1) else None
        factor = MICROMETRES[stack.unit] / MICROMETRES[self.unit]
        theirs = [size or ours[0] for size in stack.spacing][-len(ours) :]
        return stack if np.allclose(factor * np.array(theirs), ours, rtol=SAME_SIZE) else None

    def _factor(self, axis: int) -> float | None:
        """How many of `unit` the layer's unit along an axis is; None if it is no length."""
        in_one: Any = micrometres(str(self.layer.units[axis]))
        return None if in_one is None else in_one / MICROMETRES[self.unit]
