r"""Adapters of other strength, and mixtures of adapters of one base.

An adapter changes each weight by ``D = U_r diag(relu(scale s + shift) - s) V_r^T + (L lora_b)(lora_a R)``,
where the base alone gives ``U``, ``s``, ``V``, ``L`` and ``R``. So ``sum_i w_i D_i`` is of that form again:
``scale = 1 + sum_i w_i (scale_i - 1)``, ``shift = sum_i w_i shift_i``, and the low-rank factors side by side,
``lora_b = [w_1 lora_b_1, w_2 lora_b_2, ...]``, ``lora_a = [lora_a_1; lora_a_2; ...]``. That is exact, except
for singular values that an adapter or the mixture makes negative, which `relu` sets to 0. Norms, biases and
(where the decoder itself was trained) weights are interpolated from the base's. What belongs to classes is no
change of the base: it is not scaled, and averaged over the adapters that have the class, an approximation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from napari_salt.core.bases.load import BaseModel, load_base
from napari_salt.terms.errors import AdapterError, InputError
from napari_salt.terms.tensor_checks import CHANGE, OF_CLASSES

if TYPE_CHECKING:
    from napari_salt.core.adapt.adapter import Adapter, ClassInfo

__all__ = ["mix"]

MAX_STRENGTH = 1.5
MAX_ADAPTERS = 16


def mix(
    adapters: Sequence[Adapter],
    weights: Sequence[float] | None = None,
    *,
    strength: float = 1.0,
    base: BaseModel | None = None,
) -> Adapter:
    """Mix adapters of one base, as a new adapter.

    Parameters
    ----------
    adapters
        One or more, made by the same method with the same ranks and targets. They may have other classes: the
        mixture has all of them; a label value must mean the same class.
    weights
        How much of each, from 0 to 1.5; default equal, 1 in all.
    strength
        Factor for all weights, from 0 (the base, with the classes' own tensors) to 1.5.
    base
        Their base, if it is loaded already; it is not changed.

    Returns
    -------
    Adapter
        Its low rank is the sum of those of the adapters, so that nothing is lost; a single adapter with
        strength 1 gives the same tensors.

    Raises
    ------
    InputError
        If a weight or the strength is out of range, or their number is wrong.
    AdapterError
        If the adapters cannot be mixed; the message names what differs.
    """
    weights = [1 / len(adapters)] * len(adapters) if weights is None else list(weights)
    _check_weights(adapters, weights, strength)
    first = adapters[0]
    _check_alike(adapters)
    base = base or load_base(first.base_reference())
    first.check_base(base)
    shares = [strength * weight for weight in weights]
    classes = _classes(adapters)
    names = [name for name in first.tensors if name not in OF_CLASSES]
    tensors = {name: _mixed(name, adapters, shares, base.module) for name in names}
    tensors |= {name: _of_classes(name, adapters, weights, classes) for name in OF_CLASSES}
    rank = first.salt.lora_rank * len(adapters)
    return replace(
        first,
        tensors=tensors,
        classes=tuple(classes),
        salt=replace(first.salt, lora_rank=rank),
        divided=max(adapter.divided for adapter in adapters),
        smallest=min(adapter.smallest for adapter in adapters),
        training=_training(adapters, weights, strength),
    )


def _check_weights(adapters: Sequence[Adapter], weights: Sequence[float], strength: float) -> None:
    if not 1 <= len(adapters) <= MAX_ADAPTERS or len(weights) != len(adapters):
        raise InputError(
            f"there are {len(adapters)} adapters and {len(weights)} weights; give up to {MAX_ADAPTERS} "
            "adapters, and one weight for each"
        )
    for name, value in (("strength", strength), *(("weight", weight) for weight in weights)):
        if not (math.isfinite(value) and 0 <= value <= MAX_STRENGTH):
            raise InputError(f"the {name} is {value:g}; give a number from 0 to {MAX_STRENGTH}")
    if not sum(weights):
        raise InputError("all weights are 0; give one above 0, or --strength 0 for the base alone")


def _check_alike(adapters: Sequence[Adapter]) -> None:
    """Raise AdapterError naming what keeps the adapters from being mixed."""
    first = adapters[0]
    for other in adapters[1:]:
        facts: dict[str, tuple[Any, Any]] = {
            "base model": (first.weights_sha256, other.weights_sha256),
            "method": (first.method, other.method),
            "settings": (first.salt, other.salt),
            "preprocessing": (first.preprocess, other.preprocess),
            "border class": (first.border, other.border),
            "tensors": (_forms(first), _forms(other)),
        }
        for what, (one, two) in facts.items():
            if one != two:
                shown = f" ({one} and {two})" if len(f"{one}{two}") < 400 else ""
                raise AdapterError(
                    f"the adapters are of different {what}{shown}; only those of the same {what} can be mixed"
                )


def _forms(adapter: Adapter) -> dict[str, tuple[int, ...]]:
    """Shapes of the changes of the base."""
    return {name: tuple(t.shape) for name, t in adapter.tensors.items() if name not in OF_CLASSES}


def _classes(adapters: Sequence[Adapter]) -> list[ClassInfo]:
    """All classes, by their first appearance."""
    found: dict[int, ClassInfo] = {}
    for info in (info for adapter in adapters for info in adapter.classes):
        known = found.setdefault(info.value, info)
        if known.name != info.name:
            raise AdapterError(
                f"label value {info.value} is class {known.name!r} in one adapter and {info.name!r} in "
                "another; train one of them with another label value"
            )
    if adapters[0].border and len(found) > 2:
        raise AdapterError("adapters of objects can be mixed only if their classes are the same")
    return list(found.values())


def _mixed(name: str, adapters: Sequence[Adapter], shares: Sequence[float], module: nn.Module) -> Tensor:
    """One tensor of the mixture that changes the base (see the module's formulas)."""
    found = [adapter.tensors[name] for adapter in adapters]
    _, changes, part = name.rpartition(CHANGE)
    if changes and part == "lora_a":
        return torch.cat(found, dim=0)
    if changes and part == "lora_b":
        return torch.cat([share * tensor for share, tensor in zip(shares, found, strict=True)], dim=1)
    of_change = {"scale": 1.0, "shift": 0.0} if changes else {}
    start = of_change[part] if part in of_change else _of_base(name, module)
    mixed = (1 - sum(shares)) * start
    for share, tensor in zip(shares, found, strict=True):
        mixed = mixed + share * tensor
    return torch.as_tensor(mixed)


def _of_base(name: str, module: nn.Module) -> Tensor:
    try:
        return module.get_parameter(name).detach().float().cpu()
    except AttributeError:
        raise AdapterError(
            f"it is not known how tensor {name!r} of this method mixes; only adapters of SALT, LoRA, S-SAM "
            "and the decoder can be mixed"
        ) from None


def _of_classes(
    name: str, adapters: Sequence[Adapter], weights: Sequence[float], classes: Sequence[ClassInfo]
) -> Tensor:
    """Rows of the classes: of each, the weighted mean over the adapters that have it."""
    rows = []
    for info in classes:
        having = [(w, a) for w, a in zip(weights, adapters, strict=True) if info.value in a.values]
        total = sum(weight for weight, _ in having)
        kept = [(w / total, a) for w, a in having] if total else [(1 / len(having), a) for _, a in having]
        row = sum(share * a.tensors[name][a.values.index(info.value)] for share, a in kept)
        rows.append(torch.as_tensor(row))
    return torch.stack(rows)


def _training(adapters: Sequence[Adapter], weights: Sequence[float], strength: float) -> dict[str, Any]:
    """What the file says of its making: a single adapter's own facts but for scores, and the parts."""
    facts = {k: v for k, v in adapters[0].training.items() if k not in ("held_out_dice", "losses")}
    parts = [
        {"name": adapter.name, "weight": float(weight), "steps": adapter.training.get("steps", 0)}
        for adapter, weight in zip(adapters, weights, strict=True)
    ]
    own = facts if len(adapters) == 1 else {"date": datetime.now().astimezone().isoformat(timespec="seconds")}
    return {**own, "mixed": parts, "strength": float(strength)}
