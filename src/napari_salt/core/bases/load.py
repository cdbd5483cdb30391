"""Loading base models: from the registry, with their hash checked, or from a local checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from napari_salt.core.bases.checkpoints import read_checkpoint, weights_digest
from napari_salt.terms.cache import cache_folder, file_digests, is_file, remember_checkpoint
from napari_salt.terms.errors import BaseModelError
from napari_salt.terms.kinds import KINDS, kind_of
from napari_salt.terms.registry import BASES, DEFAULT_BASE, BaseSpec, base_spec, split_size
from napari_salt.terms.text import printable, unpathed

__all__ = [
    "BASES",
    "DEFAULT_BASE",
    "BaseModel",
    "BaseSpec",
    "base_spec",
    "load_base",
    "split_size",
    "weights_digest",
]

logger = logging.getLogger(__name__)

MAX_FILE_NAME = 200


@dataclass(frozen=True)
class BaseModel:
    """A loaded base: the module and what identifies its weights.

    Parameters
    ----------
    spec
        The registry's entry; for other checkpoints one made from their content.
    module
        SAM-like module with ``image_encoder``, ``prompt_encoder`` and ``mask_decoder``, in eval
        mode, on its device.
    sha256
        Hash of the checkpoint file.
    weights_sha256
        Hash of the weights themselves (see `weights_digest`).
    """

    spec: BaseSpec
    module: nn.Module
    sha256: str
    weights_sha256: str


def load_base(reference: str, device: torch.device | str = "cpu") -> BaseModel:
    """Load a base model offline; the hash of a base of the registry is checked.

    Parameters
    ----------
    reference
        Registry name, or path of a checkpoint, whose kind is recognised by its content; ``@SIZE`` after
        it asks for another input size than the native one, such as ``"sam-vit-b@512"``.
    device
        Where the module is put.

    Returns
    -------
    BaseModel
        In eval mode, without gradients.

    Raises
    ------
    BaseModelError
        If the base is unknown, not on this machine, of no known kind, or cannot take that input size; or
        if its file is damaged or does not have the published hash.
    """
    name, input_size = split_size(reference)
    path, digests = _registered(base_spec(name)) if name in BASES else _local(name)
    state = read_checkpoint(path)
    try:
        spec = BASES.get(name) or _recognised(path, state, digests)
        spec = spec if input_size is None else spec.at(input_size)
        kind = KINDS[spec.kind]
        module: nn.Module = kind.build(state, spec.input_size)
    except (RuntimeError, LookupError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise BaseModelError(
            f"{path} looks like a model of a known kind, but its weights do not fit ({reason}); "
            "choose another checkpoint"
        ) from error
    module.eval().requires_grad_(False).to(device)
    if kind.slow_above and spec.input_size > kind.slow_above and torch.device(device).type == "cpu":
        logger.warning(
            "%s with inputs of %d pixels is slow on a CPU (at 1024 half a minute per image); "
            "@256 after its name is about 30 times as fast",
            spec.name,
            spec.input_size,
        )
    weights = weights_digest(state)
    if name not in BASES:
        marks = {**digests, "weights": weights}
        remember_checkpoint(path, (f"{mark}:{digest}" for mark, digest in marks.items()))
    return BaseModel(spec, module, digests["sha256"], weights)


def _registered(spec: BaseSpec) -> tuple[Path, dict[str, str]]:
    """Verified file of a base of the registry, and its digests by algorithm."""
    path = spec.checkpoint()
    if path is None:
        raise BaseModelError(_how_to_get(spec))
    algorithm, expected = spec.digest.split(":")
    digests = file_digests(path, ("sha256", algorithm))
    found = digests[algorithm]
    if found != expected:
        remedy = f"reinstall the package {spec.package!r}" if spec.package else "delete it, download it again"
        raise BaseModelError(
            f"{path} has {algorithm} {found[:12]}... instead of {expected[:12]}...; {remedy}"
        )
    return path, digests


def _local(name: str) -> tuple[Path, dict[str, str]]:
    """A checkpoint file of the user's, and its digests by every algorithm of the registry."""
    if not is_file(name):
        base_spec(name)
    path = Path(name)
    return path, file_digests(path, {"sha256", *(s.digest.partition(":")[0] for s in BASES.values())})


def _how_to_get(spec: BaseSpec) -> str:
    missing = f"the weights of {spec.name} are not on this machine"
    if spec.package:
        return f"{missing}; install the package {spec.package!r} with pip"
    return (
        f"{missing}; run 'napari-salt bases --download {spec.name}', or put {spec.url} "
        f"({spec.digest}) as {spec.file} into {cache_folder()}"
    )


def _recognised(path: Path, state: Mapping[str, Tensor], digests: Mapping[str, str]) -> BaseSpec:
    """Spec of a checkpoint by its content: a base of the registry, or another model of a known kind."""
    for known in BASES.values():
        algorithm, _, expected = known.digest.partition(":")
        if digests.get(algorithm) == expected:
            return known
    name = kind_of(state)
    if name is None:
        raise BaseModelError(
            f"{path} is no checkpoint of a known kind ({', '.join(KINDS)}); choose another one"
        )
    kind = KINDS[name]
    return BaseSpec(
        name=f"{name}:{unpathed(printable(path.name))[-MAX_FILE_NAME:]}",
        kind=name,
        licence="unknown",
        input_size=kind.native_size(state),
        mean=kind.mean,
        std=kind.std,
        package="",
        digest=f"sha256:{digests['sha256']}",
        size=path.stat().st_size,
        targets=kind.targets,
        boxes_only=kind.boxes_only,
    )
