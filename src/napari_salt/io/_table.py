"""Table of file formats: for each its names, its reader, its writer, and what a written file keeps.

Nothing here imports a format's library; readers and writers are imported when they are called.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

from napari_salt.io._entry import Fact, Format
from napari_salt.io._paths import is_pattern, split_inner
from napari_salt.io._sniff import has_dicom, is_dicom
from napari_salt.terms.errors import InputError

__all__ = [
    "FORMATS",
    "Fact",
    "Format",
    "format_to_read",
    "format_to_write",
    "is_stack",
    "offered",
    "register_format",
    "what_is_read",
]


def _later(module: str, function: str, extra: str = "") -> Any:
    """A function of a module of `napari_salt.io`; the module is imported at the first call.

    Where the library that it needs is not installed, the error names the `extra` that brings it.
    """

    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            imported = import_module(f"napari_salt.io.{module}")
        except ModuleNotFoundError as error:
            if not extra:
                raise
            raise InputError(f'{args[0]} needs {error.name}: pip install "napari-salt[{extra}]"') from error
        return getattr(imported, function)(*args, **kwargs)

    return call


FORMATS: dict[str, Format] = {
    each.name: each
    for each in (
        Format(
            "TIFF",
            (".tif",),
            open=_later("_tiff", "open_tiff"),
            planes=_later("_tiff", "TiffPlanes"),
            keeps=("unknown distance",),
            has_channels=True,
            other_suffixes=(".tiff",),
            has_series=True,
            recognise=_later("_tiff", "is_tiff"),
        ),
        Format(
            "OME-Zarr",
            (".zarr",),
            open=_later("_zarr", "open_zarr"),
            planes=_later("_zarr", "ZarrPlanes"),
            keeps=("position", "unknown distance"),
            has_channels=True,
            is_folder=True,
            has_series=True,
            recognise=_later("_zarr", "is_zarr"),
            may_replace=_later("_zarr", "is_zarr"),
        ),
        Format(
            "NIfTI",
            (".nii", ".nii.gz"),
            open=_later("_nifti", "open_nifti"),
            planes=_later("_nifti", "NiftiPlanes"),
            keeps=("position", "orientation"),
            has_series=True,
        ),
        Format(
            "3D Slicer's segmentation",
            (".seg.nrrd",),
            open=_later("_nrrd", "open_nrrd"),
            planes=_later("_nrrd", "segment_planes"),
            keeps=("position", "orientation"),
            has_time=False,
            has_series=True,
        ),
        Format(
            "NRRD",
            (".nrrd",),
            open=_later("_nrrd", "open_nrrd"),
            planes=_later("_nrrd", "nrrd_planes"),
            keeps=("position", "orientation"),
            read_suffixes=(".nhdr",),
            has_series=True,
        ),
        Format(
            "MetaImage",
            (".mha",),
            open=_later("_metaimage", "open_metaimage", "itk"),
            planes=_later("_metaimage", "metaimage_planes", "itk"),
            keeps=("position", "orientation"),
            read_suffixes=(".mhd",),
            has_series=True,
        ),
        Format(
            "Analyze",
            (),
            open=_later("_nifti", "open_nifti"),
            read_suffixes=(".hdr", ".img", ".img.gz"),
            has_series=True,
        ),
        Format(
            "PNG",
            (".png",),
            open=_later("_picture", "open_picture"),
            planes=_later("_picture", "png_planes"),
            keeps_size=False,
            most_slices=1,
            has_time=False,
        ),
        Format(
            "JPEG",
            (),
            open=_later("_picture", "open_picture"),
            read_suffixes=(".jpg", ".jpeg"),
        ),
        Format("BMP", (), open=_later("_picture", "open_picture"), read_suffixes=(".bmp",)),
        Format(
            "NumPy",
            (".npy",),
            open=_later("_numpy", "open_npy"),
            planes=_later("_numpy", "npy_planes"),
            keeps_size=False,
        ),
        Format(
            "HDF5",
            (),
            open=_later("_hdf5", "open_hdf5", "hdf5"),
            read_suffixes=(".h5", ".hdf5", ".hdf", ".ilp"),
        ),
        Format(
            "CZI/LIF/ND2",
            (),
            open=_later("_bioio", "open_bioio", "microscopes"),
            read_suffixes=(
                ".czi",
                ".lif",
                ".nd2",
                ".dv",
                ".r3d",
                ".sldy",
                ".oib",
                ".oif",
                ".oir",
                ".vsi",
                ".ims",
            ),
            has_series=True,
        ),
        Format(
            "DICOM",
            (".dcm",),
            open=_later("_dicom", "open_dicom", "dicom"),
            planes=_later("_dicom_seg", "segmentation_planes", "dicom"),
            keeps=("position", "orientation"),
            read_suffixes=(".ima",),
            has_series=True,
            has_time=False,
            only_of=("DICOM", "DICOM series"),
            unfit=_later("_dicom_seg", "unfit", "dicom"),
            recognise=is_dicom,
        ),
        Format(
            "DICOM series",
            (),
            open=_later("_dicom", "open_dicom", "dicom"),
            is_folder=True,
            has_series=True,
            recognise=has_dicom,
        ),
        Format(
            "images of single slices",
            (),
            open=_later("_folder", "open_folder"),
            is_folder=True,
            recognise=_later("_folder", "has_images"),
        ),
    )
}
"""Formats by name, in order of precedence."""


def register_format(entry: Format) -> None:
    """Add a format to `FORMATS` for this process.

    Parameters
    ----------
    entry
        Its `open` and `planes` read and write the files.

    Raises
    ------
    InputError
        If another format has its name or one of its suffixes.
    """
    taken = [other.name for other in FORMATS.values() if any(other.has(Path(s)) for s in entry.suffixes)]
    if entry.name in FORMATS or taken:
        raise InputError(f"the format {entry.name} is there already, or its suffix is of {', '.join(taken)}")
    FORMATS[entry.name] = entry


def format_to_read(path: Path) -> Format:
    """The format of an existing file, folder, pattern or dataset in a file, by its name, else by its content.

    Raises
    ------
    InputError
        If it has none of the known formats.
    """
    file, several = split_inner(path)[0], path.is_dir() or is_pattern(path)
    fitting = [each for each in FORMATS.values() if each.is_folder or not several]
    named = [] if is_pattern(path) else [each for each in fitting if each.has(file)]
    found = named or [each for each in fitting if each.recognise(path)]
    if found:
        return found[0]
    if path.is_dir():
        return FORMATS["OME-Zarr"]  # opening it then says what is missing
    what = f"a {path.suffix[1:].upper()} file" if path.suffix else "no image file"
    known = _listed(each.name for each in FORMATS.values() if not each.is_folder or each.suffixes)
    raise InputError(
        f"{path} is {what}, which is not read: save it as {known} (in napari: File > Save "
        f"Selected Layers, as {next(iter(offered()))})"
    )


def format_to_write(path: Path) -> Format:
    """The format of an output, by its name.

    Raises
    ------
    InputError
        If no format that can be written has this ending.
    """
    for each in FORMATS.values():
        if each.writes(path):
            return each
    raise InputError(f"{path}: the name tells the format: let it end with {_listed(offered())}")


def is_stack(path: Path) -> bool:
    """Whether the name has an ending of one of the formats."""
    return any(each.has(split_inner(path)[0]) for each in FORMATS.values())


def offered(*, channels: bool = False) -> list[str]:
    """Suffixes of formats that can be written; with `channels`, of those with named channels."""
    written = [each for each in FORMATS.values() if each.planes and (each.has_channels or not channels)]
    return [suffix for each in written for suffix in each.suffixes]


def what_is_read() -> str:
    """All formats with their suffixes, in words."""
    return _listed(f"{each.name} ({', '.join(_endings(each))})" for each in FORMATS.values())


def _endings(each: Format) -> list[str]:
    """What names of the format look like."""
    folder = ["a folder"] if each.is_folder else []
    return [*folder, *each.suffixes, *each.read_suffixes]


def _listed(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else last
