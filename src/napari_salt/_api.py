"""Training, segmenting and scoring in Python: paths and opened stacks are taken as well as arrays."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_salt.core import metrics
from napari_salt.core.adapt.adapter import Adapter
from napari_salt.core.metrics import Evaluation
from napari_salt.core.segment import uncertainty, whole
from napari_salt.core.train import training
from napari_salt.io import Stack, read_labels, read_stack
from napari_salt.io._stack import known_spacing
from napari_salt.io._unrelated import as_pairs
from napari_salt.terms.config import SegmentConfig, TrainConfig
from napari_salt.terms.errors import check_type
from napari_salt.terms.events import TrainingEvent
from napari_salt.terms.planes import Spacing, Voxels
from napari_salt.terms.stack import StackLike, common_group

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["evaluate", "segment", "suggest", "train", "training_events"]

Given = StackLike | Stack | str | os.PathLike[str]
"""An array, what `read_stack` gives, or the path of a file or folder that it reads."""

_PATHS = (str, os.PathLike)


def train(
    image: Given | Sequence[Given],
    labels: Given | Sequence[Given],
    config: TrainConfig | None = None,
    *,
    init: Adapter | None = None,
    pixel_size: float | Sequence[float | None] | None = None,
    voxels: Voxels | Spacing | list[Voxels | Spacing | None] | None = None,
) -> Adapter:
    """Train an adapter (see `training_events`) and return the one to keep.

    If a random forest scores better on the held-out paint, a warning is logged, with what would help most.

    Parameters
    ----------
    image, labels, config, init, pixel_size, voxels
        See `training_events`.

    Returns
    -------
    Adapter
        The one of the last event that has one.

    Raises
    ------
    InputError, AdapterError, BaseModelError, DeviceError
        See `training_events`.
    SaltError
        If no step could be taken, or the loss is not finite time after time.
    """
    use = _Stacks.of(image, labels, config, pixel_size, voxels)
    return training.train(
        use.image, use.labels, use.config, init=init, pixel_size=use.pixel_size, voxels=use.voxels
    )


def training_events(
    image: Given | Sequence[Given],
    labels: Given | Sequence[Given],
    config: TrainConfig | None = None,
    *,
    init: Adapter | None = None,
    pixel_size: float | Sequence[float | None] | None = None,
    voxels: Voxels | Spacing | list[Voxels | Spacing | None] | None = None,
    between: Callable[[training.Look], None] | None = None,
) -> Iterator[TrainingEvent[Adapter]]:
    """Train an adapter; yield an event for every step (see `core.train.training.training_events`).

    Parameters
    ----------
    image
        Grey (Z, Y, X) or colour (Z, Y, X, 3); numpy, dask or zarr; a path that `read_stack` reads, or what it
        gives. Or a list of such stacks, to learn from several.
    labels
        Whole numbers from 0, shape (Z, Y, X), likewise; a list of as many where there are several stacks. Of
        a path, they are brought onto the image's grid where both files say where their voxels lie, and names
        of its segments become those of the classes.
    config
        Budget, seed and the meaning of the paint.
    init
        Adapter to go on from; its classes, base, method, ranks and preprocessing are kept.
    pixel_size
        Micrometres per pixel of the stored slices; a list where stacks differ. None: what the files say.
    voxels
        `Voxels` or the size of one (z, y, x) in any unit, for other planes than z; a list where stacks
        differ. None: what the files say; voxels of arrays are cubes.
    between
        Called after every step with a function that previews what has been learnt.

    Yields
    ------
    TrainingEvent

    Raises
    ------
    InputError
        If image, labels, slices, pixel size or settings cannot be used, or nothing is painted.
    AdapterError
        If `init` does not fit its base, or needs one unknown here.
    BaseModelError
        If the base model cannot be loaded.
    DeviceError
        If the device is not available, or the memory does not hold one crop.
    SaltError
        If the loss is not finite time after time.
    """
    use = _Stacks.of(image, labels, config, pixel_size, voxels)
    yield from training.training_events(
        use.image,
        use.labels,
        use.config,
        init=init,
        pixel_size=use.pixel_size,
        voxels=use.voxels,
        between=between,
    )


def segment(
    stack: Given,
    adapter: Adapter,
    config: SegmentConfig | None = None,
    *,
    pixel_size: float | None = None,
    voxels: Voxels | Spacing | None = None,
    client: Client | None = None,
) -> NDArray[np.integer]:
    """Segment a stack into memory.

    Parameters
    ----------
    stack
        numpy, dask or zarr, shape (Z, Y, X) or (Z, Y, X, 3); a path that `read_stack` reads, or what it
        gives.
    adapter
        What `train` returned, or a loaded file.
    config
        How to segment; None: the defaults.
    pixel_size
        Micrometres per pixel of the stored slices; they are resampled to the adapter's pixel size. None: what
        the file says.
    voxels
        `Voxels` or the size of one (z, y, x) in any unit, for planes across the slices. None: what the file
        says; voxels of arrays are cubes.
    client
        Of a Dask cluster whose workers do the work (see `core.segment.cluster`).

    Returns
    -------
    array
        Label values, shape (Z, Y, X), or numbers of objects (int32) if `config` separates them; slices that
        were not asked for are 0.

    Raises
    ------
    InputError
        If the stack, the slices or the sizes cannot be used, or a cluster is to number objects or to segment
        planes across the slices.
    AdapterError
        If the adapter does not fit its base, or needs one unknown here.
    BaseModelError
        If the base model cannot be loaded.
    DeviceError
        If the device is not available, or out of memory.
    """
    use = _Segmented.of(stack, config, pixel_size, voxels)
    return whole.segment(
        use.data, adapter, use.config, pixel_size=use.pixel_size, voxels=use.voxels, client=client
    )


def suggest(
    stack: Given,
    adapter: Adapter,
    config: SegmentConfig | None = None,
    *,
    pixel_size: float | None = None,
    voxels: Voxels | Spacing | None = None,
    count: int = 5,
) -> tuple[int, ...]:
    """Suggest slices to paint next, best first (see `uncertainty_events`).

    Parameters
    ----------
    stack, adapter, pixel_size, voxels
        See `segment`.
    config
        How to segment; its slices are those to choose from.
    count
        Largest number of slices.

    Returns
    -------
    tuple of int
        Slice numbers, without those of this stack that the adapter was trained on.

    Raises
    ------
    InputError, AdapterError, BaseModelError, DeviceError
        As `uncertainty_events`.
    """
    use = _Segmented.of(stack, config, pixel_size, voxels)
    return uncertainty.suggest(
        use.data, adapter, use.config, pixel_size=use.pixel_size, voxels=use.voxels, count=count
    )


def evaluate(
    prediction: Given,
    labels: Given,
    *,
    spacing: Sequence[float] | None = None,
    three_d: bool = False,
    mask: Given | None = None,
    classes: Sequence[int] | None = None,
) -> Evaluation:
    """Score a segmentation against labels (see `core.metrics.evaluate` for how).

    Parameters
    ----------
    prediction, labels
        Integer or bool class values, (Z, Y, X), or (Y, X) for one slice; both of one shape. Or paths that
        `read_labels` reads, or what it gives: labels are brought onto the grid of the prediction where both
        files say where their voxels lie.
    spacing
        Voxel size (z, y, x) in physical units, for HD95. None: what the files say; else HD95 is in pixels.
    three_d
        Measure HD95 in 3D, which loads both stacks.
    mask
        Bool, of the same shape, or a path: only where it is not 0 are voxels scored; None scores all.
    classes
        Values to score; others count as background.

    Returns
    -------
    Evaluation
        Dice, IoU and HD95 of each class, and the mean Dice.

    Raises
    ------
    InputError
        If a file cannot be read, shapes differ, values are not integers, or the spacing is not three positive
        numbers.
    """
    found = _opened_labels(prediction, None)
    if isinstance(found, Stack) and found.partial and isinstance(prediction, _PATHS):
        # a segmentation of the slices in which there is something
        found = _opened_labels(prediction, _opened_labels(labels, None))
    given = [found, *(None if each is None else _opened_labels(each, found) for each in (labels, mask))]
    stacks = [each for each in given if isinstance(each, Stack)]
    if spacing is None and stacks:
        spacing = known_spacing(stacks[:2], three_d=three_d)
    scored, truth, where = (each.data if isinstance(each, Stack) else each for each in given)
    return metrics.evaluate(scored, truth, spacing=spacing, three_d=three_d, mask=where, classes=classes)


@dataclass(frozen=True)
class _Segmented:
    """Arguments of the core's segmentation: an array, and what its file says where the caller does not."""

    data: Any
    config: SegmentConfig | None
    pixel_size: float | None
    voxels: Voxels | Spacing | None

    @classmethod
    def of(
        cls,
        stack: Given,
        config: SegmentConfig | None,
        pixel_size: float | None,
        voxels: Voxels | Spacing | None,
    ) -> _Segmented:
        """Open what is a path; an array stays as it is."""
        opened = _opened(stack)
        if not isinstance(opened, Stack):
            return cls(opened, config, pixel_size, voxels)
        config = config or SegmentConfig()
        check_type(config, SegmentConfig, "config", "a SegmentConfig")
        return cls(
            opened.data,
            replace(config, group=config.group or opened.group),
            opened.pixel_size if pixel_size is None else pixel_size,
            opened.voxels if voxels is None else voxels,
        )


