"""Fine-tuning on painted slices: reading, loading and preparation before the run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

import torch

from napari_salt.core.adapt.adapter import Adapter
from napari_salt.core.adapt.segmenter import Segmenter
from napari_salt.core.bases.load import load_base
from napari_salt.core.devices import fast_cpu, resolve_device
from napari_salt.core.paint.annotations import Annotations
from napari_salt.core.paint.choices import choose_preprocess
from napari_salt.core.paint.crops import Augmentation, CropSampler
from napari_salt.core.paint.likeness import mean_profile
from napari_salt.core.paint.preprocess import SliceReader
from napari_salt.core.paint.split import hold_out
from napari_salt.core.paint.stacks import TrainingStack, read_paint, readers_of, training_stacks
from napari_salt.core.segment.memory import crops_that_fit
from napari_salt.core.train.budget import Clock
from napari_salt.core.train.classes import class_table
from napari_salt.core.train.provenance import advice, provenance
from napari_salt.core.train.run import FINAL_PHASE, Read, Run
from napari_salt.terms.config import TrainConfig
from napari_salt.terms.errors import SaltError, check_type
from napari_salt.terms.events import Preview, TrainingEvent
from napari_salt.terms.fingerprint import painted_slices
from napari_salt.terms.planes import Spacing, Voxels
from napari_salt.terms.stack import StackLike

__all__ = ["Look", "Stacks", "events_of", "train", "training_events"]

logger = logging.getLogger(__name__)

RATE, RATE_OF_ONE_STACK = 2e-3, 4e-3
"""What is learnt from one stack need not hold for others.

With 4e-3 instead of 2e-3 (100 steps, one view, seed 0) Dice on other slices of the stack: vertebra 0.846
instead of 0.830, EM mitochondria 0.899 (0.885), cell borders 0.636 (0.624), ovule nuclei 0.773 (0.740),
hippocampus 0.815 (0.690), embryo nuclei 0.880 (0.884); but hearts 0.800 (0.810), hearts of other patients
0.390 (0.454), and hippocampi of others 0.658 (0.674).
"""


KEPT = 0.25
"""Share of the adapter to go on from that stays where another stack is learnt from.

Two hippocampi after another one, 60 steps each, three slices, seed 0: Dice on the first stack 0.590 and
0.568 instead of 0.491 and 0.511 without it (before: 0.649), on the new one 0.732 and 0.679 instead of 0.723
and 0.665. With a half: 0.645 and 0.591, and 0.703 and 0.663.
"""


class Look(Protocol):
    """Previews what has been learnt so far."""

    def __call__(self, index: int, centre: tuple[float, float], read: Read | None = None) -> Preview:
        """Segment the square around `centre`, (y, x) in pixels, of slice `index`.

        `read` makes a reader of another stack than the first of the training, by the training's rule.
        """
        ...


Stacks = StackLike | Sequence[StackLike]


def train(
    image: Stacks,
    labels: Stacks,
    config: TrainConfig | None = None,
    *,
    init: Adapter | None = None,
    pixel_size: float | Sequence[float | None] | None = None,
    voxels: Voxels | Spacing | list[Voxels | Spacing | None] | None = None,
) -> Adapter:
    """Train on stacks in memory or on disk, as `napari_salt.train`, which reads files as well."""
    config = config or TrainConfig()
    check_config(config)
    stacks = training_stacks(image, labels, pixel_size, config.plane, voxels)
    best: Adapter | None = None
    for event in events_of(stacks, config, init=init):
        best = event.adapter or best
    if best is None:
        raise SaltError("training ended without an adapter; give it more minutes or steps")
    from napari_salt.core.train.verdict import verdict_on

    verdict = verdict_on(best, stacks, config, init.values if init else ())
    if verdict.worse:
        logger.warning("%s; what would help most: %s", verdict.comparison, verdict.help)
    return best


def training_events(
    image: Stacks,
    labels: Stacks,
    config: TrainConfig | None = None,
    *,
    init: Adapter | None = None,
    pixel_size: float | Sequence[float | None] | None = None,
    voxels: Voxels | Spacing | list[Voxels | Spacing | None] | None = None,
    between: Callable[[Look], None] | None = None,
) -> Iterator[TrainingEvent[Adapter]]:
    """Train an adapter; yield an event for every step.

    The first 70 % of the budget learn from some of the paint and are scored on the rest; then all of
    the paint is learnt from. What is scored and handed out is an exponential moving average, so
    that a stop at any event leaves a usable adapter.

    Parameters
    ----------
    image
        Grey (Z, Y, X) or colour (Z, Y, X, 3); numpy, dask or zarr. Only painted slices, and up to 16
        more for the intensity window, are read. Or a list of such stacks, to learn from several.
    labels
        Whole numbers from 0, shape (Z, Y, X); a list of as many where there are several stacks. Each stack
        has its own intensity window. Of three or more, one is held out whole.
    config
        Budget, seed and the meaning of the paint.
    init
        Adapter to go on from; its classes, base, method, ranks and preprocessing are kept.
    pixel_size
        Micrometres per pixel of the stored slices, if known; a list where stacks differ.
    voxels
        `Voxels` or the size of one (z, y, x) in any unit, for other planes than z; a list where stacks
        differ. None: voxels are cubes.
    between
        Called after every step with a function that previews what has been learnt:
        ``look(index, (y, x))`` segments the square around a point of the (first) stack, or of another one
        (see `Look`). It may raise to end the training.

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
    config = config or TrainConfig()
    check_config(config)
    stacks = training_stacks(image, labels, pixel_size, config.plane, voxels)
    yield from events_of(stacks, config, init=init, between=between)


