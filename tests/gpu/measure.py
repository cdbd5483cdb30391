"""What a GPU brings, each part into one JSON file: ``measure.py PART FILE DEVICE``, see ``run.sh``.

Parts: machine, learning, segmenting, steps, defaults. On a CPU they are small, to be tried. Bases other than
the bundled one have random weights of the right shapes, and random orthonormal factors in place of their
singular vectors: neither changes what is measured, which is time and memory.
"""

import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import tifffile
import torch
from torch.utils.flop_counter import FlopCounterMode

import napari_salt as ns
from napari_salt.core.adapt import salt
from napari_salt.core.adapt.segmenter import Segmenter
from napari_salt.core.bases import vit
from napari_salt.core.bases.load import BaseModel, load_base
from napari_salt.core.devices import compute_dtype, precision
from napari_salt.core.paint.crops import Batch
from napari_salt.core.segment.stack import segmentation_events
from napari_salt.core.train.optimizer import relative_adamw
from napari_salt.core.train.steps import loss_and_gradients
from napari_salt.io import read_stack
from napari_salt.io._write import LabelWriter
from napari_salt.terms.config import SaltConfig
from napari_salt.terms.registry import BASES

DATA = Path(os.environ.get("NAPARI_SALT_TEST_DATA", "."))
CLASS, PAINTED, SCORED = 2, (4, 14), (0, 8, 11, 18)
GOAL, BUDGETS = 0.90, (2, 4, 6, 8, 10, 15, 20)
"""Dice to reach, and the seconds of training that are tried for it."""
SHAPES = {
    "sam-vit-b": (768, 12, 12, (2, 5, 8, 11)),
    "sam-vit-l": (1024, 24, 16, (5, 11, 17, 23)),
    "sam-vit-h": (1280, 32, 16, (7, 15, 23, 31)),
}
"""Width, depth, heads, and blocks that see the whole image, of Meta's encoders."""
REPEATS, WARM = 8, 3


def machine(device: torch.device) -> dict[str, Any]:
    """The card, and what a large matrix product reaches on it."""
    side = 8192 if device.type == "cuda" else 512
    matrix = torch.randn(side, side, device=device).to(compute_dtype(device))
    seconds = timed(device, lambda: matrix @ matrix)
    return {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "torch": torch.__version__,
        "type": str(matrix.dtype),
        "matrix product, TFLOP/s": 2 * side**3 / seconds / 1e12,
    }


def learning(device: torch.device) -> dict[str, Any]:
    """Seconds of training until `GOAL` on EM mitochondria; three seeds."""
    image, truth = tifffile.imread(DATA / "image.tif"), tifffile.imread(DATA / "label.tif") == CLASS
    paint = np.zeros(truth.shape, np.uint8)
    paint[list(PAINTED)] = truth[list(PAINTED)]
    return {
        f"seed {seed}": until_goal(image, truth, paint, seed, device)
        for seed in (range(3) if device.type == "cuda" else range(1))
    }


def until_goal(image: Any, truth: Any, paint: Any, seed: int, device: torch.device) -> dict[str, Any]:
    """Dice after each budget, up to the first that reaches the goal."""
    found: dict[str, Any] = {}
    for seconds in BUDGETS if device.type == "cuda" else (2,):
        config = ns.TrainConfig(minutes=seconds / 60, seed=seed, device=device.type)
        began = time.perf_counter()
        adapter = ns.train(image, paint, config)
        spent = time.perf_counter() - began
        results = segmentation_events(
            image, adapter, ns.SegmentConfig(slices=SCORED, views=4, device=device.type)
        )
        planes = {result.index: result.labels > 0 for result in results}
        both = sum(np.count_nonzero(planes[z] & truth[z]) for z in SCORED)
        dice = 2 * both / sum(np.count_nonzero(planes[z]) + np.count_nonzero(truth[z]) for z in SCORED)
        steps = adapter.training["steps"]
        found[f"{seconds} s"] = {"Dice": dice, "steps": steps, "seconds with all else": spent}
        if dice >= GOAL:
            break
    return found


def segmenting(device: torch.device) -> dict[str, Any]:
    """Slices a second from disk to disk, as a share of the matrix peak; how busy the GPU is."""
    peak = machine(device)["matrix product, TFLOP/s"]
    cuda = device.type == "cuda"
    cases = [("lite-medsam", 256, 512, 64), ("lite-medsam", 256, 2048, 16)]
    cases += [(name, 1024, side, 16) for name in SHAPES for side in (512, 2048)]
    found = {}
    for name, size, side, count in cases if cuda else [("lite-medsam", 256, 64, 3)]:
        with guarded(found, f"{name}@{size}, {side} pixels"):
            found[f"{name}@{size}, {side} pixels"] = whole_stack(name, size, side, count, device, peak)
    return found


