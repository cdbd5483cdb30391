"""Other ways than SALT to adapt a base, put on the same `Segmenter` and trained by the same code.

All train the class tokens; all but decoder only also train the norms and biases that SALT trains.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from napari_salt.core.adapter import OF_CLASSES, Adapter
from napari_salt.core.bases import BaseModel
from napari_salt.core.compute import precision
from napari_salt.core.config import SaltConfig
from napari_salt.core.forest import Features
from napari_salt.core.inference import tiles_of
from napari_salt.core.optimizer import LOW_RANK_SHARE
from napari_salt.core.preprocess import SliceReader
from napari_salt.core.registry import KINDS
from napari_salt.core.salt import attach, detach
from napari_salt.core.segmenter import DEAD_PARTS, Segmenter
from napari_salt.core.tinyvit import ConvNorm
from napari_salt.core.training import Adapt

LORA_RANK = 3
"""The smallest with which LoRA trains at least as many parameters as SALT (218,000 and 184,000)."""
TILE_OVERLAP = 48
SALT = SaltConfig()


@dataclass(frozen=True)
class Method:
    """A way to adapt the base.

    Parameters
    ----------
    adapt
        What `training_events` takes; None for what SALT's own parametrization expresses.
    salt
        Ranks, where `adapt` is None.
    learning_rate
        Highest of the schedule, relative to the size of what is changed.
    """

    adapt: Adapt | None = None
    salt: SaltConfig = SALT
    learning_rate: float = 2e-3


def lora(segmenter: Segmenter, kind: str = "tiny-vit", rank: int = LORA_RANK) -> Mapping[nn.Parameter, float]:
    """LoRA of Hugging Face's peft on SALT's layers, but for the two transposed convolutions.

    The factors take SALT's step size for low-rank factors; peft's ``lora_alpha`` is the rank, so the
    update is the plain product of the factors.
    """
    from peft import LoraConfig, inject_adapter_in_model

    # SALT without ranks: says which its layers are, and frees their norms and biases.
    nothing = SaltConfig(rank=0, lora_rank=0, targets=KINDS[kind].targets)
    layers = attach(segmenter, nothing, exclude=DEAD_PARTS)
    detach(segmenter)
    targets = [n for n in layers if not isinstance(segmenter.get_submodule(n), nn.ConvTranspose2d)]
    trained = [p for p in segmenter.parameters() if p.requires_grad]
    unfold(segmenter)
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=rank, target_modules=targets), segmenter)
    factors = [p for name, p in segmenter.named_parameters() if ".lora_" in name]
    of_classes = map(segmenter.get_parameter, OF_CLASSES)
    for parameter in [*trained, *factors, *of_classes]:
        parameter.requires_grad_(True)
    return dict.fromkeys(factors, LOW_RANK_SHARE)


def unfold(model: nn.Module) -> None:
    """Let convolutions and batch norms run one after the other: peft's layers have no weight to fold."""
    for name, module in list(model.named_modules()):
        if isinstance(module, ConvNorm):
            model.set_submodule(name, nn.Sequential(OrderedDict(c=module.c, bn=module.bn)).eval())


def decoder_only(segmenter: Segmenter) -> Mapping[nn.Parameter, float]:
    """All weights of the mask decoder that touch its output; the encoder stays frozen."""
    for name, parameter in segmenter.named_parameters():
        if name.startswith("mask_decoder.") and not name.startswith(DEAD_PARTS):
            parameter.requires_grad_(True)
    return {}


METHODS: Mapping[str, Method] = {
    "salt": Method(),
    "lora": Method(lora),
    "ssam": Method(salt=SaltConfig(rank=1.0, lora_rank=0)),
    "decoder": Method(decoder_only),
}


def built(method: Method, adapter: Adapter, base: BaseModel) -> Segmenter:
    """A fresh `base` with the trained parameters in its plain weights."""
    salt = method.salt if method.adapt is None else None
    segmenter = Segmenter(base.module, base.spec, len(adapter.classes), salt)
    if method.adapt is not None:
        method.adapt(segmenter)
    adapter.write_to(segmenter)
    return merged(segmenter)


def merged(segmenter: Segmenter) -> Segmenter:
    """Put plain weights in place of every adaptation."""
    for name, module in list(segmenter.named_modules()):
        if hasattr(module, "get_base_layer"):
            module.merge()
            segmenter.set_submodule(name, module.get_base_layer())
    return segmenter.merged()


def encoder_features(segmenter: Segmenter) -> Features:
    """Embedding of each pixel by the encoder as it is, of overlapping tiles blended, float16."""
    side = segmenter.input_size

    def features_of(reader: SliceReader, index: int) -> NDArray[np.float16]:
        image = reader.read(index)
        height, width = reader.stack.shape[1:3]
        total, weight = torch.zeros(0), torch.zeros(height, width)
        for tile in tiles_of(image.shape[-2:], side, TILE_OVERLAP):
            cut = image[:, tile.top : tile.top + side, tile.left : tile.left + side]
            cut = functional.pad(cut, (0, side - cut.shape[-1], 0, side - cut.shape[-2]))
            rows, y = _within(height, image.shape[-2], tile.top, side)
            columns, x = _within(width, image.shape[-1], tile.left, side)
            grid = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1)
            embedding = _embedding(segmenter, cut)
            found = functional.grid_sample(embedding, grid[None], padding_mode="border", align_corners=False)
            taper = 1 - grid.abs().amax(-1)
            if not len(total):
                total = torch.zeros(embedding.shape[1], height, width)
            total[:, rows, columns] += found[0] * taper
            weight[rows, columns] += taper
        return (total / weight).permute(1, 2, 0).half().numpy()

    return features_of


def _embedding(segmenter: Segmenter, image: torch.Tensor) -> torch.Tensor:
    """Float32 embedding (1, C, h, w) of an image (3, S, S)."""
    with torch.no_grad(), precision(torch.device("cpu")):
        embeddings = segmenter.encode(image[None])
    coarsest = embeddings if isinstance(embeddings, torch.Tensor) else embeddings[0]
    return coarsest.float()


def _within(length: int, scaled: int, start: int, side: int) -> tuple[slice, torch.Tensor]:
    """Image pixels whose centres lie in a tile along one axis, and where there, from -1 to 1."""
    places = ((torch.arange(length) + 0.5) * scaled / length - start) * 2 / side - 1
    inside = torch.nonzero(places.abs() < 1)[:, 0]
    part = slice(int(inside[0]), int(inside[-1]) + 1)
    return part, places[part]
