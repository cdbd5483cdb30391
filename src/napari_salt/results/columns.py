"""The columns of the tables of classes and objects, from what was counted."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_salt.results.parts import Sums
from napari_salt.results.sizes import VoxelSize
from napari_salt.results.table import Table

__all__ = ["Frame", "class_table", "object_table"]

Column = NDArray[Any]


@dataclass(frozen=True)
class Frame:
    """What both tables need to know of the stack.

    Parameters
    ----------
    shape
        Of the labels, (Z, Y, X) or (Y, X).
    frames
        Number of time points, or of unrelated images.
    size
        Of a voxel; if it is flat, frames are images.
    names
        Name of each class by label value.
    to_world
        See `measure`.
    """

    shape: tuple[int, ...]
    frames: int
    size: VoxelSize
    names: Mapping[int, str]
    to_world: Any = None

    def named(self, values: Column) -> Column:
        """Names of classes."""
        names = [self.names.get(value, f"class {value}") for value in values.tolist()]
        return np.array(names, object)


def class_table(sums: Sums, frame: Frame) -> Table:
    """One row for each class; of a time series, for each class at each time point."""
    timed = frame.frames > 1 and not frame.size.flat
    values = sums["value"]
    times = sums["frame"] if timed else np.zeros_like(values)
    everything = sorted({*values.tolist(), *frame.names})
    wanted = list(itertools.product(range(frame.frames if timed else 1), everything))
    rows = {key: row for row, key in enumerate(zip(times.tolist(), values.tolist(), strict=True))}
    place = np.array([rows.get(key, len(rows)) for key in wanted], np.int64)

    def in_rows(column: Column, absent: float = 0) -> Column:
        return np.append(column, np.array([absent], column.dtype))[place]

    voxels, classes = in_rows(sums["voxels"]), np.array([value for _, value in wanted], np.int64)
    found: dict[str, Column] = {"time": np.array([time for time, _ in wanted], np.int64)} if timed else {}
    found |= {"class": classes, "class_name": frame.named(classes), "slices": in_rows(sums.n_parts)}
    found |= {frame.size.count_name: voxels}
    found |= {"share": voxels * (frame.frames if timed else 1) / math.prod(frame.shape)}
    found |= frame.size.contents(voxels)
    if sums.has_light:
        found["mean_intensity"] = in_rows(_ratio(sums["light"], sums["lit"]), np.nan)
    return Table(found)


def object_table(sums: Sums, frame: Frame, *, of_classes: bool) -> Table:
    """One row for each object.

    Parameters
    ----------
    sums
        Of the parts of each object.
    frame
        Of the stack.
    of_classes
        Whether label values are classes, so that objects are numbered by their order; else they are numbers.
    """
    voxels, values, size = sums["voxels"], sums["value"], frame.size
    if of_classes:
        found: dict[str, Column] = {"object": np.arange(1, len(sums) + 1)}
        found |= {"class": values, "class_name": frame.named(values)}
    else:
        found = {"object": values}
        if len(frame.names) == 1:  # all objects are of that class
            found["class_name"] = np.array([*frame.names.values()] * len(sums), object)
    if frame.frames > 1:
        found["slice" if size.flat else "time"] = sums["frame"]
    found |= {size.count_name: voxels, **size.contents(voxels), **size.diameter(voxels)}
    if sums.has_light:
        unknown = sums["lit"] == 0
        found["mean_intensity"] = _ratio(sums["light"], sums["lit"])
        found["min_intensity"] = np.where(unknown, np.nan, sums["darkest"])
        found["max_intensity"] = np.where(unknown, np.nan, sums["brightest"])
    return Table(found | _places(sums, voxels, frame))


def _places(sums: Sums, voxels: Column, frame: Frame) -> dict[str, Column]:
    """Centroids in voxels and in the world, and boxes from `start` to before `stop`."""
    axes = "yx" if frame.size.flat else "zyx"
    centres = {axis: sums[f"sum_{axis}"] / voxels for axis in "zyx"}
    found = {f"centroid_{axis}": centres[axis] for axis in axes}
    found |= frame.size.in_world(centres, axes, frame.to_world)
    ends = itertools.product(axes, ("start", "stop"))
    return found | {f"{axis}_{end}": sums[f"{axis}_{end}"] for axis, end in ends}


def _ratio(total: Column, count: Column) -> NDArray[np.float64]:
    ratio: NDArray[np.float64] = np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
    return ratio