def whole_stack(
    name: str, size: int, side: int, count: int, device: torch.device, peak: float
) -> dict[str, Any]:
    """One stack of noise, one view, from one TIFF to another."""
    base = base_of(name, size, device)
    segmenter = Segmenter(base.module, base.spec, 1, None)
    with torch.no_grad(), FlopCounterMode(display=False) as counter, precision(device):
        segmenter(torch.zeros(1, 3, size, size, device=device))
    adapter = trained_nothing(segmenter, base)
    segmenter.merged()
    config = ns.SegmentConfig(views=1, device=device.type)
    with tempfile.TemporaryDirectory() as folder:
        data = np.random.default_rng(0).integers(0, 255, (count, side, side), np.uint8)
        tifffile.imwrite(f"{folder}/stack.tif", data, metadata={"axes": "ZYX"})
        stack = read_stack(f"{folder}/stack.tif")
        with busy(device) as shares:
            began = time.perf_counter()
            tiles = 0
            events = segmentation_events(stack.data, adapter, config, segmenter=segmenter)
            with LabelWriter(Path(folder) / "labels.tif", stack, count, np.dtype(np.uint8)) as writer:
                for result in events:
                    writer.write(result.index, result.labels)
                    tiles += result.tiles
            seconds = time.perf_counter() - began
    rate = counter.get_total_flops() * tiles / seconds / 1e12
    return {
        "slices/s": count / seconds,
        "tiles": tiles,
        "TFLOP/s": rate,
        "share of the peak": rate / peak,
        "GPU busy": statistics.fmean(shares) / 100 if shares else None,
    }


def steps(device: torch.device) -> dict[str, Any]:
    """Time and memory of a training step: SALT, LoRA and all weights, by base and size of input."""
    cuda = device.type == "cuda"
    cases = [("lite-medsam", size) for size in (256, 512)]
    cases += [(name, size) for name in SHAPES for size in (256, 512, 1024)]
    found: dict[str, Any] = {}
    for name, size in cases if cuda else cases[:1]:
        for method in ("salt", "lora", "all weights"):
            for kept in (False, True) if name in SHAPES and size == 1024 else (False,):
                key = f"{name}@{size}, {method}" + (", all activations kept" if kept else "")
                with guarded(found, key):
                    found[key] = step(name, size, method, device, keep_all=kept)
    return found


def step(name: str, size: int, method: str, device: torch.device, *, keep_all: bool) -> dict[str, float]:
    """Median seconds of a step with one crop, and the memory that it takes."""
    limits = {"DEEP": 1000, "LARGE": 100_000} if keep_all else {}
    with patch.multiple(vit, **limits) if limits else patch.object(vit, "DEEP", vit.DEEP):
        base = base_of(name, size, device)
    adapted = None if method == "all weights" else SaltConfig(targets=base.spec.targets)
    with patch.object(salt, "remembered_svd", random_factors):
        segmenter = Segmenter(base.module, base.spec, 1, adapted, "salt" if adapted is None else method)
    if adapted is None:
        segmenter.requires_grad_(True)
    images = torch.rand(1, 3, size, size, device=device)
    optimizer = relative_adamw(segmenter)

    def once() -> None:
        learn(segmenter, images)
        optimizer.step()

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds = timed(device, once)
    memory = torch.cuda.max_memory_allocated() / 1e9 if device.type == "cuda" else 0.0
    return {"seconds": seconds, "GB": memory}


def learn(segmenter: Segmenter, images: torch.Tensor) -> None:
    """Gradients of one batch whose bright pixels are a class."""
    batch = Batch(images, (images[:, 0] > 0.5).long())
    loss_and_gradients(segmenter, batch)


def look(model: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor) -> None:
    """Logits of one batch, as whole stacks are segmented."""
    with torch.no_grad(), precision(images.device):
        model(images)


def defaults(device: torch.device) -> dict[str, Any]:
    """Time for each crop by batch size: where a larger batch stops to pay."""
    found: dict[str, Any] = {}
    for size in (256, 512) if device.type == "cuda" else (256,):
        base = base_of("lite-medsam", size, device)
        segmenter = Segmenter(base.module, base.spec, 1, SaltConfig(targets=base.spec.targets))
        for batch in (1, 2, 4, 8, 16, 32) if device.type == "cuda" else (1,):
            images = torch.rand(batch, 3, size, size, device=device)
            key = f"lite-medsam@{size}, {batch} crops"
            with guarded(found, key):
                learnt = timed(device, partial(learn, segmenter, images)) / batch
                looked = timed(device, partial(look, segmenter, images)) / batch
                found[key] = {"seconds a crop, learning": learnt, "seconds a tile, looking": looked}
    with guarded(found, "compiled"):
        found["compiled"] = compiled(device)
    return found


