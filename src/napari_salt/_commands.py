"""What each verb of the command line does: files in, the core's generators, files out."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from napari_salt._terminal import Interruption, begun, progress_bar
from napari_salt._writing import check_folder
from napari_salt.core.cache import is_file
from napari_salt.core.config import SegmentConfig, TrainConfig
from napari_salt.core.errors import InputError
from napari_salt.core.registry import BASES, DEFAULT_BASE, base_spec, split_size
from napari_salt.core.stack import to_micrometres
from napari_salt.io import Stack, read_labels, read_stack

if TYPE_CHECKING:
    from napari_salt.core.adapter import Adapter
    from napari_salt.core.events import TrainingEvent
    from napari_salt.core.registry import BaseSpec

__all__ = ["bases", "evaluate", "info", "prepare_base", "run_training", "suggest", "train"]

Result = tuple[dict[str, Any], bool]


def train(options: argparse.Namespace) -> Result:
    """``napari-salt train``."""
    _check_adapter_path(options.out)
    config = TrainConfig(
        base=options.base or DEFAULT_BASE,
        preset=options.preset,
        minutes=options.minutes,
        steps=options.steps,
        slices=options.slices,
        unpainted=options.unpainted,
        background_label=options.background_label,
        class_names=options.class_names,
        independent=options.independent,
        pixel_scale=options.pixel_scale,
        orientation=options.orientation,
        seed=options.seed,
        device=options.device,
    )
    image = read_stack(options.image, axes=options.axes, channel=options.channel)
    labels = read_labels(options.labels, axes=_label_axes(options.axes))
    init = _load(options.init) if options.init else None
    prepare_base(init, options.base)
    adapter, interrupted = run_training(image, labels, config, options.out, init)
    return training_summary(adapter), interrupted


def run_training(
    image: Stack, labels: Stack, config: TrainConfig, out: Path, init: Adapter | None = None
) -> tuple[Adapter, bool]:
    """Train with a progress bar, saving the adapter to `out` whenever it is the best so far.

    Returns
    -------
    adapter, interrupted
        The adapter that was saved last, and whether Ctrl-C ended the training.
    """
    from napari_salt.core.training import training_events

    best: Adapter | None = None
    interruption = Interruption()
    pixel_size = to_micrometres(image.spacing, image.unit)
    events = training_events(image.data, labels.data, config, init=init, pixel_size=pixel_size)
    with interruption.watched():
        started = begun(events)
        with progress_bar(100, "training", "%") as bar:
            for event in started:
                _show(event, bar)
                best = event.adapter or best
                if event.adapter and (event.held_out_dice or event.phase == "done"):
                    event.adapter.save(out)
                if interruption.requested:
                    break
    if best is None:
        raise KeyboardInterrupt
    best.save(out)
    return best, interruption.requested


def training_summary(adapter: Adapter) -> dict[str, Any]:
    """What ``train --json`` prints."""
    import torch

    from napari_salt.core.compute import peak_memory_mb

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

    stacks = [read_labels(path) for path in (options.prediction, options.labels)]
    mask = read_labels(options.mask) if options.mask else None
    prediction, labels = (_picked(stack, options.slices) for stack in stacks)
    spacing = next((s.spacing for s in stacks if s.spacing is not None and s.unit), None)
    evaluation = score(
        prediction,
        labels,
        spacing=spacing,
        three_d=options.three_d,
        mask=None if mask is None else _picked(mask, options.slices),
        classes=options.classes,
    )
    result = evaluation.to_json()
    if not options.json:
        for value, scores in result["classes"].items():
            numbers = "  ".join(f"{k} {'-' if v is None else f'{v:.4f}'}" for k, v in scores.items())
            _say(f"class {value}: {numbers}")
        _say(f"mean Dice {result['mean_dice']}")
    return result, False


def suggest(options: argparse.Namespace) -> Result:
    """``napari-salt suggest``; Ctrl-C ranks what was computed."""
    from napari_salt.core.provenance import painted_slices
    from napari_salt.core.ranking import rank_slices
    from napari_salt.core.uncertainty import uncertainty_events

    began = time.monotonic()
    image = read_stack(options.image, axes=options.axes, channel=options.channel)
    adapter = _load(options.adapter)
    events = uncertainty_events(
        image.data,
        adapter,
        SegmentConfig(device=options.device),
        pixel_size=to_micrometres(image.spacing, image.unit),
    )
    scores: dict[int, float] = {}
    interruption = Interruption()
    with interruption.watched(), tqdm(begun(events), "looking", file=sys.stderr, unit="slice") as looking:
        for event in looking:
            scores[event.index] = event.uncertainty
            if interruption.requested:
                break
    ranked = rank_slices(scores, painted_slices(image.data, adapter), len(scores))
    if not options.json:
        for index in ranked:
            _say(f"slice {index}: uncertainty {scores[index]:.3f}")
    return {
        "slices": [{"slice": index, "uncertainty": scores[index]} for index in ranked],
        "seconds": round(time.monotonic() - began, 2),
    }, interruption.requested


def info(options: argparse.Namespace) -> Result:
    """``napari-salt info``."""
    adapter = _load(options.adapter)
    card = {
        "file": str(options.adapter),
        "format": "napari-salt",
        "peft_type": "SALT",
        "base_model": adapter.base_model,
        "base_sha256": adapter.base_sha256,
        "weights_sha256": adapter.weights_sha256,
        "parameters": adapter.parameter_count,
        "bytes": options.adapter.stat().st_size,
        "config": asdict(adapter.salt),
        "classes": [asdict(c) for c in adapter.classes],
        "preprocess": asdict(adapter.preprocess),
        "training": dict(adapter.training),
        "name": adapter.name,
        "description": adapter.description,
        "author": adapter.author,
        "license": adapter.license,
    }
    if not options.json:
        for key, value in card.items():
            _say(f"{key}: {value if isinstance(value, str) else json.dumps(value)}")
    return card, False


def bases(options: argparse.Namespace) -> Result:
    """``napari-salt bases``."""
    if options.download:
        _fetch(base_spec(options.download))
    rows = [
        {
            "name": spec.name,
            "kind": spec.kind,
            "licence": spec.licence,
            "input_size": spec.input_size,
            "bytes": spec.size or None,
            "digest": spec.digest,
            "url": spec.url or None,
            "state": spec.state,
            "path": str(spec.checkpoint() or spec.place),
        }
        for spec in BASES.values()
    ]
    if not options.json:
        for spec in BASES.values():
            megabytes = f"{spec.size / 1e6:.0f} MB" if spec.size else "size not published"
            _say(
                f"{spec.name}  {spec.kind}  {spec.licence}  input {spec.input_size}x{spec.input_size}  "
                f"{megabytes}  {spec.state}"
            )
    return {"bases": rows}, False


def _fetch(spec: BaseSpec) -> None:
    """Download the weights of `spec` with a progress bar, unless they are here."""
    from napari_salt.core.download import download

    with tqdm(
        total=spec.size or None,
        desc=spec.name,
        unit="B",
        unit_scale=True,
        disable=spec.checkpoint() is not None,
        file=sys.stderr,
    ) as bar:
        for progress in download(spec):
            bar.total = progress.total or None
            bar.update(progress.received - bar.n)


def prepare_base(adapter: Adapter | None, given: str | None) -> None:
    """See to it that the base of `adapter`, else the one that was `given`, can be loaded.

    A base of the registry is downloaded; for an adapter's local checkpoint, a given path is noted.
    """
    if adapter is not None and given is not None:
        if is_file(split_size(given)[0]):
            from napari_salt.core.bases import load_base

            adapter.check_base(load_base(given))
        elif given != adapter.base_model:
            raise InputError(
                f"the adapter's base model is {adapter.base_model!r}, not {given!r}; leave --base out, "
                "or give the checkpoint file"
            )
    reference = adapter.base_model if adapter else given or DEFAULT_BASE
    spec = BASES.get(split_size(reference)[0])
    if spec is not None and spec.url:
        _fetch(spec)


def _load(path: Path) -> Adapter:
    from napari_salt.core.adapter import Adapter

    return Adapter.load(path)


def _picked(stack: Stack, slices: tuple[int, ...] | None) -> Any:
    count = len(stack.data)
    for index in slices or ():
        if index >= count:
            raise InputError(f"slice {index} is out of range; {stack.source} has slices 0 to {count - 1}")
    return stack.data if slices is None else stack.data[list(slices)]


def _label_axes(axes: str | None) -> str | None:
    """Axes of the labels that belong to an image with `axes`: all but channels and colours."""
    return None if axes is None else "".join(letter for letter in axes.upper() if letter in "TZNYX")


def _check_adapter_path(path: Path) -> None:
    """Refuse an output that could not be written, before any work."""
    if path.suffix != ".safetensors":
        raise InputError(f"{path}: an adapter's name ends in .safetensors; rename --out")
    check_folder(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file")


def _show(event: TrainingEvent, bar: tqdm[Any]) -> None:
    """Move the bar to where the training is."""
    bar.n = round(100 * event.fraction)
    if event.message:
        bar.write(event.message, file=sys.stderr)
    if event.held_out_dice:
        dice = ", ".join(f"{v}: {d:.3f}" for v, d in event.held_out_dice.items())
        bar.write(f"step {event.step}, {event.seconds:.0f} s: held-out Dice {dice}", file=sys.stderr)
    bar.set_postfix(step=event.step, loss=f"{event.loss:.3f}")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
