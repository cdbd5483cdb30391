"""What of the machine's arithmetic reaches the user, as ratios from one run on one machine.

    python tests/benchmarks/speed.py [PART ...] [--redo] [--before SRC]

Parts: machine, segmenting, merging, training, learning, and float32: the whole stack as on a CPU
without bfloat16, as a matrix unit (AMX) leaves all else far behind. What is in ``results/speed.json`` is not
run again. ``learning`` trains the bundled base on `vnc_sstem_half` (in ``../shared/data`` beside the
project) with growing budgets until Dice reaches 0.90; ``--before`` does the same with another version of
the package. The adapter that it leaves in ``results/speed.salt.safetensors`` serves the other parts.
"""

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from adapters import peft_lora
from learning import SCORED, scored, stack
from numpy.typing import NDArray

from napari_salt.core.adapt.adapter import Adapter
from napari_salt.core.adapt.forward import Forward
from napari_salt.core.adapt.segmenter import Segmenter
from napari_salt.core.bases.load import load_base
from napari_salt.core.devices import compute_dtype, fast_cpu
from napari_salt.core.paint.crops import Batch
from napari_salt.core.paint.preprocess import SliceReader
from napari_salt.core.segment.predictor import SlicePredictor
from napari_salt.core.segment.runtime import forward_by
from napari_salt.core.segment.stack import segmentation_events
from napari_salt.core.tiles import VIEWS
from napari_salt.core.train.steps import loss_and_gradients
from napari_salt.terms.config import SaltConfig, SegmentConfig

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "speed.json"
ADAPTER = HERE / "results" / "speed.salt.safetensors"
GOAL, BUDGETS = 0.90, (1, 1.5, 2, 2.5, 3, 4, 5, 6)
"""Dice to reach, and the minutes of training that are tried for it."""
SEEDS = (0, 1, 2)
VIEW_COUNTS = {"one view": 1, "four views": 4}
FLOP_PER_PIXEL = 75e9 / 65_536
"""Of LiteMedSAM's encoder."""
CPU = torch.device("cpu")


def seconds(*actions: Callable[[], object], rounds: int = 5) -> list[float]:
    """Median time of each action; they take turns, so that all meet the same machine."""
    times = []
    for action in actions:
        action()
    for _ in range(rounds):
        for action in actions:
            began = time.perf_counter()
            action()
            times.append(time.perf_counter() - began)
    return [float(np.median(times[i :: len(actions)])) for i in range(len(actions))]


def machine() -> dict[str, Any]:
    """The machine, and what a large matrix product reaches on it in its best precision."""
    products = {}
    for dtype in {torch.float32, compute_dtype(CPU)}:
        matrix = torch.randn(4096, 4096).to(dtype)
        (each,) = seconds(lambda matrix=matrix: matrix @ matrix)
        products[str(dtype).removeprefix("torch.")] = round(2 * 4096**3 / each / 1e9)
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    amx = any("amx_bf16" in line for line in lines)
    return {
        "cpu": (model or platform.processor()) + (" with AMX" if amx else ""),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "matrix product (GFLOP/s)": products,
    }


def segmenting() -> dict[str, Any]:
    """The whole stack as users segment it, the plain loop, and what both find."""
    image, truth = stack()
    adapter = Adapter.load(ADAPTER)
    reader = SliceReader(image, adapter.preprocess)
    found: dict[str, dict[int, NDArray[np.bool_]]] = {}
    times: dict[str, float] = {}

    def run(name: str, events: Iterator[tuple[int, NDArray[np.bool_]]]) -> None:
        began = time.perf_counter()
        found[name] = dict(events)
        times[name] = (time.perf_counter() - began) / len(found[name])

    def by(config: SegmentConfig) -> Iterator[tuple[int, NDArray[np.bool_]]]:
        for result in segmentation_events(image, adapter, config):
            yield result.index, result.labels > 0

    overlap = SegmentConfig().overlap
    segmenter = adapter.build()  # the plain loop finds its model ready; users have it built
    for name, views in VIEW_COUNTS.items():
        run(name, by(SegmentConfig(views=views)))
        run(f"plain loop, {name}", plain_loop(segmenter, reader, overlap, views))
    run("torch", by(SegmentConfig(views=1, runtime="torch")))
    run("overlap 64", by(SegmentConfig(views=1, overlap=64)))
    pixels = reader.size[0] * reader.size[1]
    tiles = len(SlicePredictor(segmenter, overlap).tiles(reader.size))
    products = machine()["matrix product (GFLOP/s)"]
    useful = {name: useful_gflops(pixels, views, times[name]) for name, views in VIEW_COUNTS.items()}
    return {
        "seconds per slice": {name: round(each, 2) for name, each in times.items()},
        "Dice": {name: round(scored(planes, truth), 4) for name, planes in found.items()},
        "same label as the plain loop": round(
            float(np.mean([found["one view"][z] == found["plain loop, one view"][z] for z in SCORED])), 5
        ),
        "overlap": overlap,
        "pixels in the tiles over pixels in the slice": round(tiles * 65_536 / pixels, 2),
        "useful GFLOP/s": {name: round(each) for name, each in useful.items()},
        "useful over matrix product": {
            name: round(each / max(products.values()), 3) for name, each in useful.items()
        },
        "throughput over the plain loop": {
            name: round(times[f"plain loop, {name}"] / times[name], 2) for name in useful
        },
    }


