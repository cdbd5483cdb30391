"""Which stack an adapter was trained on: told by the pixels of its painted slices."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from napari_salt.core.adapt.adapter import Adapter
from napari_salt.terms.stack import StackLike

__all__ = ["data_fingerprint", "painted_slices"]


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
