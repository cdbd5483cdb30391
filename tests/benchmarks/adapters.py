"""Published things that ours are compared with: LoRA by Hugging Face's peft, and forests on the embedding."""

from collections import OrderedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from napari_salt.core.adapt.adapter import OF_CLASSES
from napari_salt.core.adapt.layers import detach
from napari_salt.core.adapt.salt import attach
from napari_salt.core.adapt.segmenter import DEAD_PARTS, Segmenter
from napari_salt.core.bases.tinyvit import ConvNorm
from napari_salt.core.devices import precision
from napari_salt.core.paint.preprocess import SliceReader
from napari_salt.core.tiles import tiles_of
from napari_salt.core.train.forest import Features
from napari_salt.terms.config import SaltConfig
from napari_salt.terms.registry import KINDS

TILE_OVERLAP = 48


def peft_lora(segmenter: Segmenter, kind: str = "tiny-vit", rank: int = 8) -> None:
    """LoRA of Hugging Face's peft on SALT's layers, but for the two transposed convolutions.

    peft's ``lora_alpha`` is the rank, so the update is the plain product of the factors.
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


def unfold(model: nn.Module) -> None:
    """Let convolutions and batch norms run one after the other: peft's layers have no weight to fold."""
    for name, module in list(model.named_modules()):
        if isinstance(module, ConvNorm):
            model.set_submodule(name, nn.Sequential(OrderedDict(c=module.c, bn=module.bn)).eval())


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