@dataclass(frozen=True)
class _Stacks:
    """Arguments of the core's training: arrays, and what files say of them where the caller does not."""

    image: Any
    labels: Any
    config: TrainConfig | None
    pixel_size: Any
    voxels: Any

    @classmethod
    def of(cls, image: Any, labels: Any, config: TrainConfig | None, pixel_size: Any, voxels: Any) -> _Stacks:
        """Open what is a path; arrays alone stay as they are."""
        images, paints = (each if isinstance(each, list | tuple) else [each] for each in (image, labels))
        if not any(isinstance(each, (*_PATHS, Stack)) for each in (*images, *paints)):
            return cls(image, labels, config, pixel_size, voxels)
        if isinstance(config, TrainConfig) and config.independent and len(images) == len(paints):
            images, paints = _apart(images, paints)
        images = [_opened(each) for each in images]
        if len(images) == len(paints):
            paints = [_opened_labels(paint, each) for paint, each in zip(paints, images, strict=True)]
        known = [each if isinstance(each, Stack) else None for each in images]
        if pixel_size is None:
            pixel_size = [each and each.pixel_size for each in known]
        if voxels is None:
            voxels = [each and each.voxels for each in known]
        return cls(
            [each.data if isinstance(each, Stack) else each for each in images],
            [each.data if isinstance(each, Stack) else each for each in paints],
            _completed(config or TrainConfig(), known, paints),
            pixel_size,
            voxels,
        )


