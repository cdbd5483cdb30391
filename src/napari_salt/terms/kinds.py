"""Kinds of base models: how to recognise a checkpoint, build the model, feed and prompt it.

Nothing here imports torch; weights are recognised by their names and shapes, and builders are imported when
they are called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from napari_salt.terms.errors import InputError

__all__ = ["KINDS", "UNSCALED", "Kind", "kind_of", "register_kind"]

Triple = tuple[float, float, float]

UNSCALED: tuple[Triple, Triple] = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
IMAGENET: tuple[Triple, Triple] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation of SAM's input transform; 255 times these in its own code."""


class Weight(Protocol):
    """A weight as `Kind.recognise` needs it: its shape."""

    @property
    def shape(self) -> Any:
        """Lengths of the axes."""
        ...


Weights = Mapping[str, Weight]
Build = Callable[[Any, int], Any]


@dataclass(frozen=True)
class Kind:
    """An architecture that checkpoints come in.

    Parameters
    ----------
    name
        Its name in the registry, in adapters and in messages.
    title
        What people call models of this kind.
    recognise
        Whether weights (tensors by SAM's names) are of this kind.
    native_size
        Side in pixels of the square input that the weights were trained for.
    build
        Takes weights and an input size, gives a SAM-like torch module with ``image_encoder``,
        ``prompt_encoder`` and ``mask_decoder``.
    size_step
        Input sizes are multiples of this many pixels.
    mean, std
        Input transform of its models, per RGB channel, on intensities from 0 to 1.
    targets
        Modules that are adapted if nothing else is said.
    boxes_only
        Whether models were trained with boxes alone, so that clicks must go in as boxes around them.
    renamed
        Prefixes of names in its checkpoints, and those of SAM that replace them; the first match counts.
    unused
        Prefixes of names of weights that do not affect the output.
    slow_above
        Input size beyond which it is slow on a CPU; None: it is not.
    """

    name: str
    title: str
    recognise: Callable[[Weights], bool]
    native_size: Callable[[Weights], int]
    build: Build
    size_step: int
    mean: Triple
    std: Triple
    targets: tuple[str, ...]
    boxes_only: bool = False
    renamed: tuple[tuple[str, str], ...] = ()
    unused: tuple[str, ...] = ()
    slow_above: int | None = None


def kind_of(state: Weights) -> str | None:
    """Architecture of the weights, a key of `KINDS`, or None where they belong to none of them."""
    return next((kind.name for kind in KINDS.values() if kind.recognise(state)), None)


def register_kind(kind: Kind) -> None:
    """Add a kind, for this process: its checkpoints are recognised after those of the others.

    Raises
    ------
    InputError
        If there is one of that name.
    """
    if kind.name in KINDS:
        raise InputError(f"there is a kind of base model {kind.name!r} already; choose another name")
    KINDS[kind.name] = kind


KINDS: dict[str, Kind] = {}
"""Kinds by name."""


def _builder(module: str, function: str) -> Build:
    """A function of `napari_salt.core.bases`, which is imported when it is called."""

    def build(state: Any, input_size: int) -> Any:
        return getattr(import_module(f"napari_salt.core.bases.{module}"), function)(state, input_size)

    return build


def _stem(state: Weights) -> int | None:
    """Side of the kernels of a TinyViT's first convolution; None for other models."""
    weight = state.get("image_encoder.patch_embed.seq.0.c.weight")
    return None if weight is None else weight.shape[-1]


def _vit_size(state: Weights) -> int:
    """Side of the native input in pixels: side of a patch times patches per side."""
    patch = state["image_encoder.patch_embed.proj.weight"].shape[-1]
    return int(patch * state["image_encoder.pos_embed"].shape[1])


# Not the first stage, at full resolution: in LiteMedSAM it takes a third of a step's time, and without
# it 100 steps reached the same Dice (0.872 against 0.876 on EM mitochondria).
_TINY_VIT_TARGETS = (*(f"image_encoder.layers.{stage}" for stage in (1, 2, 3)), "image_encoder.neck")

for _kind in (
    Kind(
        "tiny-vit",
        "LiteMedSAM",
        recognise=lambda state: _stem(state) == 1,
        native_size=lambda _: 256,
        build=_builder("tinyvit", "build_tiny_sam"),
        size_step=8,
        mean=UNSCALED[0],
        std=UNSCALED[1],
        targets=(*_TINY_VIT_TARGETS, "mask_decoder"),
        boxes_only=True,  # a click gave masks of Dice 0.02 to 0.25
    ),
    Kind(
        "mobile-sam",
        "MobileSAM",
        recognise=lambda state: (_stem(state) or 1) > 1,
        native_size=lambda _: 1024,
        build=_builder("tinyvit", "build_tiny_sam"),
        size_step=16,
        mean=IMAGENET[0],
        std=IMAGENET[1],
        targets=(*_TINY_VIT_TARGETS, "mask_decoder"),
        unused=("image_encoder.norm_head.", "image_encoder.head."),  # of its pretraining as a classifier
    ),
    Kind(
        "sam-vit",
        "SAM",
        recognise=lambda state: (
            {"image_encoder.pos_embed", "image_encoder.blocks.0.attn.rel_pos_h"} <= state.keys()
        ),
        native_size=_vit_size,
        build=_builder("vit", "build_vit"),
        size_step=16,
        mean=IMAGENET[0],
        std=IMAGENET[1],
        # Patch embedding and positions stay as they are; attention, MLPs and norms of all blocks adapt.
        targets=("image_encoder.blocks", "image_encoder.neck", "mask_decoder"),
        slow_above=512,
    ),
    Kind(
        "sam2",
        "SAM 2",
        recognise=lambda state: "image_encoder.trunk.pos_embed_window" in state,
        native_size=lambda _: 1024,
        build=_builder("hiera", "build_sam2"),
        size_step=32,
        mean=IMAGENET[0],
        std=IMAGENET[1],
        targets=("image_encoder.trunk.blocks", "image_encoder.neck", "mask_decoder"),
        renamed=(
            ("sam_mask_decoder.conv_s", "image_encoder.conv_s"),
            ("sam_mask_decoder.", "mask_decoder."),
            ("sam_prompt_encoder.", "prompt_encoder."),
            ("no_mem_embed", "image_encoder.no_mem_embed"),
        ),
    ),
):
    register_kind(_kind)
