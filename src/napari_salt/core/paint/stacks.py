"""The stacks of one training: images, their paint, and how they are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_salt.core.paint.annotations import (
    Annotations,
    PaintedSlice,
    check_not_across,
    painted_planes,
    read_annotations,
)
from napari_salt.core.paint.dividing import dividing_depth
from napari_salt.core.paint.objects import (
    BORDER,
    INSIDE,
    areas_of,
    border_width,
    inside_and_border,
    smallest_area,
)
from napari_salt.core.paint.plane_view import in_memory, pixel_size_along, view_along
from napari_salt.core.paint.preprocess import SliceReader
from napari_salt.terms.config import TrainConfig, Unpainted
from napari_salt.terms.errors import InputError
from napari_salt.terms.kept_stack import kept
from napari_salt.terms.planes import AXES, Plane, Voxels, cut_of, voxels_of
from napari_salt.terms.preprocess import Preprocess
from napari_salt.terms.stack import StackLike, as_stack, check_pixel_size, check_stack

__all__ = ["TrainingStack", "check_shapes", "read_paint", "readers_of", "training_stacks"]


@dataclass(frozen=True, eq=False)
class TrainingStack:
    """An image with paint.

    Parameters
    ----------
    image
        Grey (Z, Y, X) or colour (Z, Y, X, 3).
    labels
        Whole numbers from 0, shape (Z, Y, X).
    pixel_size
        Micrometres per pixel in the plane, if known.
    marks
        What unpainted means on single slices, by position, in place of the config's `unpainted`.
    """

    image: StackLike
    labels: StackLike
    pixel_size: float | None = None
    marks: Mapping[int, Unpainted] = field(default_factory=dict)


def training_stacks(
    image: Any,
    labels: Any,
    pixel_size: Any = None,
    plane: Plane = "z",
    voxels: Any = None,
    marks: Sequence[Mapping[int, Unpainted]] = (),
) -> tuple[TrainingStack, ...]:
    """Check the arguments of the Python interface, and make stacks of them.

    Parameters
    ----------
    image
        Grey (Z, Y, X) or colour (Z, Y, X, 3), or a list of several.
    labels
        Whole numbers from 0, shape (Z, Y, X), or a list of as many.
    pixel_size
        Micrometres per pixel of the stored slices, one for all or a list; None if not known.
    plane
        Which planes of the volumes are painted; stacks of other planes than z are views of volumes in memory
        (see `PlaneView`).
    voxels
        `Voxels` or the size of one (z, y, x) in any unit, one for all or a list, for other planes than z;
        None: voxels are cubes.
    marks
        For each image, what unpainted means on single slices of plane z (see `TrainingStack`).

    Returns
    -------
    tuple of TrainingStack
        In the order given; each slice is read once, as far as memory allows.

    Raises
    ------
    InputError
        If the lists differ in length, labels do not cover their image, or kinds of images are mixed; or
        nothing says which axis follows `plane`, or memory does not hold a volume.
    """
    several = isinstance(labels, list | tuple) and any(
        len(getattr(each, "shape", ())) == 3 for each in labels
    )
    images, paints = (image, labels) if several else ([image], [labels])
    if not isinstance(images, list | tuple) or len(images) != len(paints):
        found = len(images) if isinstance(images, list | tuple) else "one image"
        raise InputError(f"{len(paints)} labels were given for {found}: give a list of as many images")
    sizes = pixel_size if isinstance(pixel_size, list | tuple) else [pixel_size] * len(images)
    if len(sizes) != len(images):
        raise InputError(f"{len(sizes)} pixel sizes were given for {len(images)} images: give one for each")
    known = voxels if isinstance(voxels, list) else [voxels] * len(images)
    if len(known) != len(images):
        raise InputError(f"{len(known)} voxels were given for {len(images)} images: give one for each")
    stacks: list[TrainingStack] = []
    for number, (each, paint, size, of_it) in enumerate(
        zip(images, paints, sizes, known, strict=True), start=1
    ):
        of = f" of stack {number}" if len(images) > 1 else ""
        check_pixel_size(size)
        stack = TrainingStack(kept(as_stack(each, f"image{of}")), kept(as_stack(paint, f"labels{of}")), size)
        check_shapes(stack.image, stack.labels, of)
        if check_stack(stack.image) != check_stack((stacks or [stack])[0].image):
            raise InputError(f"stack {number} is of another kind than the first: do not mix grey and colour")
        stacks.append(_along(stack, plane, voxels_of(of_it)))
    if marks and plane == "z":
        return tuple(replace(stack, marks=dict(of)) for stack, of in zip(stacks, marks, strict=True))
    return tuple(stacks)


def _along(stack: TrainingStack, plane: Plane, voxels: Voxels) -> TrainingStack:
    """The stack of the slices of a plane; labels are cut like the image.

    Raises
    ------
    InputError
        If the paint lies on other planes; or as `view_along`.
    """
    cut = cut_of(plane, voxels)
    if cut.stored:
        return stack
    labels = in_memory(stack.labels)
    paint = cut.of(labels)
    check_not_across(
        {index: paint[index] for index in np.flatnonzero(paint.any((1, 2))).tolist()},
        (AXES[cut.rows], AXES[cut.columns]),
    )
    return TrainingStack(
        view_along(stack.image, cut, voxels),
        view_along(labels, cut, voxels, labels=True),
        pixel_size_along(cut, stack.pixel_size, voxels),
    )


def check_shapes(image: StackLike, labels: StackLike, of: str = "") -> None:
    """Raise InputError for an image that cannot be used, or labels that are not of its shape."""
    check_stack(image)
    if tuple(labels.shape) != tuple(image.shape[:3]):
        raise InputError(
            f"the labels{of} have shape {tuple(labels.shape)}, the image {tuple(image.shape[:3])}; "
            "give labels of the image's shape"
        )


def read_paint(
    stacks: Sequence[TrainingStack], config: TrainConfig, values: Sequence[int] = ()
) -> Annotations:
    """Collect the paint of all stacks (see `read_annotations`); the classes are those of all.

    Parameters
    ----------
    stacks
        As `training_stacks` returns them.
    config
        Its slices, meaning of the paint and background label are used.
    values
        Label values of classes that exist even if they are not painted.

    Raises
    ------
    InputError
        As `read_annotations`, of any stack; or if slices were chosen though there are several stacks.
    """
    if len(stacks) > 1 and config.slices is not None:
        raise InputError("slices can be chosen of one stack only; leave them out, or clear the others' paint")
    if config.painted == "objects":
        return _read_objects(stacks, config, values)
    every = tuple(values)
    for _ in range(2 if len(stacks) > 1 else 1):  # the second time with the classes of all
        parts = [_paint_of(stacks, number, config, every) for number in range(len(stacks))]
        every = tuple(dict.fromkeys([*values, *sorted({v for part in parts for v in part.values})]))
    slices = tuple(painted for part in parts for painted in part.slices)
    return Annotations(slices, every, all(part.looks_like_strokes for part in parts))


def _read_objects(stacks: Sequence[TrainingStack], config: TrainConfig, values: Sequence[int]) -> Annotations:
    """Collect painted objects as insides and borders (see `objects.inside_and_border`).

    Raises
    ------
    InputError
        As `read_paint`; or `values` are those of an adapter that has not learnt from objects.
    """
    if tuple(values) not in ((), (INSIDE, BORDER)):
        raise InputError(
            f"the adapter to go on from has the classes {', '.join(map(str, values))}, and no borders of "
            "objects; train without it, or let labels be classes"
        )
    background = (config.background_label or 1) if config.unpainted == "ignore" else 0
    slices: list[PaintedSlice] = []
    numbers: list[NDArray[np.int64]] = []
    smallest = []
    for number, stack in enumerate(stacks):
        planes = dict(painted_planes(stack.labels, config.slices, config.unpainted, stack.marks))
        check_not_across(planes)
        areas = areas_of(planes.values(), background)
        width = border_width(areas)
        smallest.append(smallest_area(areas))
        for index, plane in planes.items():
            complete = stack.marks.get(index, config.unpainted) == "background"
            target = inside_and_border(plane, width, background, unpainted_is_background=complete)
            slices.append(PaintedSlice(index, target, number))
            numbers.append(plane)
    if not any((painted.target > 0).any() for painted in slices):
        raise InputError("no object is painted on the slices to train on; paint at least one")
    divided = dividing_depth(numbers, [painted.target for painted in slices])
    return Annotations(
        tuple(slices), (INSIDE, BORDER), border=BORDER, divided=divided, smallest=tuple(smallest)
    )


def _paint_of(
    stacks: Sequence[TrainingStack], number: int, config: TrainConfig, values: tuple[int, ...]
) -> Annotations:
    try:
        return read_annotations(
            stacks[number].labels,
            slices=config.slices,
            unpainted=config.unpainted,
            background_label=config.background_label,
            values=values,
            stack=number,
            marks=stacks[number].marks,
        )
    except InputError as error:
        if len(stacks) == 1:
            raise
        raise InputError(f"stack {number + 1}: {error}") from error


def readers_of(stacks: Sequence[TrainingStack], preprocess: Preprocess) -> tuple[SliceReader, ...]:
    """A reader for each stack, each with an intensity window and pixel size of its own."""
    return tuple(SliceReader(stack.image, preprocess, stack.pixel_size) for stack in stacks)
