"""Whether an adapter's tensors fit a base, by their shapes, before its changes are made and take memory."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from napari_salt.core.adapt.layers import target_layers
from napari_salt.terms.config import SaltConfig
from napari_salt.terms.errors import AdapterError
from napari_salt.terms.tensor_checks import CHANGE, Shapes, layer_parts, named

__all__ = ["REMEDY", "check_layers"]

REMEDY = "the file is damaged or belongs to another version of napari-salt; get a fresh copy"


def check_layers(
    shapes: Shapes,
    model: nn.Module,
    config: SaltConfig,
    parts: Sequence[str],
    exclude: tuple[str, ...] = (),
) -> None:
    """Check that each layer to adapt has its change among the tensors, and no other layer has one.

    Parameters
    ----------
    shapes
        Shape of each of the adapter's tensors, by name.
    model
        The base, unchanged.
    config
        Ranks and targets.
    parts
        Parts of the change of a layer, of `LAYER_PARTS`.
    exclude
        Prefixes of modules that carry no change.

    Raises
    ------
    AdapterError
        Naming the first tensor that is missing, unknown, or larger than its layer.
    """
    found = layer_parts(shapes)
    layers = dict(target_layers(model, config, exclude))
    for layer in found:
        if layer not in layers:
            name = named(layer + CHANGE + next(iter(found[layer])))
            raise AdapterError(f"the adapter holds tensor {name}, which the model lacks; {REMEDY}")
    for layer, module in layers.items():
        out, into = module.weight.flatten(1).shape
        most = {"scale": min(out, into), "shift": min(out, into), "lora_b": out, "lora_a": into}
        for part in parts:
            name = named(layer + CHANGE + part)
            shape = found.get(layer, {}).get(part)
            if shape is None:
                raise AdapterError(f"the adapter lacks tensor {name}; {REMEDY}")
            if shape[1 if part == "lora_a" else 0] > most[part]:
                raise AdapterError(
                    f"tensor {name} has shape {shape}, but its layer has {out} x {into} weights; {REMEDY}"
                )