def useful_gflops(pixels: int, views: int, seconds_per_slice: float) -> float:
    """GFLOP/s without what tiles that overlap compute twice."""
    return FLOP_PER_PIXEL * pixels * views / seconds_per_slice / 1e9


def plain_loop(
    segmenter: Segmenter, reader: SliceReader, overlap: int, views: int
) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """The same tiles by float32 forwards through the adapted model with its parametrizations."""
    predictor = SlicePredictor(segmenter, overlap, forward=Forward(segmenter))
    for index in SCORED:
        probabilities = predictor.probabilities(reader.read(index), reader.stack.shape[1:3], VIEWS[:views])
        yield index, probabilities.argmax(0) > 0


def merging() -> dict[str, Any]:
    """A tile through the adapted model and through the bare base."""
    adapter, tile = Adapter.load(ADAPTER), torch.rand(1, 3, 256, 256)
    models = [adapter.build(adapted=adapted).merged() for adapted in (True, False)]
    result = {}
    for runtime in ("torch", "openvino"):
        forwards = [forward_by(runtime, model) for model in models]
        with fast_cpu():
            adapted, bare = seconds(*(lambda f=f: f(tile) for f in forwards), rounds=15)
        result[runtime] = {
            "seconds per tile": round(adapted, 3),
            "adapted over bare": round(adapted / bare, 3),
        }
    return result


def training() -> dict[str, Any]:
    """A step of SALT, and of LoRA of the same rank on the same layers by Hugging Face's peft."""
    batch = Batch(torch.rand(1, 3, 256, 256), torch.randint(0, 2, (1, 256, 256)))
    models = {}
    for name in ("SALT", "LoRA"):
        base = load_base("lite-medsam")
        models[name] = Segmenter(base.module, base.spec, 1, SaltConfig() if name == "SALT" else None)
    peft_lora(models["LoRA"], rank=SaltConfig().lora_rank)
    with fast_cpu():
        salt, other = seconds(*(lambda m=m: loss_and_gradients(m, batch) for m in models.values()))
    return {
        "seconds per step": {"SALT": round(salt, 3), "LoRA": round(other, 3)},
        "SALT over LoRA": round(salt / other, 3),
    }


def in_float32() -> dict[str, Any]:
    """The whole stack as on a CPU without bfloat16, against a matrix product of the same precision."""
    image, truth = stack()
    adapter = Adapter.load(ADAPTER)
    pixels = math.prod(SliceReader(image, adapter.preprocess).size)
    product = machine()["matrix product (GFLOP/s)"]["float32"]
    result = {}
    with patch("napari_salt.core.segment.runtime.compute_dtype", lambda *_: torch.float32):
        for name, views in VIEW_COUNTS.items():
            began = time.perf_counter()
            events = segmentation_events(image, adapter, SegmentConfig(views=views))
            found = {event.index: event.labels > 0 for event in events}
            each = (time.perf_counter() - began) / len(found)
            useful = useful_gflops(pixels, views, each)
            result[name] = {
                "seconds per slice": round(each, 2),
                "Dice": round(scored(found, truth), 4),
                "useful GFLOP/s": round(useful),
                "useful over matrix product": round(useful / product, 3),
            }
    return result


def learning(source: str = "", budgets: Sequence[float] = BUDGETS) -> dict[str, Any]:
    """Budgets in growing order, each run in a process of its own, until the mean Dice reaches the goal."""
    path = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH", "")]))
    tried = {}
    for minutes in budgets:
        runs = []
        for seed in SEEDS:
            # What is segmented with is an adapter of this version.
            save = [str(ADAPTER)] if seed == 0 and not source else []
            ran = subprocess.run(
                [sys.executable, HERE / "learning.py", str(minutes), str(seed), *save],
                env={**os.environ, "PYTHONPATH": path},
                check=True,
                stdout=subprocess.PIPE,
            )
            runs.append(json.loads(ran.stdout.splitlines()[-1]))
            sys.stderr.write(f"{minutes:g} min, seed {seed}: {runs[-1]}\n")
        result = {name: [run[name] for run in runs] for name in runs[0]}
        result["mean Dice, 4 views"] = mean = round(fmean(result["Dice, 4 views"]), 4)
        tried[f"{minutes:g} min"] = result
        if mean >= GOAL:
            break
    return tried


def main() -> None:
    """Measure what is missing, and print all."""
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "learning": lambda: learning(budgets=options.budgets),
        "machine": machine,
        "segmenting": segmenting,
        "merging": merging,
        "training": training,
        "float32": in_float32,
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=list(parts))
    parser.add_argument("--redo", action="store_true", help="measure again what has a result")
    parser.add_argument("--before", metavar="SRC", help="source tree of an earlier version, to learn with")
    parser.add_argument("--budgets", nargs="+", type=float, default=BUDGETS, help="minutes to try")
    options = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if options.before:
        results["learning before"] = learning(options.before, options.budgets)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        return
    for name in options.parts:
        if name not in results or options.redo:
            results[name] = parts[name]()
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    sys.stdout.write(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
