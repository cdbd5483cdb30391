"""``--dry-run``: what a training or a segmentation would do; nothing is computed by a model, or written."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from napari_salt.cli._terminal import say
from napari_salt.io import Stack
from napari_salt.terms.card import AdapterCard, ClassInfo
from napari_salt.terms.config import PRESET_MINUTES, SegmentConfig, TrainConfig
from napari_salt.terms.pace import short_duration
from napari_salt.terms.registry import BASES, base_spec, split_size
from napari_salt.terms.slice_ranges import shown_slices
from napari_salt.terms.stack import result_dtype
from napari_salt.terms.text import shown_size

if TYPE_CHECKING:
    from napari_salt.core.adapt.adapter import Adapter
    from napari_salt.core.paint.stacks import TrainingStack

__all__ = ["SegmentationPlan", "say_plan", "segmentation_plan", "training_plan"]

logger = logging.getLogger(__name__)

FLOAT = np.dtype(np.float32).itemsize


def say_plan(facts: Mapping[str, Any], indent: str = "") -> None:
    """Print facts by name, one a line; facts of a part below its name."""
    for name, value in facts.items():
        titled = f"{indent}{name.removesuffix('_bytes').replace('_', ' ')}:"
        if isinstance(value, Mapping):
            say(titled)
            say_plan(value, f"{indent}  ")
        else:
            say(f"{titled} {_shown(name, value)}")


def _shown(name: str, value: Any) -> str:
    """A fact as text: lists in one line, bytes as sizes."""
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if value is None:
        return "not known"
    return shown_size(value) if name.endswith("_bytes") else str(value)


@dataclass(frozen=True)
class SegmentationPlan:
    """What a segmentation would do.

    Parameters
    ----------
    slices
        How many slices are segmented, along whichever planes.
    size
        Rows and columns of a slice as the model sees it.
    views, tiles
        Looks at each slice, and tiles in all of them together.
    memory
        Bytes of the largest arrays; what the base model takes comes on top.
    output
        Bytes of the labels, and of probabilities, before compression.
    unlike
        In what the image differs from those that the adapter was trained on.
    """

    slices: int
    size: tuple[int, int]
    views: int
    tiles: int
    memory: int
    output: int
    unlike: tuple[str, ...] = ()

    def facts(self, adapter: AdapterCard, out: Path, *, seconds: float | None = None) -> dict[str, Any]:
        """By name, for people and for ``--json``."""
        return {
            "slices": self.slices,
            "classes": [f"{info.value}: {info.name}" for info in adapter.shown_classes],
            "seen_by_the_model": f"{self.size[0]} x {self.size[1]} pixels",
            "views": self.views,
            "tiles": self.tiles,
            "time": None if seconds is None else short_duration(seconds),
            "memory_of_arrays_bytes": self.memory,
            "free_memory_bytes": int(psutil.virtual_memory().available),
            "base_model": _about_base(adapter.base_model),
            "output": str(out),
            "output_size_bytes": self.output,
            "free_disk_bytes": _free_disk(out),
            "unlike_the_training": list(self.unlike),
        }


def segmentation_plan(
    image: Stack, adapter: Adapter, config: SegmentConfig, probabilities_dtype: str | None = None
) -> SegmentationPlan:
    """Plan a segmentation; slices are read as far as the intensity window needs them.

    Parameters
    ----------
    image
        What would be segmented.
    adapter
        With which adapter.
    config
        How.
    probabilities_dtype
        Type of the probabilities that would be written; None: none are.

    Raises
    ------
    InputError
        As the segmentation would.
    """
    from napari_salt.core.paint.likeness import unlikeness
    from napari_salt.core.segment.planes import Volume, across, cuts_wanted, reader_along, slices_along
    from napari_salt.core.segment.stack import views_for, wanted_slices
    from napari_salt.core.tiles import possible_overlap, tiles_of

    cuts = cuts_wanted(config, adapter.preprocess, image.voxels)
    volume = Volume(image.data, image.pixel_size, image.voxels)
    side, tiles = input_size_of(adapter.base_reference()), 0
    views = len(views_for(config, adapter.preprocess))
    readers = [reader_along(volume, cut, adapter.preprocess) for cut in cuts]
    for reader in readers:
        count = len(wanted_slices(config, len(reader)))
        tiles += count * views * len(tiles_of(reader.size, side, possible_overlap(config.overlap, side)))
    shape, n_maps = image.data.shape[:3], len(adapter.classes) + 1
    memory = n_maps * FLOAT * math.prod(readers[0].size)
    if across(cuts):
        memory += math.prod(shape) * (image.data.dtype.itemsize + n_maps * np.dtype(np.float16).itemsize)
    output = math.prod(shape) * result_dtype(adapter.values, config).itemsize
    if probabilities_dtype is not None:
        output += math.prod(shape) * n_maps * np.dtype(probabilities_dtype).itemsize
    slices = slices_along(cuts, shape, config)
    unlike = tuple(unlikeness(adapter, readers[0]))
    return SegmentationPlan(slices, readers[0].size, views, tiles, memory, output, unlike)


def training_plan(
    stacks: Sequence[TrainingStack], config: TrainConfig, out: Path, init: Adapter | None
) -> dict[str, Any]:
    """Plan a training: facts by name; the painted slices are read.

    Parameters
    ----------
    stacks
        Images with paint.
    config
        How it would be trained.
    out
        The adapter's file.
    init
        Adapter to go on from, if any.

    Raises
    ------
    InputError
        As the training would.
    """
    from napari_salt.core.paint.choices import choose_preprocess
    from napari_salt.core.paint.split import hold_out
    from napari_salt.core.paint.stacks import read_paint, readers_of
    from napari_salt.core.tiles import tiles_of
    from napari_salt.core.train.classes import class_table

    annotations = read_paint(stacks, config, init.values if init else ())
    base = init.base_reference() if init else config.base
    side, images = input_size_of(base), [stack.image for stack in stacks]
    preprocess = (
        init.preprocess
        if init
        else choose_preprocess(images, annotations, config, side, stacks[0].pixel_size)
    )
    reader = readers_of(stacks[:1], preprocess)[0]
    classes: Sequence[ClassInfo] = class_table(annotations.values, config, init)
    painted = [
        shown_slices(each.index for each in annotations.slices if each.stack == number)
        for number in range(len(stacks))
    ]
    return {
        "images": len(stacks),
        "painted_slices": painted if len(stacks) > 1 else painted[0],
        "classes": [f"{info.value}: {info.name}" for info in classes if info.value != annotations.border],
        "held_out": hold_out(annotations.slices, config.group).description,
        "pixel_scale": round(preprocess.pixel_scale, 3),
        "tiles_per_slice": len(tiles_of(reader.size, side, 0)),
        "turned_and_mirrored": "yes" if preprocess.turns else "no",
        "time": _budget(config),
        "free_memory_bytes": int(psutil.virtual_memory().available),
        "base_model": _about_base(base),
        "output": str(out),
        "free_disk_bytes": _free_disk(out),
        "replaces_a_file": "yes" if out.exists() else "no",
    }


def input_size_of(reference: str) -> int:
    """Side of a base model's input; a checkpoint file is loaded for that."""
    name, size = split_size(reference)
    if name in BASES:
        return base_spec(reference).input_size
    if size is not None:
        return size
    from napari_salt.core.bases.load import load_base

    return load_base(reference).spec.input_size


def _about_base(reference: str) -> str:
    name = split_size(reference)[0]
    if name not in BASES:
        return reference
    spec = BASES[name]
    size = f", {shown_size(spec.size)}" if spec.size else ""
    return f"{reference} ({spec.state}{size})"


def _budget(config: TrainConfig) -> str:
    minutes = config.minutes
    if minutes is None and config.steps is None:
        minutes = PRESET_MINUTES[config.preset]
    parts = [] if minutes is None else [short_duration(60 * minutes)]
    return " or ".join([*parts, *([] if config.steps is None else [f"{config.steps} steps"])])


def _free_disk(out: Path) -> int | None:
    """Free bytes where `out` would be; None if that folder is not there."""
    folder = next((each for each in out.absolute().parents if each.is_dir()), None)
    return None if folder is None else shutil.disk_usage(folder).free
