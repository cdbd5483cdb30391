"""What computes a merged segmenter: torch, or OpenVINO where it is installed and pays."""

from __future__ import annotations

import importlib.util
import logging
import platform
import sys
import warnings
from functools import cache
from typing import Any

import psutil
import torch
from torch import Tensor

from napari_salt.core.adapt.forward import Forward
from napari_salt.core.adapt.segmenter import Segmenter
from napari_salt.core.devices import compute_dtype, precision
from napari_salt.core.segment.memory import least_memory
from napari_salt.terms.config import Runtime
from napari_salt.terms.errors import InputError
from napari_salt.terms.stopping import check_stop

__all__ = ["forward_by"]

logger = logging.getLogger(__name__)

PAYS_FROM = 32
"""Tiles from which OpenVINO saves more than the few seconds that preparing it takes."""

MOST_STREAMS = 4
"""Images that OpenVINO computes side by side at most; each takes a tile's memory."""


def forward_by(runtime: Runtime, segmenter: Segmenter, slices: int = 0, tiles: int = 1) -> Forward:
    """How to compute `segmenter` on `slices` times `tiles` tiles.

    OpenVINO computes in the same precision as torch does; by ``"auto"`` it is taken on x86 CPUs
    where it is installed and there are tiles enough. It takes the weights as they are now, and keeps
    what it made of them with the segmenter.

    Raises
    ------
    InputError
        If OpenVINO is asked for where it cannot be.
    """
    device = segmenter.device
    if runtime == "openvino":
        if importlib.util.find_spec("openvino") is None:
            raise InputError('openvino is not installed; pip install "napari-salt[openvino]", or use torch')
        if device.type != "cpu":
            raise InputError(f"openvino computes on the CPU here, not on {device}; use torch, or device cpu")
        return _compiled(segmenter, tiles)
    if runtime == "auto" and device.type == "cpu" and _pays(segmenter, slices * tiles):
        try:
            return _compiled(segmenter, tiles)
        except RuntimeError as error:
            logger.warning("OpenVINO cannot take this model (%s); torch computes it", str(error)[:200])
    return _by_torch(segmenter, device)


def _pays(segmenter: Segmenter, tiles: int) -> bool:
    if segmenter.compiled is not None:
        return True
    installed = importlib.util.find_spec("openvino") is not None
    return installed and platform.machine() in ("x86_64", "AMD64") and tiles >= PAYS_FROM


def _by_torch(segmenter: Segmenter, device: torch.device) -> Forward:
    def forward(images: Tensor) -> Tensor:
        with torch.no_grad(), precision(device):
            logits: Tensor = segmenter(images)
        return logits.float()

    return Forward(forward)


def _compiled(segmenter: Segmenter, tiles: int) -> Forward:
    if segmenter.compiled is None:
        check_stop()
        logger.info("preparing OpenVINO, which takes some seconds")
        segmenter.compiled = _by_openvino(segmenter, _streams(segmenter, tiles))
    return segmenter.compiled


def _streams(segmenter: Segmenter, tiles: int) -> int:
    """Images to compute side by side, for slices of `tiles` tiles.

    Two images by a thread each take a tenth less time than one after the other by both threads.
    """
    threads = torch.get_num_threads()
    fit = psutil.virtual_memory().total // max(1, 4 * least_memory(segmenter))
    most = min(threads, tiles, fit, MOST_STREAMS)
    return max((n for n in range(1, most + 1) if threads % n == 0), default=1)


def _by_openvino(segmenter: Segmenter, streams: int) -> Forward:
    """Compile `segmenter` for the CPU, with as many threads as torch has.

    `streams` images are computed side by side; those that are left one after the other, by all threads.
    Which of them is the case decides how an image is rounded.
    """
    openvino = _imported()
    side = segmenter.input_size
    bfloat16 = compute_dtype(torch.device("cpu")) == torch.bfloat16
    options = {
        "INFERENCE_PRECISION_HINT": "bf16" if bfloat16 else "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    model = _converted(segmenter, torch.zeros(1, 3, side, side))
    core = openvino.Core()

    @cache
    def requests(count: int) -> Any:
        compiled = core.compile_model(model, "CPU", {**options, "NUM_STREAMS": count})
        return [compiled.create_infer_request() for _ in range(count)]

    def side_by_side(images: Tensor) -> list[Tensor]:
        busy = requests(len(images))
        for request, image in zip(busy, images, strict=True):
            request.start_async({0: image[None].contiguous().numpy()})
        for request in busy:
            request.wait()
        return [torch.from_numpy(request.get_output_tensor(0).data.copy()) for request in busy]

    def forward(images: Tensor) -> Tensor:
        even = len(images) - len(images) % streams
        groups = [*torch.split(images[:even], streams), *torch.split(images[even:], 1)]
        return torch.cat([logits for group in groups if len(group) for logits in side_by_side(group)])

    requests(streams)  # so that a model that OpenVINO refuses is found out here
    return Forward(forward, streams)


def _imported() -> Any:
    """OpenVINO, which sends telemetry as it is imported unless it lacks the package for it.

    It does so from a fork, which may hang for ever, as it inherits locks that nobody opens there.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def _converted(segmenter: Segmenter, example: Tensor) -> Any:
    """The model as OpenVINO has it, by its frontend: `openvino.convert_model` sends telemetry."""
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    def compute(images: Tensor) -> Tensor:
        logits: Tensor = segmenter(images)
        return logits

    with warnings.catch_warnings(), torch.no_grad():
        # Shapes are fixed here, and sizes may become constants of the trace. A function's trace has the
        # weights as constants, and takes half the time of a module's.
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(compute, example, check_trace=False)  # type: ignore[no-untyped-call]
        decoder = TorchScriptPythonDecoder(traced)  # must stay alive while it is converted
        frontend = FrontEndManager().load_by_framework("pytorch")
        model = frontend.convert(frontend.load(decoder))
    model.reshape(list(example.shape))
    return model
