"""Which stack an adapter was trained on, recognised by a hash of its painted slices' pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from napari_salt.core.adapt.adapter import Adapter
from napari_salt.terms.stack import StackLike

__all__ = ["data_fingerprint", "painted_slices", "trained_on"]


def data_fingerprint(image: StackLike, slices: Sequence[int]) -> str:
    """SHA-256 of the pixels of `slices`."""
    fingerprint = hashlib.sha256()
    for index in slices:
        fingerprint.update(np.ascontiguousarray(image[index]).tobytes())
    return fingerprint.hexdigest()


def trained_on(image: StackLike, slices: Sequence[int]) -> dict[str, Any]:
    """Metadata of a training stack: its painted slices, a hash of their pixels, its shape."""
    return {
        "painted_slices": list(slices),
        "data_sha256": data_fingerprint(image, slices),
        "data_shape": [int(length) for length in image.shape],
    }


def painted_slices(stack: StackLike, adapter: Adapter) -> tuple[int, ...]:
    """Slices of `stack` that the adapter was trained on; empty if it was trained on other stacks."""
    for known in (adapter.training, *adapter.training.get("more_stacks", ())):
        if list(stack.shape) == known.get("data_shape"):
            painted = tuple(known.get("painted_slices", ()))
            if data_fingerprint(stack, painted) == known.get("data_sha256"):
                return painted
    return ()
