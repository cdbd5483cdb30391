"""Methods of fine-tuning, the part without torch: names, file types, what can be set.

Their implementation is in `napari_salt.core.adapt.methods`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from napari_salt.terms.errors import InputError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["CHOICES", "DEFAULT_METHOD", "METHODS", "Method", "add_method", "method_of_file"]

T = TypeVar("T", bound="DataclassInstance")

DEFAULT_METHOD = "salt"


@dataclass(frozen=True)
class Method:
    """Description of a method.

    Parameters
    ----------
    name
        What the user chooses.
    peft_type
        Value of the key ``peft_type`` in an adapter's file.
    title
        Its name in the panel.
    fixed
        Settings of `SaltConfig` that the user cannot choose with this method, and their values.
    """

    name: str
    peft_type: str
    title: str
    fixed: Mapping[str, Any] = field(default_factory=dict)

    def settled(self, config: T) -> T:
        """`config` (a `SaltConfig`) with the fixed values of this method."""
        return replace(config, **self.fixed)

    def has(self, setting: str) -> bool:
        """Whether the user can choose `setting`."""
        return setting not in self.fixed


METHODS: dict[str, Method] = {}
"""Methods by name."""
CHOICES: dict[str, str] = {}
"""Their titles by name; what `TrainConfig.method` can be."""


def add_method(method: Method) -> None:
    """Make a method known; `napari_salt.core.adapt.methods.register_method` calls this for one from outside.

    Raises
    ------
    InputError
        If its name or file type is another method's.
    """
    name, peft_type = method.name, method.peft_type
    if name in METHODS or method_of_file(peft_type) is not None:
        raise InputError(f"there is a method {name!r}, or one of type {peft_type!r}, already; choose others")
    METHODS[name], CHOICES[name] = method, method.title


def method_of_file(peft_type: str | None) -> Method | None:
    """The method whose adapters have this type, if this version knows it."""
    return next((method for method in METHODS.values() if method.peft_type == peft_type), None)


NO_TOP: Mapping[str, Any] = {"rank": 0, "energy": 0.9}
"""No singular values are scaled."""
for _method in (
    Method("salt", "SALT", "SALT"),
    Method("lora", "LORA", "LoRA", NO_TOP),
    Method("s-sam", "S-SAM", "S-SAM", {"rank": 1.0, "energy": 0.9, "lora_rank": 0}),
    Method(
        "decoder",
        "DECODER",
        "decoder only",
        {**NO_TOP, "lora_rank": 0, "targets": ("mask_decoder",), "train_vectors": True},
    ),
):
    add_method(_method)
