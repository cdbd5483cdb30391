"""The methods of fine-tuning: how each changes a model, scales its optimiser steps, and is merged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from napari_salt.core.adapt.layers import WeightChange, attach_changes, merge, step_sizes, within
from napari_salt.core.adapt.lora import LoraParametrization
from napari_salt.core.adapt.salt import salt_of
from napari_salt.terms.config import SaltConfig
from napari_salt.terms.errors import InputError
from napari_salt.terms.methods import METHODS, Method, add_method
from napari_salt.terms.tensor_checks import LAYER_PARTS

__all__ = ["ADAPTATIONS", "Adaptation", "adaptation", "register_method"]

Attach = Callable[[nn.Module, SaltConfig, tuple[str, ...]], object]


@dataclass(frozen=True)
class Adaptation:
    """What a method does.

    Parameters
    ----------
    method
        Its name, what can be set, and the type in an adapter's file.
    attach
        Takes a frozen model, settings and prefixes of module names to leave out; whatever requires a
        gradient afterwards trains and goes into the adapter's file. The model's output is the same as before.
    sizes
        Sizes of parameters of the model that their initial values do not show, such as factors that begin
        at 0: each parameter's rate is the learning rate times its size.
    merge
        Puts plain weights in place of what `attach` has put on the model.
    parts
        Parts (of `LAYER_PARTS`) that the change of every target layer consists of, if `attach` makes such
        changes: then a file is compared with the base before anything is made.
    """

    method: Method
    attach: Attach
    sizes: Callable[[nn.Module], Mapping[nn.Parameter, float]] = step_sizes
    merge: Callable[[nn.Module], None] = merge
    parts: tuple[str, ...] = ()


def _changing(make: Callable[[Tensor, SaltConfig], WeightChange]) -> Attach:
    def attach(model: nn.Module, config: SaltConfig, exclude: tuple[str, ...]) -> list[str]:
        return attach_changes(model, config, make, exclude=exclude)

    return attach


def _lora_of(weight: Tensor, config: SaltConfig) -> LoraParametrization:
    return LoraParametrization(weight, lora_rank=config.lora_rank)


def _free_targets(model: nn.Module, config: SaltConfig, exclude: tuple[str, ...]) -> None:
    for name, parameter in model.named_parameters():
        if within(name, config.targets) and not within(name, exclude):
            parameter.requires_grad_(True)


ADAPTATIONS: dict[str, Adaptation] = {
    "salt": Adaptation(METHODS["salt"], _changing(salt_of), parts=LAYER_PARTS),
    "lora": Adaptation(METHODS["lora"], _changing(_lora_of), parts=("lora_a", "lora_b")),
    "s-sam": Adaptation(METHODS["s-sam"], _changing(salt_of), parts=LAYER_PARTS),
    "decoder": Adaptation(METHODS["decoder"], _free_targets),
}


def adaptation(name: str) -> Adaptation:
    """What the method of that name does.

    Raises
    ------
    InputError
        If there is none.
    """
    if name not in ADAPTATIONS:
        raise InputError(f"unknown method {name!r}; use {', '.join(ADAPTATIONS)}")
    return ADAPTATIONS[name]


def register_method(entry: Adaptation) -> None:
    """Add a method, for this process: it can be chosen, trained, saved, loaded and segmented with.

    Raises
    ------
    InputError
        If its name or file type is another method's.
    """
    add_method(entry.method)
    ADAPTATIONS[entry.method.name] = entry