def compiled(device: torch.device) -> dict[str, float]:
    """Time of 16 tiles by the model as it is, compiled, and as a CUDA graph."""
    base = base_of("lite-medsam", 256, device)
    segmenter = Segmenter(base.module, base.spec, 1, None)
    images = torch.rand(16 if device.type == "cuda" else 1, 3, 256, 256, device=device)
    ways: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {"as it is": segmenter}
    if device.type == "cuda":
        ways["compiled"] = torch.compile(segmenter)
        ways["as a graph"] = torch.compile(segmenter, mode="reduce-overhead")
    return {name: timed(device, partial(look, way, images)) for name, way in ways.items()}


def base_of(name: str, size: int, device: torch.device) -> BaseModel:
    """The bundled base, or one of random weights of the shapes of Meta's."""
    if name not in SHAPES:
        return load_base(f"{name}@{size}", device)
    from segment_anything.modeling import (
        ImageEncoderViT,
        MaskDecoder,
        PromptEncoder,
        Sam,
        TwoWayTransformer,
    )

    width, depth, heads, seeing = SHAPES[name]
    with torch.device("meta"):
        encoder = ImageEncoderViT(
            img_size=1024,
            embed_dim=width,
            depth=depth,
            num_heads=heads,
            use_rel_pos=True,
            window_size=14,
            global_attn_indexes=seeing,
        )
        decoder = MaskDecoder(transformer_dim=256, transformer=TwoWayTransformer(2, 256, 8, 2048))
        sam = Sam(encoder, PromptEncoder(256, (64, 64), (1024, 1024), 16), decoder)
    state = {
        key: 0.02 * torch.randn(value.shape, device=device)
        for key, value in sam.state_dict().items()
        if key not in ("pixel_mean", "pixel_std")
    }
    module = vit.build_vit(state, size).eval().requires_grad_(False).to(device)
    return BaseModel(BASES[name].at(size), module, "0" * 64, "0" * 64)


def random_factors(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Factors of the shapes and types of `canonical_svd`'s, orthonormal, in no time."""
    matrix = weight.detach().flatten(1)
    short = min(matrix.shape)
    u, _ = torch.linalg.qr(torch.randn(matrix.shape[0], short, device=matrix.device))
    v, _ = torch.linalg.qr(torch.randn(matrix.shape[1], short, device=matrix.device))
    return u.cpu(), torch.linspace(1, 0.01, short, dtype=torch.float64), v.T.contiguous().cpu()


def trained_nothing(segmenter: Segmenter, base: BaseModel) -> ns.Adapter:
    """An adapter of the segmenter as it is."""
    from napari_salt.core.adapt.adapter import OF_CLASSES
    from napari_salt.terms.card import ClassInfo
    from napari_salt.terms.preprocess import Preprocess

    return ns.Adapter(
        tensors={name: getattr(segmenter, name).detach().cpu() for name in OF_CLASSES},
        base_model=base.spec.name,
        base_sha256=base.sha256,
        weights_sha256=base.weights_sha256,
        salt=SaltConfig(targets=base.spec.targets),
        classes=(ClassInfo(1, "noise", "#ff0000"),),
        preprocess=Preprocess(),
        training={},
    )


def timed(device: torch.device, action: Callable[[], object]) -> float:
    """Median seconds of an action, after it has run some times."""
    repeats, warm = (REPEATS, WARM) if device.type == "cuda" else (1, 1)
    times = []
    for turn in range(warm + repeats):
        settle(device)
        began = time.perf_counter()
        action()
        settle(device)
        if turn >= warm:
            times.append(time.perf_counter() - began)
    return statistics.median(times)


def settle(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()


@contextmanager
def busy(device: torch.device) -> Iterator[list[int]]:
    """Percent of the time in which the GPU was busy, read every tenth of a second while the body runs."""
    shares: list[int] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            shares.append(torch.cuda.utilization())

    thread = threading.Thread(target=watch, daemon=True)
    if device.type == "cuda":
        thread.start()
    yield shares
    done.set()


@contextmanager
def guarded(found: dict[str, Any], key: str) -> Iterator[None]:
    """Note a failure in place of a figure, and go on; what is found so far is kept after each."""
    try:
        yield
    except Exception as error:  # noqa: BLE001
        found[key] = f"failed: {type(error).__name__}: {error}"[:300]
    keep(Path(sys.argv[2]), {sys.argv[1]: found})
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def keep(path: Path, facts: dict[str, Any]) -> None:
    """Add facts to the file, replacing it whole."""
    known = json.loads(path.read_text()) if path.exists() else {}
    fresh = path.with_suffix(".part")
    fresh.write_text(json.dumps(known | facts, indent=1) + "\n")
    fresh.replace(path)


def main() -> None:
    """Measure one part."""
    name, path = sys.argv[1], Path(sys.argv[2])
    parts = {part.__name__: part for part in (machine, learning, segmenting, steps, defaults)}
    keep(path, {name: parts[name](torch.device(sys.argv[3]))})


if __name__ == "__main__":
    main()
