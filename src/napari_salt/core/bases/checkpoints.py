"""Checkpoint files: reading them without running code, and hashing the weights."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from napari_salt.terms.errors import BaseModelError
from napari_salt.terms.kinds import KINDS
from napari_salt.terms.text import reason

__all__ = ["PARTS", "read_checkpoint", "weights_digest"]

PARTS = ("image_encoder.", "prompt_encoder.", "mask_decoder.")
CONTAINERS = ("model", "state_dict", "model_state", "model_state_dict")
"""Keys under which training scripts put the weights, beside the optimiser's state."""
PREFIXES = ("sam.", "module.", "model.", "_orig_mod.")
"""What wrappers put before the names of the weights."""
UNREADABLE = (
    pickle.UnpicklingError,
    SafetensorError,
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
)


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Weights of a SAM-like model by their names in SAM, from ``.pth``, ``.pt`` or ``.safetensors``.

    Runs no code from the file. Weights inside a training script's checkpoint, or under a wrapper's
    prefix, are found.

    Raises
    ------
    BaseModelError
        If the file cannot be read, or holds no SAM.
    """
    try:
        if path.suffix == ".safetensors":
            content: Any = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        raise BaseModelError(
            f"{path} is not a readable checkpoint ({reason(error)}); get a fresh copy"
        ) from error
    state = _sam_weights(content)
    if not state:
        titles = ", ".join(kind.title for kind in KINDS.values())
        raise BaseModelError(
            f"{path} holds no weights of image_encoder, prompt_encoder and mask_decoder; "
            f"choose a checkpoint of {titles} or a fine-tuned one"
        )
    return state


def weights_digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, dtypes, shapes and bytes of `state`, in the order of the names.

    The same weights give the same digest whatever file they came in.
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _sam_weights(content: Any) -> dict[str, Tensor]:
    """Tensors of SAM's three parts in `content`, by their plain names; empty where there are none."""
    if not isinstance(content, Mapping):
        return {}
    for container in CONTAINERS:
        if isinstance(content.get(container), Mapping):
            return _sam_weights(content[container])
    named = {_plain(name): value for name, value in content.items() if isinstance(value, Tensor)}
    unused = tuple(name for kind in KINDS.values() for name in kind.unused)
    return {n: v for n, v in named.items() if n.startswith(PARTS) and not n.startswith(unused)}


def _plain(name: Any) -> str:
    text = str(name)
    while not text.startswith(PARTS):
        prefix = next((p for p in PREFIXES if text.startswith(p)), None)
        if prefix is None:
            break
        text = text.removeprefix(prefix)
    for theirs, ours in (pair for kind in KINDS.values() for pair in kind.renamed):
        if text.startswith(theirs):
            return ours + text.removeprefix(theirs)
    return text
