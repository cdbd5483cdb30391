"""Metadata of an adapter file on its classes and its training."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch

from napari_salt import __version__
from napari_salt.core.paint.annotations import Annotations
from napari_salt.core.paint.fingerprint import trained_on
from napari_salt.core.paint.split import Split
from napari_salt.terms.config import TrainConfig
from napari_salt.terms.options import values_of
from napari_salt.terms.stack import StackLike

__all__ = ["advice", "provenance"]


TOLD_ELSEWHERE = ("base", "slices", "class_names")
"""Options that the file stores in other fields, exactly and without paths of this machine."""
MANY_CLASSES = 8
"""With more classes the advice asks whether they are numbers of objects."""


def provenance(
    images: Sequence[StackLike],
    annotations: Annotations,
    config: TrainConfig,
    split: Split,
    device: torch.device,
    *,
    mixed: bool = False,
) -> dict[str, Any]:
    """Metadata of the training; that of the stacks is by `trained_on`, of the first on the top level.

    `mixed`: unpainted means something else on some slices than on the others.
    """
    first, *more = (
        trained_on(image, [painted.index for painted in annotations.slices if painted.stack == number])
        for number, image in enumerate(images)
    )
    return {
        **first,
        **({"more_stacks": more} if more else {}),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": config.seed,
        "held_out": split.description,
        "leak_free": split.leak_free,
        "unpainted": "mixed" if mixed else config.unpainted,
        "options": {name: value for name, value in values_of(config).items() if name not in TOLD_ELSEWHERE},
        "device": str(device),
        "napari_salt": __version__,
        "torch": torch.__version__,
        "platform": platform.platform(),
    }


def advice(annotations: Annotations, split: Split, final_phase: float) -> str:
    """Message to the user before training: the split, and possible mistakes of the paint."""
    text = f"held out: {split.description}; the last {1 - final_phase:.0%} of training use all paint"
    held_out = set().union(*(np.unique(painted.target).tolist() for painted in split.held_out))
    missing = [value for number, value in enumerate(annotations.values, start=1) if number not in held_out]
    if len(missing) == len(annotations.values):
        text += "; no class is in the held-out paint, so no Dice can tell how good the adapter is: paint more"
    elif missing:
        names = ", ".join(map(str, missing))
        text += f"; label {names} is not in the held-out paint, and its Dice says nothing: paint more of it"
    if len(annotations.values) > MANY_CLASSES:
        text += (
            f"; {len(annotations.values)} classes are learnt: if the labels are numbers of objects, give all "
            "objects of one class the same value"
        )
    if annotations.looks_like_strokes:
        text += (
            "; WARNING: the paint looks like strokes, but unpainted pixels count as background: "
            "if they are just not painted yet, use --unpainted ignore"
        )
    return text
