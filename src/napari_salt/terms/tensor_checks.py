"""Names, types and shapes of an adapter's tensors, checked from the file's header before any is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from napari_salt.terms.config import SaltConfig
from napari_salt.terms.text import printable, shortened

__all__ = ["CHANGE", "LAYER_PARTS", "OF_CLASSES", "Shapes", "check_tensors", "layer_parts", "named"]

MAX_TENSORS, MAX_NAME, MAX_AXES, MAX_SIDE = 10_000, 300, 4, 2**20
FLOAT32 = "F32"
OF_CLASSES = ("class_tokens", "output_tokens", "class_head")
"""Tensors with a row per class; the others are changes of the base."""
CHANGE = ".parametrizations.weight.0."
"""Stands between the name of an adapted layer and the name of a part of its change."""
LAYER_PARTS = ("scale", "shift", "lora_a", "lora_b")

Shapes = Mapping[str, Sequence[int]]


def check_tensors(shapes: Shapes, dtypes: Mapping[str, str], salt: SaltConfig, n_classes: int) -> None:
    """Check that the tensors are what the settings say.

    Parameters
    ----------
    shapes
        Shape of each tensor by name, from the file's header.
    dtypes
        Type of each tensor, in the words of the format.
    salt
        Ranks and targets, from the settings; without targets, those of the base are meant.
    n_classes
        Number of classes.

    Raises
    ------
    ValueError
        Naming the first that does not agree.
    """
    if len(shapes) > MAX_TENSORS:
        raise ValueError(f"the file holds {len(shapes)} tensors, expected at most {MAX_TENSORS}")
    for name, shape in shapes.items():
        _check_form(name, shape, dtypes[name])
        if name not in OF_CLASSES and not _is_within(name, salt.targets):
            raise ValueError(f"the file holds tensor {named(name)}, which no target of its settings contains")
    for layer, parts in layer_parts(shapes).items():
        _check_layer(layer, parts, salt.lora_rank)
    _check_classes(shapes, n_classes)


def layer_parts(shapes: Shapes) -> dict[str, dict[str, tuple[int, ...]]]:
    """Shapes of the parts (`LAYER_PARTS`) of each adapted layer's change, by the layer's name."""
    layers: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, shape in shapes.items():
        layer, found, part = name.rpartition(CHANGE)
        if found and part in LAYER_PARTS:
            layers.setdefault(layer, {})[part] = tuple(shape)
    return layers


def named(name: str) -> str:
    """A tensor's name in a message: quoted, short, on one line."""
    return shortened(printable(repr(name)), 100)


def _is_within(name: str, targets: Sequence[str]) -> bool:
    return not targets or any(f"{name}.".startswith(f"{target}.") for target in targets)


def _check_form(name: str, shape: Sequence[int], dtype: str) -> None:
    if len(name) > MAX_NAME:
        raise ValueError(f"a tensor's name has {len(name)} characters, expected at most {MAX_NAME}")
    if len(shape) > MAX_AXES or max(shape, default=0) > MAX_SIDE:
        found = shortened(str(list(shape)), 60)
        raise ValueError(
            f"tensor {named(name)} has shape {found}, expected at most {MAX_AXES} axes of {MAX_SIDE}"
        )
    if dtype != FLOAT32:
        raise ValueError(f"tensor {named(name)} is of type {printable(dtype)}, expected {FLOAT32} (float32)")


def _check_layer(layer: str, parts: Mapping[str, tuple[int, ...]], lora_rank: int) -> None:
    """Check that the parts of one layer's change fit each other and the rank."""
    axes = {"scale": 1, "shift": 1, "lora_a": 2, "lora_b": 2}
    for part, shape in parts.items():
        if len(shape) != axes[part]:
            raise ValueError(f"tensor {named(layer + CHANGE + part)} has shape {list(shape)}")
    for part, axis in (("lora_b", 1), ("lora_a", 0)):
        if part in parts and parts[part][axis] != lora_rank:
            raise ValueError(
                f"config: lora_rank is {lora_rank}, but tensor {named(layer + CHANGE + part)} has shape "
                f"{list(parts[part])}"
            )
    for one, other in (("scale", "shift"), ("lora_a", "lora_b")):
        if (one in parts) != (other in parts):
            raise ValueError(f"the file holds only one of {one} and {other} of layer {named(layer)}")
    if parts.get("scale") != parts.get("shift"):
        raise ValueError(f"scale and shift of layer {named(layer)} are of different lengths")


def _check_classes(shapes: Shapes, n_classes: int) -> None:
    """Check that there is a row per class, and that the class head fits the tokens."""
    for name in OF_CLASSES:
        shape = list(shapes.get(name, (n_classes, 0)))
        if len(shape) != 2:
            raise ValueError(f"tensor {name!r} has shape {shape}, expected a row per class")
        if shape[0] != n_classes:
            raise ValueError(f"classes: there are {n_classes}, but tensor {name!r} has {shape[0]} rows")
    if "class_tokens" in shapes and "class_head" in shapes:
        width = shapes["class_tokens"][1]
        if shapes["class_head"][1] != width + 1:
            raise ValueError(
                f"tensor 'class_head' has {shapes['class_head'][1]} columns, expected {width + 1}"
            )
