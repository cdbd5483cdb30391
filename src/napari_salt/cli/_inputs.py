"""What the commands are given: images, adapters, bases and options."""

from __future__ import annotations

import argparse
import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from napari_salt.cli._about import fetch
from napari_salt.io import Stack, read_stack
from napari_salt.io._write import check_folder
from napari_salt.terms.cache import is_file
from napari_salt.terms.card import TEXT_FIELDS, AdapterCard, check_texts
from napari_salt.terms.config import SegmentConfig, TrainConfig
from napari_salt.terms.errors import InputError
from napari_salt.terms.library import Library
from napari_salt.terms.options import changed, options_of, values_of
from napari_salt.terms.planes import Planes, Voxels, cut_of
from napari_salt.terms.registry import BASES, DEFAULT_BASE, split_size

if TYPE_CHECKING:
    from napari_salt.core.adapt.adapter import Adapter

__all__ = [
    "adapter_file",
    "check_adapter_path",
    "given",
    "given_texts",
    "label_axes",
    "load",
    "opened",
    "prepare_base",
    "read_image",
    "voxels_for",
]

logger = logging.getLogger(__name__)

Config = TypeVar("Config", TrainConfig, SegmentConfig)


def given(options: argparse.Namespace, config: Config) -> Config:
    """`config` with the options that the arguments set."""
    names = options_of(type(config))
    chosen = changed(config, {name: value for name, value in vars(options).items() if name in names})
    logger.debug("options: %s", ", ".join(f"{name} {value!r}" for name, value in values_of(chosen).items()))
    return chosen


def read_image(options: argparse.Namespace) -> Stack:
    """Open the image that the arguments name, with their axes, channel and pixel size."""
    return opened(options, options.image)


def opened(options: argparse.Namespace, path: Path) -> Stack:
    stack = read_stack(path, axes=options.axes, channel=options.channel, series=options.series)
    stack = replace(stack, true_pixel_size=options.pixel_size)
    size = "unknown" if stack.pixel_size is None else f"{stack.pixel_size:g} um"
    shape = " x ".join(map(str, stack.data.shape))
    logger.debug("%s: %s %s, pixel size %s", path, shape, stack.data.dtype, size)
    return stack


def load(path: Path) -> Adapter:
    """Load an adapter; a wrong file is reported before torch is imported.

    Raises
    ------
    AdapterError
        If the file is missing, damaged or no adapter.
    """
    path = adapter_file(path)
    AdapterCard.read(path)
    from napari_salt.core.adapt.adapter import Adapter

    return Adapter.load(path)


def prepare_base(adapter: Adapter | None, given: str | None) -> None:
    """Make sure that the base of `adapter`, else the `given` or the default one, can be loaded.

    A base of the registry is downloaded; a path given for an adapter's local checkpoint is checked and noted.

    Parameters
    ----------
    adapter
        The adapter that will be used or trained further, if any.
    given
        Base model that the user named: a name of the registry or a checkpoint file.

    Raises
    ------
    InputError
        If `given` is not the adapter's base.
    SaltError
        If the base cannot be loaded or downloaded.
    """
    if adapter is not None and given is not None:
        if is_file(split_size(given)[0]):
            from napari_salt.core.bases.load import load_base

            adapter.check_base(load_base(given))
        elif given != adapter.base_model:
            raise InputError(
                f"the adapter's base model is {adapter.base_model!r}, not {given!r}; leave --base out, "
                "or give the checkpoint file"
            )
    reference = adapter.base_reference() if adapter else given or DEFAULT_BASE
    spec = BASES.get(split_size(reference)[0])
    if spec is not None and spec.url:
        fetch(spec)


def given_texts(options: argparse.Namespace) -> dict[str, str]:
    """Texts of an adapter's file that the arguments give (name, description, author, license).

    Raises
    ------
    AdapterError
        If one is too long.
    """
    texts = {name: text for name in TEXT_FIELDS if (text := getattr(options, name)) is not None}
    check_texts(texts)
    return texts


def adapter_file(path: Path) -> Path:
    """The path of an adapter's file; a plain name that is no file is looked up in the library."""
    named = path.name == str(path) and not path.exists()
    return (Library().find(str(path)) or path) if named else path


def label_axes(axes: str | None) -> str | None:
    """Axes of the labels that belong to an image with `axes`: without C and S."""
    return None if axes is None else "".join(letter for letter in axes.upper() if letter in "TZNYX")


def check_adapter_path(path: Path) -> None:
    """Refuse an output that could not be written, before any work."""
    if path.suffix != ".safetensors":
        raise InputError(f"{path}: an adapter's name ends in .safetensors; rename it")
    check_folder(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file")


def voxels_for(image: Stack, plane: Planes) -> Voxels:
    """The image's voxels; a warning is logged where a plane needs their sizes and they are not known."""
    voxels = image.voxels
    if voxels.spacing is None and (plane == "all" or not cut_of(plane, voxels).stored):
        logger.warning("%s does not tell the distance of slices; voxels are taken for cubes", image.source)
    return voxels
