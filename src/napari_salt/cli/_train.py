"""The command ``train``."""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_salt.cli._terminal import Interruption, begun, duration, is_quiet, progress_bar, tell
from napari_salt.io import Stack, read_labels
from napari_salt.io._unrelated import as_pairs
from napari_salt.terms.cache import cache_folder, write_atomically
from napari_salt.terms.config import TrainConfig, Unpainted
from napari_salt.terms.errors import AdapterError
from napari_salt.terms.planes import Plane
from napari_salt.terms.stack import common_group
from napari_salt.terms.text import printable

if TYPE_CHECKING:
    from napari_salt.core.adapt.adapter import Adapter
    from napari_salt.core.paint.stacks import TrainingStack
    from napari_salt.terms.events import TrainingEvent
from napari_salt.cli._inputs import (
    check_adapter_path,
    given,
    given_texts,
    label_axes,
    load,
    opened,
    prepare_base,
    voxels_for,
)

__all__ = ["Pair", "judge", "named", "run_training", "train", "training_stacks"]

WARNS = "WARNING: "
"""Begins the part of a training's message that is a warning."""

Result = tuple[dict[str, Any], bool]

Pair = tuple[Stack, Stack]
"""An image and its labels."""

logger = logging.getLogger(__name__)


def train(options: argparse.Namespace) -> Result:
    """``napari-salt train``."""
    began = time.monotonic()
    check_adapter_path(options.out)
    texts = given_texts(options)
    pairs = _read_pairs(options)
    group = common_group([(str(image.source), image.group) for image, _ in pairs])
    config = given(options, named(TrainConfig(group=group), [labels for _, labels in pairs]))
    init = load(options.init) if options.init else None
    if options.dry_run:
        return _planned(pairs, config, options, init), False
    prepare_base(init, getattr(options, "base", None))
    stacks = training_stacks(pairs, config.plane)
    adapter, interrupted = run_training(stacks, config, options.out, init, texts)
    if not interrupted:
        with contextlib.suppress(KeyboardInterrupt):
            judge(stacks, config, adapter, init)
    ended = "stopped early; the best adapter so far is" if interrupted else "the adapter is"
    size = options.out.stat().st_size / 1e3
    tell(
        f"{ended} in {options.out} ({size:.0f} kB): {adapter.training['steps']} steps, "
        f"{duration(time.monotonic() - began)} in all"
    )
    return training_summary(adapter), interrupted


def _planned(
    pairs: Sequence[Pair], config: TrainConfig, options: argparse.Namespace, init: Adapter | None
) -> dict[str, Any]:
    """Say what would be trained."""
    from napari_salt.cli._plan import say_plan, training_plan

    facts = training_plan(training_stacks(pairs, config.plane), config, options.out, init)
    if not options.json:
        say_plan(facts)
    return facts


def _read_pairs(options: argparse.Namespace) -> list[Pair]:
    """Open all images with their labels."""
    axes = label_axes(options.axes)
    named = [(options.image, options.labels), *options.stack]
    if getattr(options, "independent", False):
        named = [pair for image, labels in named for pair in as_pairs(image, labels) or [(image, labels)]]
    images = [(opened(options, image), labels) for image, labels in named]
    return [
        (image, read_labels(labels, axes=axes, like=image, resample=options.resample))
        for image, labels in images
    ]


def named(config: TrainConfig, labels: Sequence[Stack]) -> TrainConfig:
    """`config` with the names and colours that label files give their values, the first file's first."""
    known = [info for stack in reversed(labels) for info in stack.classes]
    return replace(
        config,
        class_names={info.value: info.name for info in known},
        class_colors={info.value: info.color for info in known},
    )


def judge(
    stacks: Sequence[TrainingStack], config: TrainConfig, adapter: Adapter, init: Adapter | None
) -> None:
    """Tell how the adapter compares with a random forest, and what would help most."""
    from napari_salt.core.train.verdict import verdict_on

    verdict = verdict_on(adapter, stacks, config, init.values if init else ())
    if verdict.comparison:
        tell(verdict.comparison)
    tell(f"what would help most: {verdict.help}")


