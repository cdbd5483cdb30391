"""One run of the accuracy benchmark: one set, one method, one seed; prints its result as JSON.

    python tests/benchmarks/accuracy_run.py SET METHOD [--budget B] [--seed N] [--steps N] [--rate R]

The budget is what is painted: one slice, three, or strokes. ``--rate`` tries another learning rate than the
default.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from adapters import encoder_features
from numpy.typing import NDArray
from sets import BUDGETS, SETS, STEPS, Paint, Part, other_parts, own_part, paint_of

from napari_salt import __version__
from napari_salt.core.adapt.adapter import Adapter
from napari_salt.core.adapt.segmenter import Segmenter
from napari_salt.core.bases.load import load_base
from napari_salt.core.devices import peak_memory_mb
from napari_salt.core.metrics import evaluate
from napari_salt.core.paint.annotations import Annotations, read_annotations
from napari_salt.core.paint.choices import choose_preprocess
from napari_salt.core.paint.preprocess import SliceReader
from napari_salt.core.segment.stack import segmentation_events
from napari_salt.core.train.forest import Features, filter_responses, trained_forest
from napari_salt.core.train.training import training_events
from napari_salt.terms.config import SaltConfig, SegmentConfig, TrainConfig
from napari_salt.terms.methods import METHODS
from napari_salt.terms.preprocess import Preprocess
from napari_salt.terms.registry import base_spec
from napari_salt.terms.stack import check_stack

BASE = "lite-medsam"
FORESTS, UNET = ("forest", "encoder-forest"), "unet"
VIEWS = 1
RANKS = {"lora": SaltConfig(lora_rank=3)}
"""LoRA's is the smallest with which it trains at least as many parameters as SALT (218,000 and 184,000)."""

Planes = list[NDArray[Any]]


def main() -> None:
    """Run what the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("set", choices=SETS)
    parser.add_argument("method", choices=[*METHODS, *FORESTS, UNET])
    parser.add_argument("--budget", choices=BUDGETS, default="three")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--rate", type=float, help="another learning rate than the default")
    parser.add_argument("--slices", type=int, help="score only so many slices of each stack")
    parser.add_argument("--keep", type=Path, help="where to write the scored slices' labels (.npy)")
    options = parser.parse_args()
    own, others = own_part(options.set), other_parts(options.set)
    own, *others = (replace(part, slices=part.slices[: options.slices]) for part in [own, *others])
    paint = paint_of(options.set, options.budget, options.seed)
    config = TrainConfig(
        base=BASE,
        steps=options.steps,
        seed=options.seed,
        unpainted=paint.unpainted,
        background_label=paint.background_label,
        independent=SETS[options.set].independent,
    )
    if options.method in METHODS:
        salt = RANKS.get(options.method, SaltConfig())
        config = replace(config, method=options.method, salt=salt, learning_rate=options.rate)
        found, told = adapted(paint, config, [own, *others])
    elif options.method == UNET:
        found, told = from_scratch(paint, config, [own, *others])
    else:
        found, told = grown(paint, config, options.method, [own, *others])
    if options.keep:
        options.keep.parent.mkdir(parents=True, exist_ok=True)
        np.save(options.keep, np.stack(found[: len(own.slices)]).astype(np.uint8))
    classes = SETS[options.set].classes
    result = {
        **scores(found[: len(own.slices)], [own], classes),
        "others": scores(found[len(own.slices) :], others, classes) if others else None,
        **told,
        "peak_memory_mb": round(peak_memory_mb(torch.device("cpu"))),
        "threads": torch.get_num_threads(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "commit": commit(),
    }
    sys.stdout.write(json.dumps(result) + "\n")


def adapted(paint: Paint, config: TrainConfig, parts: Sequence[Part]) -> tuple[Planes, dict[str, Any]]:
    """Labels of all parts' slices by an adapted base, and what its training was like."""
    adapter: Adapter | None = None
    began, worked = time.monotonic(), time.process_time()
    for event in training_events(parts[0].image, paint.labels, config, pixel_size=parts[0].pixel_size):
        adapter = event.adapter or adapter
    if adapter is None:
        raise RuntimeError("training ended without an adapter")
    # Well below 1 where other processes took the cores: such a run is worth making again.
    cpu_share = (time.process_time() - worked) / (time.monotonic() - began) / torch.get_num_threads()
    began = time.monotonic()
    segmenter = adapter.build().merged()
    found = [plane for part in parts for plane in segmented(part, adapter, segmenter)]
    steps, seconds = adapter.training["steps"], adapter.training["seconds"]
    return found, {
        "steps": steps,
        "training_seconds": seconds,
        "seconds_per_step": round(seconds / max(1, steps), 3),
        "cpu_share": round(cpu_share, 2),
        "segmenting_seconds": round(time.monotonic() - began, 1),
        "trainable_parameters": adapter.parameter_count,
        "adapter_bytes": adapter.size_bytes,
        "learning_rate": config.learning_rate or "default",
        "held_out_dice": adapter.training["held_out_dice"],
    }


