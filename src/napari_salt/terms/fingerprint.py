"""Which slices of a stack an adapter was trained on, recognised by a hash of their pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from napari_salt.terms.card import AdapterCard
from napari_salt.terms.stack import StackLike

__all__ = ["data_fingerprint", "painted_slices"]


def data_fingerprint(image: StackLike, slices: Sequence[int]) -> str:
    """SHA-256 of the pixels of `slices`."""
    fingerprint = hashlib.sha256()
    for index in slices:
        fingerprint.update(np.ascontiguousarray(image[index]).tobytes())
    return fingerprint.hexdigest()


def painted_slices(stack: StackLike, adapter: AdapterCard) -> tuple[int, ...]:
    """Slices of `stack` that the adapter was trained on; empty if it was trained on other stacks."""
    for known in (adapter.training, *adapter.training.get("more_stacks", ())):
        if list(stack.shape) == known.get("data_shape"):
            painted = tuple(known.get("painted_slices", ()))
            if data_fingerprint(stack, painted) == known.get("data_sha256"):
                return painted
    return ()
