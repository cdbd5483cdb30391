"""Metadata of the stack that an adapter is trained on, by which `terms.fingerprint` recognises it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from napari_salt.terms.fingerprint import data_fingerprint
from napari_salt.terms.stack import StackLike

__all__ = ["trained_on"]


def trained_on(image: StackLike, slices: Sequence[int]) -> dict[str, Any]:
    """Metadata of a training stack: its painted slices, a hash of their pixels, its shape and type."""
    return {
        "painted_slices": list(slices),
        "data_sha256": data_fingerprint(image, slices),
        "data_shape": [int(length) for length in image.shape],
        "data_type": np.dtype(image.dtype).name,
    }
