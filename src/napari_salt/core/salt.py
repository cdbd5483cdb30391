"""SALT as a weight parametrization: what it is, where it goes, and how it comes off again.

Knows nothing of SAM: any module with ``Linear``, ``Conv2d`` or ``ConvTranspose2d`` layers can carry it.

Source: Elsayed et al., "SALT: Singular Value Adaptation with Low-Rank Transformation",
arXiv 2503.16055, equations 3 to 5.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from napari_salt.core.config import Rank, SaltConfig
from napari_salt.core.errors import InputError
from napari_salt.core.svd import first_coincident, remembered_svd, watched

__all__ = [
    "SaltParametrization",
    "adapted_layers",
    "attach",
    "detach",
    "merge",
    "trainable_parameters",
]

Adaptable = nn.Linear | nn.Conv2d | nn.ConvTranspose2d


class SaltParametrization(nn.Module):
    """Adapted weight ``W + U_r diag(relu(scale s + shift) - s) V_r^T + (L lora_b)(lora_a R)``.

    ``L`` and ``R`` span what the top `rank` singular vectors leave: ``U_rest`` and ``V_rest^T``.
    Where singular values coincide, their vectors are arbitrary within a subspace; then the top part
    ends before the first such value, and ``L`` and ``R`` are the projectors onto the complement of
    the top part, which are not arbitrary. So a stored adapter means the same everywhere.

    Parameters
    ----------
    weight
        The frozen weight, float, shape (out, ...); flattened to (out, in).
    rank
        Top singular values that are scaled and shifted (see `SaltConfig.rank`).
    lora_rank
        Rank k of the update of the remaining subspace.
    energy
        Share of the spectrum's energy for ``rank="auto"``.

    Attributes
    ----------
    scale, shift
        Parameters of shape (r,), 1 and 0 at the start.
    lora_b, lora_a
        Parameters of shape (m, k) and (k, m'), m = m' = n - r (or out and in, see above);
        `lora_b` is 0 at the start, so the whole update is exactly 0.
    """

    u_top: Tensor
    s_top: Tensor
    vh_top: Tensor
    left: Tensor
    right: Tensor

    def __init__(self, weight: Tensor, *, rank: Rank = 0.5, lora_rank: int = 8, energy: float = 0.9) -> None:
        super().__init__()
        u, s, vh = remembered_svd(weight)
        top = _top_count(s, rank, energy)
        coincident = first_coincident(s)
        if coincident is None:
            left, right = u[:, top:], vh[top:]
        else:
            top = min(top, coincident)
            left = torch.eye(u.shape[0], dtype=u.dtype) - u[:, :top] @ u[:, :top].T
            right = torch.eye(vh.shape[1], dtype=u.dtype) - vh[:top].T @ vh[:top]
        device = weight.device
        basis = {
            "u_top": u[:, :top],
            "s_top": s[:top],
            "vh_top": vh[:top],
            "left": left,
            "right": right,
        }
        for name, value in basis.items():
            self.register_buffer(name, value.to(device, torch.float32).contiguous(), persistent=False)
        self.scale = nn.Parameter(torch.ones(top, device=device))
        self.shift = nn.Parameter(torch.zeros(top, device=device))
        self.lora_b = nn.Parameter(torch.zeros(left.shape[1], lora_rank, device=device))
        self.lora_a = nn.Parameter(torch.empty(lora_rank, right.shape[0], device=device))
        nn.init.normal_(self.lora_a, std=max(1, right.shape[0]) ** -0.5)

    @property
    def rank(self) -> int:
        """Number of singular values that are scaled and shifted."""
        return self.scale.numel()

    def delta(self) -> Tensor:
        """Change of the flattened weight, float32, shape (out, in)."""
        with torch.autocast(self.scale.device.type, enabled=False):
            gain = torch.relu(self.scale * self.s_top + self.shift) - self.s_top
            columns = torch.cat([self.u_top * gain, self.left @ self.lora_b], dim=1)
            rows = torch.cat([self.vh_top, self.lora_a @ self.right], dim=0)
            return columns @ rows

    def forward(self, weight: Tensor) -> Tensor:
        """Adapted weight of the shape and dtype of `weight`."""
        return weight + self.delta().view_as(weight).to(weight.dtype)


def _top_count(s: Tensor, rank: Rank, energy: float) -> int:
    """Number of top singular values that `rank` means for the spectrum `s`."""
    n = s.numel()
    if rank == "auto":
        share = torch.cumsum(s**2, 0) / (s**2).sum().clamp_min(torch.finfo(s.dtype).tiny)
        return min(n, int((share < energy).sum()) + 1)
    return round(rank * n) if isinstance(rank, float) else min(int(rank), n)


def adapted_layers(model: nn.Module) -> dict[str, SaltParametrization]:
    """SALT parametrizations of `model` by layer name, in module order."""
    return {
        name: salt
        for name, module in model.named_modules()
        if parametrize.is_parametrized(module, "weight")
        for salt in module.parametrizations["weight"]
        if isinstance(salt, SaltParametrization)
    }


def attach(model: nn.Module, config: SaltConfig, *, exclude: tuple[str, ...] = ()) -> list[str]:
    """Freeze `model`, put SALT on its target layers, and say which.

    Layers that already carry SALT keep it. Afterwards only SALT's parameters (and the targets' norms
    and biases, if `config` says so) require a gradient. Depthwise convolutions are left alone: their
    flattened weight mixes channels that never meet.

    Parameters
    ----------
    model
        Changed in place; what it computes is exactly what it computed before.
    config
        Ranks and targets.
    exclude
        Prefixes of module names to leave out, such as parts of a decoder that give no output.

    Returns
    -------
    list of str
        Names of the adapted layers.

    Raises
    ------
    InputError
        If there is no target, or one matches no module.
    """
    if not config.targets:
        raise InputError("targets is empty; name at least one module, such as 'image_encoder'")
    model.requires_grad_(False)
    present = adapted_layers(model)
    for target in config.targets:
        if not any(_within(name, (target,)) for name, _ in model.named_modules()):
            raise InputError(f"target {target!r} is no module of this model; see its named_modules()")
    layers = [(name, layer) for name, layer in _adaptable(model) if _chosen(name, config, exclude)]
    for name, layer in watched(layers):
        if name not in present:
            salt = SaltParametrization(
                layer.weight, rank=config.rank, lora_rank=config.lora_rank, energy=config.energy
            )
            parametrize.register_parametrization(layer, "weight", salt, unsafe=True)
    for salt in adapted_layers(model).values():
        salt.requires_grad_(True)
    if config.train_vectors:
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 and _chosen(name, config, exclude):
                parameter.requires_grad_(True)
    return [name for name, _ in layers]


def detach(model: nn.Module) -> None:
    """Take SALT off `model`, giving back the weights it had before `attach`."""
    _remove(model, leave_parametrized=False)


def merge(model: nn.Module) -> None:
    """Put the adapted weights in place of the old ones and take SALT off."""
    _remove(model, leave_parametrized=True)


def trainable_parameters(model: nn.Module) -> int:
    """Number of scalars in `model` that training changes."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def _remove(model: nn.Module, *, leave_parametrized: bool) -> None:
    for name in adapted_layers(model):
        layer = model.get_submodule(name)
        with torch.no_grad():
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=leave_parametrized)
        layer.weight.requires_grad_(False)


def _adaptable(model: nn.Module) -> Iterator[tuple[str, Adaptable]]:
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            yield name, module
        elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            depthwise = module.groups > 1 and module.weight.shape[1] == 1
            if not depthwise:
                yield name, module


def _chosen(name: str, config: SaltConfig, exclude: tuple[str, ...]) -> bool:
    return _within(name, config.targets) and not _within(name, exclude)


def _within(name: str, prefixes: tuple[str, ...]) -> bool:
    """Whether `name` is one of the modules `prefixes`, or lies inside one."""
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)
