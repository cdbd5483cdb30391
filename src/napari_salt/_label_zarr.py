"""Labels on disk that are filled slice by slice while they are shown: an OME-Zarr of one level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from napari_salt.core.errors import InputError

__all__ = ["create_label_zarr"]

LENGTH_UNITS = ("angstrom", "nanometer", "micrometer", "millimeter", "centimeter", "meter")
AXES = "tzyx"


def create_label_zarr(
    path: Path, shape: Sequence[int], dtype: np.dtype[Any], placement: Mapping[str, Any]
) -> zarr.Array[Any]:
    """Make an OME-Zarr (version 0.5) of zeros, one chunk per slice, and give its array.

    Parameters
    ----------
    path
        A folder that does not exist yet, its name ending in ".zarr".
    shape
        (..., Y, X), at most four axes: time, z, y, x.
    placement
        ``scale``, ``translate`` and ``units``, one per axis.

    Raises
    ------
    InputError
        If the folder is there already, cannot be written to, or there are more axes.
    """
    if len(shape) > len(AXES):
        raise InputError(f"labels of shape {tuple(shape)} cannot be written as OME-Zarr; use a ZYX stack")
    if path.exists():
        raise InputError(f"{path} is there already; choose another folder, or move it away")
    axes = [
        {"name": name, "type": "time" if name == "t" else "space", **_unit(unit)}
        for name, unit in zip(AXES[-len(shape) :], placement["units"], strict=True)
    ]
    transformations = [
        {"type": "scale", "scale": [float(s) for s in placement["scale"]]},
        {"type": "translation", "translation": [float(t) for t in placement["translate"]]},
    ]
    multiscale = {
        "name": path.stem,
        "axes": axes,
        "datasets": [{"path": "0", "coordinateTransformations": transformations}],
    }
    try:
        group = zarr.create_group(
            path, zarr_format=3, attributes={"ome": {"version": "0.5", "multiscales": [multiscale]}}
        )
        return group.create_array(
            "0", shape=tuple(shape), dtype=dtype, chunks=(*(1 for _ in shape[:-2]), *shape[-2:]), fill_value=0
        )
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror}); choose another folder for the output"
        ) from error


def _unit(unit: Any) -> dict[str, str]:
    return {"unit": str(unit)} if str(unit) in LENGTH_UNITS else {}
