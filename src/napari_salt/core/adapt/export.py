"""Adapted models for other programs: a checkpoint for segment-anything, or an ONNX file."""

from __future__ import annotations

import io
import json
import tempfile
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from napari_salt.core.adapt.adapter import Adapter
from napari_salt.core.bases.load import BaseModel, load_base
from napari_salt.terms.errors import AdapterError, InputError
from napari_salt.terms.files import whole_file
from napari_salt.terms.text import reason

__all__ = ["OPSET", "check_ending", "export_onnx", "export_sam", "traced", "written"]

OPSET = 18
"""Version of ONNX's operators; ONNX Runtime has it since 1.14."""
SAM_KINDS = ("sam-vit",)


def export_sam(adapter: Adapter, path: Path, base: BaseModel | None = None) -> Path:
    """Write the base with the adapter's changes merged, as a checkpoint of the package segment-anything.

    Its encoder and decoder are the adapted ones; it takes points and boxes, as every SAM. What belongs to
    the classes has no place in such a checkpoint; it can be read from the adapter's file.

    Parameters
    ----------
    adapter
        On a base of the kind ``sam-vit``, at its native input size.
    path
        The file, which ends in ``.pth``.
    base
        Its base, if it is loaded already; it is changed.

    Raises
    ------
    InputError
        If the path ends in something else, the base is of another kind or size, or the file cannot be
        written.
    AdapterError
        If the adapter does not fit the base.
    """
    check_ending(path, ".pth")
    base = base or load_base(adapter.base_reference())
    if base.spec.kind not in SAM_KINDS or "@" in base.spec.name:
        raise InputError(
            f"the adapter's base {base.spec.name} is no {SAM_KINDS[0]} at its native size, which "
            "segment-anything needs; export it --to onnx, or train on sam-vit-b, -l or -h"
        )
    adapter.build(base=base).merged()
    content = io.BytesIO()
    torch.save({name: t.contiguous().clone() for name, t in base.module.state_dict().items()}, content)
    return written(path, content.getvalue())


def export_onnx(adapter: Adapter, path: Path, base: BaseModel | None = None) -> Path:
    """Write the adapted model as an ONNX file.

    Input ``images``: float32 (batch, 3, S, S) from 0 to 1, S the base's input size. Output ``logits``:
    float32 (batch, K, S, S), one map per class; background has the logit 0. The batch is dynamic. The file's
    metadata hold ``classes``, ``preprocess``, ``base_model``, ``license`` and ``author``, as in the adapter's
    file.

    Parameters
    ----------
    adapter
        Of any method and base.
    path
        The file, which ends in ``.onnx``.
    base
        Its base, if it is loaded already; it is changed.

    Raises
    ------
    InputError
        If the path ends in something else, the package onnx is missing, or the file cannot be written.
    AdapterError
        If the adapter does not fit the base, or the base has operators that ONNX lacks.
    """
    check_ending(path, ".onnx")
    try:
        import onnx
    except ImportError as error:
        raise InputError('ONNX needs the package onnx; run pip install "napari-salt[onnx]"') from error
    segmenter = adapter.build(base=base).merged()
    example = torch.zeros(2, 3, segmenter.input_size, segmenter.input_size)
    model = onnx.load_from_string(traced(segmenter, example, "logits"))
    meta = adapter.metadata()
    kept = {key: meta[key] for key in ("classes", "preprocess", "base_model", "license", "author")}
    facts = {**kept, "config": json.dumps(asdict(adapter.salt)), "input_size": str(segmenter.input_size)}
    onnx.helper.set_model_props(model, facts)
    onnx.checker.check_model(model)
    return written(path, model.SerializeToString())


def traced(model: nn.Module, example: Tensor, output: str) -> bytes:
    """Trace a model as ONNX, with a dynamic batch.

    Parameters
    ----------
    model
        Takes images like `example`, which become the input ``images``.
    example
        (2, C, S, S): a batch of 1 might become a constant.
    output
        Name of the output.

    Raises
    ------
    AdapterError
        If it has operators that ONNX lacks.
    """
    with warnings.catch_warnings(), torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")  # sizes become constants of the trace, as they may
        path = Path(folder) / "model.onnx"
        hooks = [layer.register_forward_pre_hook(_as_image) for layer in _mergers(model)]
        try:
            torch.onnx.export(
                model,
                (example,),
                path,
                input_names=["images"],
                output_names=[output],
                dynamic_axes={"images": {0: "batch"}, output: {0: "batch"}},
                opset_version=OPSET,
                dynamo=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            told = reason(error)
            raise AdapterError(f"the base cannot be exported to ONNX ({told}); use another base") from error
        finally:
            for hook in hooks:
                hook.remove()
        return path.read_bytes()


def _mergers(model: nn.Module) -> list[nn.Module]:
    """LiteMedSAM's layers that take ``len`` of their input, which would become a constant of the trace."""
    return [layer for layer in model.modules() if type(layer).__name__ == "PatchMerging"]


def _as_image(layer: nn.Module, given: tuple[Tensor]) -> tuple[Tensor]:
    """Give such a layer its input (B, H W, C) as (B, C, H, W), which it makes of it otherwise."""
    (tokens,) = given
    if tokens.ndim != 3 or not hasattr(layer, "input_resolution"):
        return given
    resolution: Any = layer.input_resolution
    height, width = resolution
    return (tokens.transpose(1, 2).reshape(tokens.shape[0], -1, height, width),)


def check_ending(path: Path, ending: str) -> None:
    """Raise InputError for a file's name that ends in something else."""
    if path.suffix != ending:
        raise InputError(f"{path}: the file's name must end in {ending}; rename it")


def written(path: Path, content: bytes) -> Path:
    """Write an exported model, whole or not at all; InputError if that is not possible."""
    try:
        with whole_file(path) as file:
            file.write(content)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}; choose another place") from error
    return path
