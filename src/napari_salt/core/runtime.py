"""What computes a merged segmenter: torch, or OpenVINO where it is installed and pays."""

from __future__ import annotations

import importlib.util
import logging
import platform
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from napari_salt.core.compute import compute_dtype, precision
from napari_salt.core.config import Runtime
from napari_salt.core.errors import InputError
from napari_salt.core.segmenter import Segmenter

__all__ = ["Forward", "forward_by"]

logger = logging.getLogger(__name__)

Forward = Callable[[Tensor], Tensor]
"""float32 images (B, 3, S, S) from 0 to 1 on the segmenter's device, to float32 logits (B, K, S, S)."""

PAYS_FROM = 64
"""Tiles from which OpenVINO saves more than the few seconds that preparing it takes."""


def forward_by(runtime: Runtime, segmenter: Segmenter, tiles: int = 0) -> Forward:
    """How to compute `segmenter` on about `tiles` tiles.

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
        return _compiled(segmenter)
    if runtime == "auto" and device.type == "cpu" and _pays(segmenter, tiles):
        try:
            return _compiled(segmenter)
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

    return forward


def _compiled(segmenter: Segmenter) -> Forward:
    if segmenter.compiled is None:
        logger.info("preparing OpenVINO, which takes some seconds")
        segmenter.compiled = _by_openvino(segmenter)
    return segmenter.compiled


def _by_openvino(segmenter: Segmenter) -> Forward:
    """Compile `segmenter` for single images on the CPU, with as many threads as torch has."""
    import openvino

    side = segmenter.input_size
    bfloat16 = compute_dtype(torch.device("cpu")) == torch.bfloat16
    options = {
        "INFERENCE_PRECISION_HINT": "bf16" if bfloat16 else "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
    }
    model = _converted(segmenter, torch.zeros(1, 3, side, side))
    compiled = openvino.Core().compile_model(model, "CPU", options)
    request = compiled.create_infer_request()

    def forward(images: Tensor) -> Tensor:
        found = [request.infer({0: image[None].contiguous().numpy()})[0] for image in images]
        return torch.cat([torch.from_numpy(logits) for logits in found])

    return forward


def _converted(segmenter: Segmenter, example: Tensor) -> Any:
    """The model as OpenVINO has it; by its frontend, as its converter tells its maker of every use."""
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    with warnings.catch_warnings(), torch.no_grad():
        # Shapes are fixed here, and sizes may become constants of the trace.
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(segmenter, example, check_trace=False)  # type: ignore[no-untyped-call]
        decoder = TorchScriptPythonDecoder(traced)  # read while converting, and owned by nobody else
        frontend = FrontEndManager().load_by_framework("pytorch")
        model = frontend.convert(frontend.load(decoder))
    model.reshape(list(example.shape))
    return model
