"""Small stacks on disk, for the tests of reading and writing."""

from pathlib import Path

import nibabel as nib
import numpy as np
import tifffile
import zarr

SHAPE = (5, 23, 31)
AFFINE = np.array([[-0.5, 0.1, 0, 10], [0.05, 0.6, 0, -20], [0, 0, 2, 5], [0, 0, 0, 1.0]])


def noise(shape=SHAPE, dtype="uint16"):
    return (np.random.default_rng(0).random(shape) * 200).astype(dtype)


def save(folder: Path, array, name="stack.tif", **options) -> Path:
    options.setdefault("photometric", "minisblack")
    tifffile.imwrite(folder / name, array, **options)
    return folder / name


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def imagej(**metadata):
    return {"imagej": True, "resolution": (4, 2), "metadata": {"axes": "ZYX", **metadata}}


def nifti(path: Path, array, *, unit="mm", affine=AFFINE, scaling=None) -> Path:
    """What nibabel writes of a (..., Z, Y, X) array."""
    image = nib.Nifti1Image(array.T, affine, dtype=array.dtype)
    if array.dtype.byteorder == ">":
        image = nib.Nifti1Image(array.T, affine, image.header.as_byteswapped(">"))
    image.header.set_xyzt_units(unit)
    if scaling:
        image.header.set_slope_inter(*scaling)
    nib.save(image, path)
    return path


def multiscales(axes, scale=None, *, whole=None, translation=None, units=("micrometer",) * 3):
    """Metadata of two levels, as the specification has them."""
    kinds = {"t": "time", "c": "channel"}
    entries = [{"name": axis, "type": kinds.get(axis, "space")} for axis in axes]
    for entry, unit in zip(entries[-3:], units, strict=False):
        entry["unit"] = unit
    steps = [{"type": "scale", "scale": scale or [1.0] * len(axes)}]
    if translation:
        steps.append({"type": "translation", "translation": translation})
    image = {
        "axes": entries,
        "datasets": [{"path": name, "coordinateTransformations": steps} for name in ("0", "1")],
    }
    if whole:
        image["coordinateTransformations"] = [{"type": "scale", "scale": whole}]
    return [image]


def ome_zarr(path: Path, array, images, version=3, chunks=None) -> Path:
    """A store of `images` as multiscales metadata, of OME-Zarr 0.4 or 0.5."""
    group = zarr.open_group(path, mode="w", zarr_format=version)
    group.attrs.update({"multiscales": images} if version == 2 else {"ome": {"multiscales": images}})
    chunks = chunks or tuple(min(length, 16) for length in array.shape)
    group.create_array("0", data=array, chunks=chunks)
    group.create_array("1", data=array[..., ::2, ::2])
    return path