def segmented(part: Part, adapter: Adapter, segmenter: Segmenter) -> Planes:
    """Labels of the part's slices."""
    config = SegmentConfig(slices=part.slices, views=VIEWS)
    size = part.pixel_size
    events = segmentation_events(part.image, adapter, config, pixel_size=size, segmenter=segmenter)
    return [result.labels for result in events]


def from_scratch(paint: Paint, config: TrainConfig, parts: Sequence[Part]) -> tuple[Planes, dict[str, Any]]:
    """Labels of all parts' slices by a U-Net that knew nothing, and what its training was like."""
    from unet import unet_segmentation  # MONAI is for this method only

    annotations = annotated(paint)
    image, size = parts[0].image, base_spec(BASE).input_size
    preprocess = choose_preprocess([image], annotations, config, size, parts[0].pixel_size)
    readers = [SliceReader(part.image, preprocess) for part in parts]
    wanted = scored_slices(readers, parts)
    return unet_segmentation(readers[0], annotations, wanted, size, config.steps or STEPS, config.seed)


def scored_slices(readers: Sequence[SliceReader], parts: Sequence[Part]) -> list[tuple[SliceReader, int]]:
    """Slices of all parts, each with the reader of its part."""
    return [(reader, i) for reader, part in zip(readers, parts, strict=True) for i in part.slices]


def annotated(paint: Paint) -> Annotations:
    """The paint as targets."""
    return read_annotations(paint.labels, unpainted=paint.unpainted, background_label=paint.background_label)


def grown(
    paint: Paint, config: TrainConfig, kind: str, parts: Sequence[Part]
) -> tuple[Planes, dict[str, Any]]:
    """Labels of all parts' slices by a random forest, and how long all took."""
    began = time.monotonic()
    annotations = annotated(paint)
    preprocess = Preprocess(channels=check_stack(parts[0].image), independent=config.independent)
    features_of: Features = filter_responses
    if kind == "encoder-forest":
        base = load_base(BASE)
        preprocess = choose_preprocess(
            [parts[0].image], annotations, config, base.spec.input_size, parts[0].pixel_size
        )
        features_of = encoder_features(Segmenter(base.module, base.spec, 1, None))
    readers = [SliceReader(part.image, preprocess) for part in parts]
    wanted = scored_slices(readers, parts)
    find = trained_forest(readers[:1], annotations, config.seed, features_of)
    planes = [find(reader, index) for reader, index in wanted]
    return planes, {"seconds": round(time.monotonic() - began, 1)}


def scores(found: Planes, parts: Sequence[Part], classes: tuple[int, ...]) -> dict[str, Any]:
    """Dice, IoU and HD95 in pixels per class over all parts, whose slices are padded to one size."""
    truth = [part.truth[i] for part in parts for i in part.slices]
    masks = [
        np.ones(part.truth.shape[1:], bool) if part.mask is None else part.mask[i]
        for part in parts
        for i in part.slices
    ]
    size = np.max([plane.shape for plane in truth], axis=0)
    found, truth, masks = (
        [np.pad(plane, [(0, n) for n in size - plane.shape]) for plane in planes]
        for planes in (found, truth, masks)
    )
    return evaluate(np.stack(found), np.stack(truth), mask=np.stack(masks), classes=classes).to_json()


def commit() -> str:
    """The project's commit, with a plus where files differ from it."""
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+", "--exclude=*"]
    return subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    main()
