"""Choice of what computes a merged segmenter: torch, or OpenVINO where it is installed and faster."""

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
    """Choose how to compute `segmenter` on `slices` times `tiles` tiles.

    OpenVINO computes in the same precision as torch does; ``"auto"`` takes it on x86 CPUs where it is
    installed and there are enough tiles. It compiles the present weights, and the compiled model is kept
    in `segmenter.compiled`.

    Parameters
    ----------
    runtime
        ``"auto"``, ``"torch"`` or ``"openvino"``.
    segmenter
        On its device; merged for OpenVINO.
    slices, tiles
        Number of slices of the whole job, and of tiles per slice.

    Raises
    ------
    InputError
        If OpenVINO is asked for, but not installed or the device is no CPU.
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

    `streams` images are computed side by side; a rest smaller than that one after the other, by all
    threads. The rounding of an image's logits depends on which of the two it is.
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

    requests(streams)  # raises here if OpenVINO cannot take the model
    return Forward(forward, streams)


def _imported() -> Any:
    """Import OpenVINO with its telemetry package blocked.

    Otherwise the import sends telemetry from a forked process, which may hang for ever on inherited locks.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def _converted(segmenter: Segmenter, example: Tensor) -> Any:
    """Convert to an OpenVINO model by the frontend, because `openvino.convert_model` sends telemetry."""
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
