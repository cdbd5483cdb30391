"""One run of the accuracy benchmark: one set, one method, one seed; prints its result as JSON.

    python tests/benchmarks/accuracy_run.py SET METHOD [--seed N] [--minutes M] [--rate R]

``--rate`` tries another learning rate than the method's own.
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
from adapters import METHODS, Method, built, encoder_features
from numpy.typing import NDArray
from sets import SETS, Part, other_parts, own_part, paint_of

from napari_salt import __version__
from napari_salt.core.adapter import Adapter
from napari_salt.core.annotations import read_annotations
from napari_salt.core.bases import load_base
from napari_salt.core.choices import choose_preprocess
from napari_salt.core.compute import peak_memory_mb
from napari_salt.core.config import Preprocess, SegmentConfig, TrainConfig
from napari_salt.core.forest import Features, filter_responses, forest_segmentation
from napari_salt.core.inference import segmentation_events
from napari_salt.core.metrics import evaluate
from napari_salt.core.preprocess import SliceReader
from napari_salt.core.segmenter import Segmenter
from napari_salt.core.stack import check_stack
from napari_salt.core.training import training_events

BASE = "lite-medsam"
FORESTS = ("forest", "encoder-forest")
VIEWS = 1

Planes = list[NDArray[Any]]


def main() -> None:
    """Run what the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("set", choices=SETS)
    parser.add_argument("method", choices=[*METHODS, *FORESTS])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--slices", type=int, help="score only so many slices of each stack")
    parser.add_argument("--keep", type=Path, help="where to write the scored slices' labels (.npy)")
    options = parser.parse_args()
    own, others = own_part(options.set), other_parts(options.set)
    own, *others = (replace(part, slices=part.slices[: options.slices]) for part in [own, *others])
    if options.method in METHODS:
        method = METHODS[options.method]
        method = replace(method, learning_rate=options.rate or method.learning_rate)
        found, told = adapted(options.set, method, [own, *others], options.seed, options.minutes)
    else:
        found, told = grown(options.set, options.method, [own, *others], options.seed)
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


def adapted(
    name: str, method: Method, parts: Sequence[Part], seed: int, minutes: float
) -> tuple[Planes, dict[str, Any]]:
    """Labels of all parts' slices by an adapted base, and what its training was like."""
    config = TrainConfig(
        base=BASE,
        minutes=minutes,
        seed=seed,
        independent=SETS[name].independent,
        salt=method.salt,
        learning_rate=method.learning_rate,
    )
    adapter: Adapter | None = None
    began, worked = time.monotonic(), time.process_time()
    for event in training_events(parts[0].image, paint_of(name), config, adapt=method.adapt):
        adapter = event.adapter or adapter
    if adapter is None:
        raise RuntimeError("training ended without an adapter")
    # Well below 1 where other processes took the cores: such a run is worth making again.
    cpu_share = (time.process_time() - worked) / (time.monotonic() - began) / torch.get_num_threads()
    began = time.monotonic()
    segmenter = built(method, adapter, load_base(BASE))
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
        "learning_rate": method.learning_rate,
        "held_out_dice": adapter.training["held_out_dice"],
        "minutes": minutes,
    }


def segmented(part: Part, adapter: Adapter, segmenter: Segmenter) -> Planes:
    """Labels of the part's slices."""
    config = SegmentConfig(slices=part.slices, views=VIEWS)
    return [result.labels for result in segmentation_events(part.image, adapter, config, segmenter=segmenter)]


def grown(name: str, kind: str, parts: Sequence[Part], seed: int) -> tuple[Planes, dict[str, Any]]:
    """Labels of all parts' slices by a random forest, and how long all took."""
    began = time.monotonic()
    annotations = read_annotations(paint_of(name))
    preprocess = Preprocess(channels=check_stack(parts[0].image), independent=SETS[name].independent)
    features_of: Features = filter_responses
    if kind == "encoder-forest":
        base = load_base(BASE)
        config = TrainConfig(independent=SETS[name].independent)
        preprocess = choose_preprocess(parts[0].image, annotations, config, base.spec.input_size, None)
        features_of = encoder_features(Segmenter(base.module, base.spec, 1, None))
    readers = [SliceReader(part.image, preprocess) for part in parts]
    wanted = [(reader, i) for reader, part in zip(readers, parts, strict=True) for i in part.slices]
    # The forest knows slices of one stack by number; those of all parts are counted on from its end.
    start = len(readers[0])

    def of_any(reader: SliceReader, index: int) -> NDArray[Any]:
        return features_of(reader, index) if index < start else features_of(*wanted[index - start])

    numbers = range(start, start + len(wanted))
    found = forest_segmentation(readers[0], annotations, numbers, seed=seed, features_of=of_any)
    planes = [plane for _, plane in found]
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
