"""The classes of an adapter: their names and colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from napari_salt.core.adapt.adapter import Adapter
from napari_salt.core.paint.objects import INSIDE
from napari_salt.terms.card import ClassInfo
from napari_salt.terms.config import TrainConfig

__all__ = ["class_table"]


COLORS = (
    "#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#46f0f0", "#f032e6", "#bcf60c",
)  # fmt: skip


def class_table(values: Sequence[int], config: TrainConfig, init: Adapter | None) -> tuple[ClassInfo, ...]:
    """Classes with names and colours: from `config`, else from the adapter continued, else defaults."""
    known = {info.value: info for info in init.classes} if init else {}
    default = [
        ClassInfo(value, f"class {value}", COLORS[position % len(COLORS)])
        for position, value in enumerate(values)
    ]
    if config.painted == "objects":  # the names in the config are of single objects
        name = config.class_names.get(INSIDE, "object")
        inside, border = (known.get(info.value, info) for info in default)
        return replace(inside, name=name), replace(border, name=f"{name} border")
    named = [known.get(info.value, info) for info in default]
    names, colors = config.class_names, config.class_colors
    return tuple(
        replace(c, name=names.get(c.value, c.name), color=colors.get(c.value, c.color)) for c in named
    )