def events_of(
    stacks: Sequence[TrainingStack],
    config: TrainConfig,
    *,
    init: Adapter | None = None,
    between: Callable[[Look], None] | None = None,
) -> Iterator[TrainingEvent[Adapter]]:
    """Train on stacks that were checked already, of the planes of `config` (see `training_events`)."""
    check_config(config)
    if init is not None:
        check_type(init, Adapter, "adapter to go on from", "an Adapter, such as Adapter.load(path)")
    clock = Clock.of(config)
    annotations = read_paint(stacks, config, init.values if init else ())
    with fast_cpu():
        run = _start(stacks, annotations, config, init, clock)
        for event in run.events():
            yield event
            if between is not None:
                between(run.look)


def check_config(config: TrainConfig) -> None:
    """Raise InputError for a config of another type."""
    check_type(config, TrainConfig, "config", "a TrainConfig")


def _elsewhere(images: Sequence[StackLike], init: Adapter | None) -> bool:
    """Whether `init` has learnt from none of these stacks."""
    return init is not None and not any(painted_slices(image, init) for image in images)


def _smallest(annotations: Annotations, readers: Sequence[SliceReader], init: Adapter | None) -> float:
    """Area of the smallest objects of all stacks, and of those before, in pixels of the model's input."""
    pairs = zip(annotations.smallest, readers, strict=False)  # none where classes are painted
    areas = [area * reader.scale**2 for area, reader in pairs]
    before = [init.smallest] if init is not None else []
    return round(min([*areas, *before], default=0.0), 2)


def _start(
    stacks: Sequence[TrainingStack],
    annotations: Annotations,
    config: TrainConfig,
    init: Adapter | None,
    clock: Clock,
) -> Run:
    """Load the base, adapt it, and prepare the paint."""
    device = resolve_device(config.device)
    images = [stack.image for stack in stacks]
    if init is not None:
        config = replace(config, base=init.base_reference(), method=init.method, salt=init.salt)
    base = load_base(config.base, device)
    if init is None:
        size = stacks[0].pixel_size
        preprocess = choose_preprocess(images, annotations, config, base.spec.input_size, size)
    else:
        init.check_base(base)
        preprocess = replace(init.preprocess, plane=config.plane)
    readers = readers_of(stacks, preprocess)
    # Not counted as training time: decomposing a large base takes minutes, but only the first time.
    with torch.random.fork_rng(devices=[]), clock.stopped():
        torch.manual_seed(config.seed)
        count = len(annotations.values)
        segmenter = Segmenter(base.module, base.spec, count, config.salt, config.method)
    if init is not None:
        init.widened(segmenter, annotations.values).write_to(segmenter)
    split = hold_out(annotations.slices, config.group)
    elsewhere = _elsewhere(images, init)
    augmentation, rate = Augmentation(turns=preprocess.turns), RATE
    if not (config.independent or elsewhere or len(images) > 1):
        # All that is learnt, before and now, is of one intensity window, where absolute intensity tells
        # something (a random forest uses it, too): plant nuclei that fade with depth are found with Dice
        # 0.746, with varied intensities 0.686 (100 steps; EM membranes, spinal cord and hippocampi, also
        # those of other patients, differ by 0.003 at most).
        augmentation, rate = replace(augmentation, contrast=0.0, brightness=0.0, gamma=0.0), RATE_OF_ONE_STACK
    rate = config.learning_rate or rate
    config = replace(config, learning_rate=rate)
    learning, everything = (
        CropSampler(readers, slices, segmenter.input_size, augmentation, config.seed)
        for slices in (split.training, annotations.slices)
    )
    return Run(
        segmenter,
        base,
        config,
        annotations.slices,
        split,
        learning,
        everything,
        readers,
        class_table(annotations.values, config, init),
        annotations.border,
        annotations.divided if init is None else max(annotations.divided, init.divided),
        _smallest(annotations, readers, init),
        {
            **provenance(images, annotations, config, split, device, mixed=any(s.marks for s in stacks)),
            "intensities": mean_profile(readers),
        },
        clock,
        batch_size=crops_that_fit(segmenter, config.batch_size or (1 if device.type == "cpu" else 4)),
        rate=rate,
        advice=advice(annotations, split, FINAL_PHASE),
        fresh=init is None,
        kept=KEPT if elsewhere and init is not None and annotations.values == init.values else 0.0,
    )
