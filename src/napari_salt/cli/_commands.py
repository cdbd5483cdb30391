"""The commands ``train``, ``evaluate`` and ``suggest``, and what other commands share with them."""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from napari_salt.cli._about import fetch
from napari_salt.cli._terminal import Interruption, begun, duration, is_quiet, progress_bar, say, tell
from napari_salt.io import Stack, read_labels, read_stack
from napari_salt.io._stack import known_spacing
from napari_salt.io._unrelated import as_pairs
from napari_salt.io._write import check_folder
from napari_salt.terms.cache import cache_folder, is_file, write_atomically
from napari_salt.terms.card import TEXT_FIELDS, AdapterCard, check_texts
from napari_salt.terms.config import SegmentConfig, TrainConfig
from napari_salt.terms.errors import AdapterError, InputError
from napari_salt.terms.library import Library
from napari_salt.terms.options import changed, options_of, values_of
from napari_salt.terms.planes import Plane, Planes, Voxels, cut_of
from napari_salt.terms.registry import BASES, DEFAULT_BASE, split_size
from napari_salt.terms.slice_ranges import check_slices
from napari_salt.terms.stack import common_group
from napari_salt.terms.text import printable

if TYPE_CHECKING:
    from napari_salt.core.adapt.adapter import Adapter
    from napari_salt.core.paint.stacks import TrainingStack
    from napari_salt.terms.events import TrainingEvent

__all__ = [
    "Pair",
    "adapter_file",
    "check_adapter_path",
    "evaluate",
    "given",
    "given_texts",
    "judge",
    "label_axes",
    "load",
    "named",
    "prepare_base",
    "read_image",
    "run_training",
    "suggest",
    "train",
    "training_stacks",
]

logger = logging.getLogger(__name__)

WARNS = "WARNING: "
"""Begins the part of a training's message that is a warning."""

Config = TypeVar("Config", TrainConfig, SegmentConfig)
Result = tuple[dict[str, Any], bool]
Pair = tuple[Stack, Stack]
"""An image and its labels."""


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
    images = [(_opened(options, image), labels) for image, labels in named]
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
    with interruption.watched():
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


def training_stacks(pairs: Sequence[Pair], plane: Plane = "z") -> tuple[TrainingStack, ...]:
    """The core's training stacks of images and their labels, of one plane; each slice is read once."""
    from napari_salt.core.paint import stacks

    images, labels = zip(*pairs, strict=True)
    return stacks.training_stacks(
        [image.data for image in images],
        [paint.data for paint in labels],
        [image.pixel_size for image in images],
        plane,
        [voxels_for(image, plane) for image in images],
    )


def voxels_for(image: Stack, plane: Planes) -> Voxels:
    """The image's voxels; a warning is logged where a plane needs their sizes and they are not known."""
    voxels = image.voxels
    if voxels.spacing is None and (plane == "all" or not cut_of(plane, voxels).stored):
        logger.warning("%s does not tell the distance of slices; voxels are taken for cubes", image.source)
    return voxels


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


def evaluate(options: argparse.Namespace) -> Result:
    """``napari-salt evaluate``."""
    from napari_salt.core.metrics import evaluate as score

    predicted = read_labels(options.prediction, axes=options.axes)
    if predicted.partial:  # a segmentation of the slices in which there is something
        whole = read_labels(options.labels, axes=options.axes)
        predicted = read_labels(options.prediction, axes=options.axes, like=whole)
    how: dict[str, Any] = {"axes": options.axes, "like": predicted, "resample": options.resample}
    true = read_labels(options.labels, **how)
    mask = read_labels(options.mask, **how) if options.mask else None
    prediction, labels = (_picked(stack, options.slices) for stack in (predicted, true))
    where = None if mask is None else _picked(mask, options.slices)
    if options.objects:
        return _evaluate_objects(options, prediction, labels, where)
    evaluation = score(
        prediction,
        labels,
        spacing=known_spacing([predicted, true], three_d=options.three_d),
        three_d=options.three_d,
        mask=where,
        classes=options.classes,
    )
    result = evaluation.to_json()
    if not options.json:
        for value, scores in result["classes"].items():
            numbers = "  ".join(f"{k} {'-' if v is None else f'{v:.4f}'}" for k, v in scores.items())
            say(f"class {value}: {numbers}")
        mean = result["mean_dice"]
        say(f"mean Dice {'-' if mean is None else f'{mean:.4f}'}")
    return result, False


def _evaluate_objects(options: argparse.Namespace, prediction: Any, labels: Any, mask: Any) -> Result:
    from napari_salt.core.object_metrics import evaluate_objects

    if options.classes is not None or options.three_d:
        raise InputError("--objects scores objects of all numbers, in 3D; leave out --classes and --3d")
    score = evaluate_objects(prediction, labels, mask=mask, each_slice=options.each_slice)
    if not options.json:
        say(f"AP50 {score.ap50:.4f}  PQ {score.pq:.4f}")
        say(f"{score.predicted} objects, {score.true} are labelled, {score.matched} of them found")
    return score.to_json(), False


def suggest(options: argparse.Namespace) -> Result:
    """``napari-salt suggest``; after Ctrl-C the slices scored so far are ranked."""
    from napari_salt.core.segment.uncertainty import on_plane, uncertainty_events
    from napari_salt.terms.fingerprint import painted_slices
    from napari_salt.terms.ranking import MAX_CANDIDATES, rank_slices

    began = time.monotonic()
    image = read_image(options)
    adapter = load(options.adapter)
    config = given(options, SegmentConfig())
    voxels = voxels_for(image, config.planes_for(adapter.preprocess))
    stack, pixel_size = on_plane(image.data, adapter, config, image.pixel_size, voxels)
    painted = painted_slices(stack, adapter)
    total = min(MAX_CANDIDATES, stack.shape[0] - len(painted))
    events = uncertainty_events(stack, adapter, replace(config, plane="z"), pixel_size=pixel_size)
    scores: dict[int, float] = {}
    interruption = Interruption()
    with interruption.watched():
        started = begun(events)
        with progress_bar(total, "looking", "slice") as bar:
            for event in started:
                bar.update()
                scores[event.index] = event.uncertainty
                if interruption.requested:
                    break
    ranked = rank_slices(scores, painted, len(scores))
    if not options.json:
        for index in ranked:
            say(f"slice {index}: uncertainty {scores[index]:.3f}")
    ended = "stopped early; " if interruption.requested else ""
    tell(f"{ended}looked at {len(scores)} of {total} slices: {duration(time.monotonic() - began)} in all")
    return {
        "slices": [{"slice": index, "uncertainty": scores[index]} for index in ranked],
        "seconds": round(time.monotonic() - began, 2),
    }, interruption.requested


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


def given(options: argparse.Namespace, config: Config) -> Config:
    """`config` with the options that the arguments set."""
    names = options_of(type(config))
    chosen = changed(config, {name: value for name, value in vars(options).items() if name in names})
    logger.debug("options: %s", ", ".join(f"{name} {value!r}" for name, value in values_of(chosen).items()))
    return chosen


def read_image(options: argparse.Namespace) -> Stack:
    """Open the image that the arguments name, with their axes, channel and pixel size."""
    return _opened(options, options.image)


def _opened(options: argparse.Namespace, path: Path) -> Stack:
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


def _picked(stack: Stack, slices: tuple[int, ...] | None) -> Any:
    check_slices(slices or (), len(stack.data), stack.source)
    return stack.data if slices is None else stack.data[list(slices)]


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
