"""What an adapter's file tells of its classes and its training."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch

from napari_salt import __version__
from napari_salt.core.adapter import Adapter, ClassInfo
from napari_salt.core.annotations import Annotations, Split
from napari_salt.core.config import TrainConfig
from napari_salt.core.stack import StackLike

__all__ = ["advice", "class_table", "data_fingerprint", "painted_slices", "provenance"]

COLORS = (
    "#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#46f0f0", "#f032e6", "#bcf60c",
)  # fmt: skip


def class_table(values: Sequence[int], config: TrainConfig, init: Adapter | None) -> tuple[ClassInfo, ...]:
    """Classes with names and colours: those of the adapter to go on from stay as they were."""
    known = {info.value: info for info in init.classes} if init else {}
    default = [
        ClassInfo(value, f"class {value}", COLORS[position % len(COLORS)])
        for position, value in enumerate(values)
    ]
    named = [known.get(info.value, info) for info in default]
    names, colors = config.class_names, config.class_colors
    return tuple(
        replace(c, name=names.get(c.value, c.name), color=colors.get(c.value, c.color)) for c in named
    )


def provenance(
    image: StackLike,
    annotations: Annotations,
    config: TrainConfig,
    split: Split,
    device: torch.device,
) -> dict[str, Any]:
    """What the file tells of its training; the fingerprint is of the painted slices' pixels."""
    painted = [painted.index for painted in annotations.slices]
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": config.seed,
        "painted_slices": painted,
        "held_out": split.description,
        "leak_free": split.leak_free,
        "unpainted": config.unpainted,
        "data_sha256": data_fingerprint(image, painted),
        "data_shape": [int(length) for length in image.shape],
        "device": str(device),
        "napari_salt": __version__,
        "torch": torch.__version__,
        "platform": platform.platform(),
    }


def data_fingerprint(image: StackLike, slices: Sequence[int]) -> str:
    """SHA-256 of the pixels of `slices`."""
    fingerprint = hashlib.sha256()
    for index in slices:
        fingerprint.update(np.ascontiguousarray(image[index]).tobytes())
    return fingerprint.hexdigest()


def painted_slices(stack: StackLike, adapter: Adapter) -> tuple[int, ...]:
    """Slices of `stack` that the adapter was trained on; none if it was trained on another stack."""
    training = adapter.training
    if list(stack.shape) != training.get("data_shape"):
        return ()
    painted = tuple(training.get("painted_slices", ()))
    return painted if data_fingerprint(stack, painted) == training.get("data_sha256") else ()


def advice(annotations: Annotations, split: Split, final_phase: float) -> str:
    """What the user should read before training: the split, and what looks wrong with the paint."""
    text = f"held out: {split.description}; the last {1 - final_phase:.0%} of training use all paint"
    if annotations.looks_like_strokes:
        text += (
            "; WARNING: the paint looks like strokes, but unpainted pixels count as background: "
            "if they are just not painted yet, use --unpainted ignore"
        )
    return text