def _apart(images: Sequence[Any], paints: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Images and labels; folders of unrelated images that differ in shape as single files."""
    pairs: list[tuple[Any, Any]] = []
    for image, paint in zip(images, paints, strict=True):
        paths = isinstance(image, _PATHS) and isinstance(paint, _PATHS)
        pairs += (paths and as_pairs(Path(image), Path(paint))) or [(image, paint)]
    return [image for image, _ in pairs], [paint for _, paint in pairs]


def _completed(config: TrainConfig, images: Sequence[Stack | None], labels: Sequence[Any]) -> TrainConfig:
    """`config` with the time points of the images and the names of the label files, where it has none."""
    check_type(config, TrainConfig, "config", "a TrainConfig")
    groups = [(str(each.source), each.group) for each in images if each is not None]
    infos = [info for each in labels if isinstance(each, Stack) for info in each.classes]
    names = {info.value: info.name for info in infos}
    colors = {info.value: info.color for info in infos}
    return replace(
        config,
        group=config.group or (common_group(groups) if groups else None),
        class_names={**names, **config.class_names},
        class_colors={**colors, **config.class_colors},
    )


def _opened(given: Any) -> Any:
    return read_stack(os.fspath(given)) if isinstance(given, _PATHS) else given


def _opened_labels(given: Any, image: Any) -> Any:
    if not isinstance(given, _PATHS):
        return given
    return read_labels(os.fspath(given), like=image if isinstance(image, Stack) else None)