def run_training(
    stacks: Sequence[TrainingStack],
    config: TrainConfig,
    out: Path,
    init: Adapter | None = None,
    texts: Mapping[str, str] | None = None,
) -> tuple[Adapter, bool]:
    """Train with a progress bar, saving the adapter to `out` whenever it is the best so far.

    Parameters
    ----------
    stacks
        Images with paint.
    config
        How to train.
    out
        The adapter's file.
    init
        The adapter to go on from, if any.
    texts
        Name, description, author and license that the file gets; those that are not given stay as they are.

    Returns
    -------
    adapter, interrupted
        The adapter that was saved last, and whether Ctrl-C ended the training.

    Raises
    ------
    KeyboardInterrupt
        If Ctrl-C was pressed before there was an adapter.
    """
    from napari_salt.core.train.training import events_of

    best: Adapter | None = None
    interruption = Interruption()
    events = events_of(stacks, config, init=init)
    with _kept_on_failure(lambda: best, out), interruption.watched():
        started = begun(events)
        with progress_bar(100, "training", "%") as bar:
            for event in started:
                _show(event, bar)
                best = event.adapter.with_texts(texts or {}) if event.adapter else best
                if best and event.adapter and event.held_out_dice:
                    _save_meanwhile(best, out)
                if interruption.requested:
                    break
    if best is None:
        raise KeyboardInterrupt
    _save(best, out)
    return best, interruption.requested


@contextlib.contextmanager
def _kept_on_failure(best: Callable[[], Adapter | None], out: Path) -> Iterator[None]:
    """Save what there is when the body fails, and say so in a note to its exception."""
    try:
        yield
    except Exception as error:
        adapter = best()
        if adapter is not None:
            try:
                _save(adapter, out)
                error.add_note(f"the best adapter so far is in {out}")
            except AdapterError as other:
                error.add_note(str(other))
        raise


def _save_meanwhile(adapter: Adapter, out: Path) -> None:
    """Save during the training, which goes on if that is not possible: it may be at the end."""
    try:
        adapter.save(out)
    except AdapterError as error:
        logger.warning("%s; the training goes on", error)


def _save(adapter: Adapter, out: Path) -> None:
    """Save at the end; where that is not possible, in the cache folder, so that nothing is lost."""
    try:
        adapter.save(out)
    except AdapterError as error:
        kept = cache_folder() / "rescued" / f"{time.strftime('%Y%m%d-%H%M%S')} {out.name}"
        try:
            write_atomically(kept, adapter.to_bytes())
        except OSError:
            raise error from None
        raise AdapterError(f"{error}; the adapter is kept as {kept}") from error


def training_stacks(
    pairs: Sequence[Pair], plane: Plane = "z", marks: Sequence[Mapping[int, Unpainted]] = ()
) -> tuple[TrainingStack, ...]:
    """The core's training stacks of images and their labels, of one plane; each slice is read once.

    `marks` says for each pair what unpainted means on single slices.
    """
    from napari_salt.core.paint import stacks

    images, labels = zip(*pairs, strict=True)
    return stacks.training_stacks(
        [image.data for image in images],
        [paint.data for paint in labels],
        [image.pixel_size for image in images],
        plane,
        [voxels_for(image, plane) for image in images],
        marks,
    )


def training_summary(adapter: Adapter) -> dict[str, Any]:
    """What ``train --json`` prints."""
    import torch

    from napari_salt.core.devices import peak_memory_mb

    training = adapter.training
    dice = list(training["held_out_dice"].values())
    return {
        "steps": training["steps"],
        "seconds": training["seconds"],
        "best_validation_dice": float(np.mean(dice)) if dice else None,
        "trainable_parameters": adapter.parameter_count,
        "adapter_bytes": adapter.size_bytes,
        "peak_memory_mb": round(peak_memory_mb(torch.device(training["device"])), 1),
        "device": training["device"],
        "base": adapter.base_model,
    }


def _show(event: TrainingEvent[Adapter], bar: Any) -> None:
    """Move the bar to where the training is."""
    bar.n = round(100 * event.fraction)
    logger.debug("step %d: loss %.4f, learning rate %.3g", event.step, event.loss, event.learning_rate)
    if is_quiet() and WARNS in event.message:
        logger.warning(event.message.partition(WARNS)[2])
    elif event.message:
        bar.write(printable(event.message), file=sys.stderr)
    if event.held_out_dice:
        dice = ", ".join(f"{v}: {d:.3f}" for v, d in event.held_out_dice.items())
        bar.write(f"step {event.step}, {event.seconds:.0f} s: held-out Dice {dice}", file=sys.stderr)
    bar.set_postfix(step=event.step, loss=f"{event.loss:.3f}")
