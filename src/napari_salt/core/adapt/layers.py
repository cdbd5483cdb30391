"""Changes of weights as parametrizations: which layers take them, how they are put on and taken off.

Independent of SAM: any module with ``Linear``, ``Conv2d`` or ``ConvTranspose2d`` layers can carry them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from napari_salt.core.adapt.svd import watched
from napari_salt.terms.config import SaltConfig
from napari_salt.terms.errors import InputError

__all__ = [
    "LOW_RANK_SHARE",
    "WeightChange",
    "adapted_layers",
    "attach_changes",
    "detach",
    "merge",
    "step_sizes",
    "target_layers",
    "trainable_parameters",
    "within",
]

LOW_RANK_SHARE = 0.25
"""Size of low-rank factors for the optimiser's relative steps; below 1, as both factors' steps multiply."""

Adaptable = nn.Linear | nn.Conv2d | nn.ConvTranspose2d


class WeightChange(nn.Module):
    """A trainable change that is added to a layer's frozen weight."""

    def delta(self) -> Tensor:
        """Change of the flattened weight, float32, shape (out, in)."""
        raise NotImplementedError

    def sizes(self) -> Mapping[nn.Parameter, float]:
        """Sizes of parameters that their initial values do not show; steps are relative to them."""
        raise NotImplementedError

    def forward(self, weight: Tensor) -> Tensor:
        """Adapted weight of the shape and dtype of `weight`."""
        return weight + self.delta().view_as(weight).to(weight.dtype)


def adapted_layers(model: nn.Module) -> dict[str, WeightChange]:
    """Changes that the weights of `model` carry, by layer name, in module order."""
    return {
        name: change
        for name, module in model.named_modules()
        if parametrize.is_parametrized(module, "weight")
        for change in module.parametrizations["weight"]
        if isinstance(change, WeightChange)
    }


def attach_changes(
    model: nn.Module,
    config: SaltConfig,
    make: Callable[[Tensor, SaltConfig], WeightChange],
    *,
    exclude: tuple[str, ...] = (),
) -> list[str]:
    """Freeze `model` and put changes on the weights of its target layers.

    Layers that already carry one keep it. Afterwards only the changes' parameters (and the targets' norms
    and biases, if `config` says so) require a gradient. Depthwise convolutions are left alone: their
    flattened weight mixes channels that never meet.

    Parameters
    ----------
    model
        Changed in place.
    config
        Ranks and targets.
    make
        Makes the change of a weight, from the weight and `config`.
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
        if not any(within(name, (target,)) for name, _ in model.named_modules()):
            raise InputError(f"target {target!r} is no module of this model; see its named_modules()")
    layers = target_layers(model, config, exclude)
    for name, layer in watched(layers):
        if name not in present:
            parametrize.register_parametrization(layer, "weight", make(layer.weight, config), unsafe=True)
    for change in adapted_layers(model).values():
        change.requires_grad_(True)
    if config.train_vectors:
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 and _chosen(name, config, exclude):
                parameter.requires_grad_(True)
    return [name for name, _ in layers]


def target_layers(
    model: nn.Module, config: SaltConfig, exclude: tuple[str, ...] = ()
) -> list[tuple[str, Adaptable]]:
    """Names and layers of `model` that take a change (see `attach_changes`), in module order."""
    return [(name, layer) for name, layer in _adaptable(model) if _chosen(name, config, exclude)]


def detach(model: nn.Module) -> None:
    """Take the changes off `model` and restore the weights it had before."""
    _remove(model, leave_parametrized=False)


def merge(model: nn.Module) -> None:
    """Put the changed weights in place of the old ones and take the changes off."""
    _remove(model, leave_parametrized=True)


def step_sizes(model: nn.Module) -> dict[nn.Parameter, float]:
    """Sizes of the changes' parameters (see `WeightChange.sizes`)."""
    return {p: size for change in adapted_layers(model).values() for p, size in change.sizes().items()}


def trainable_parameters(model: nn.Module) -> int:
    """Number of scalars in `model` that training changes."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def within(name: str, prefixes: tuple[str, ...]) -> bool:
    """Whether `name` is one of the modules `prefixes`, or lies inside one."""
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


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
    return within(name, config.targets) and not within(name, exclude)
