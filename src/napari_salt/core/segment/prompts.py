"""One object from clicks or a box, by a base model without adapter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from napari_salt.core.bases.load import BaseModel
from napari_salt.core.devices import precision
from napari_salt.core.paint.preprocess import resize
from napari_salt.terms.prompt_set import PromptSet

__all__ = ["ImageEmbedding", "PromptPredictor"]

BOX_SIDES = (14 / 256, 26 / 256, 46 / 256, 84 / 256)
"""Sides of the boxes tried around a click with a model trained on boxes only; shares of its input."""


@dataclass(frozen=True)
class ImageEmbedding:
    """Embedding of one slice, and the slice's place in the model's input.

    Parameters
    ----------
    features
        float32, shape (1, C, h, w); of SAM 2 a tuple (see `segmenter.Embeddings`).
    size
        (height, width) of the slice.
    scaled
        (height, width) of the slice in the model's input, at its top left.
    """

    features: Tensor
    size: tuple[int, int]
    scaled: tuple[int, int]


class PromptPredictor:
    """Masks of single objects: a slice is embedded once, then each prompt takes some milliseconds.

    Parameters
    ----------
    base
        From `load_base`; its module is not changed.
    """

    # SAM's parts come from several packages and have no common type.
    _module: Any

    def __init__(self, base: BaseModel) -> None:
        self._spec = base.spec
        self._module = base.module
        self._device = next(base.module.parameters()).device
        with torch.no_grad():
            self._dense_pe = self._module.prompt_encoder.get_dense_pe().float()

    @torch.no_grad()
    def embed(self, plane: NDArray[np.float32]) -> ImageEmbedding:
        """Embed a slice (C, H, W), C 1 or 3, 0 to 1, as `SliceReader.raw` gives it."""
        side = self._spec.input_size
        height, width = plane.shape[1:]
        scale = side / max(height, width)
        scaled = (max(1, round(height * scale)), max(1, round(width * scale)))
        image = resize(torch.from_numpy(plane)[None].to(self._device), scaled).expand(1, 3, -1, -1)
        mean, std = (
            torch.tensor(values, device=self._device).view(1, 3, 1, 1)
            for values in (self._spec.mean, self._spec.std)
        )
        padded = F.pad((image - mean) / std, (0, side - scaled[1], 0, side - scaled[0]))
        features = self._module.image_encoder(padded.contiguous(memory_format=torch.channels_last))
        return ImageEmbedding(features, (height, width), scaled)

    def mask(self, embedding: ImageEmbedding, prompts: PromptSet) -> NDArray[np.bool_]:
        """Mask (H, W) of the object that `prompts` point at (see `logits`)."""
        return self.logits(embedding, prompts) > 0

    @torch.no_grad()
    def logits(self, embedding: ImageEmbedding, prompts: PromptSet) -> NDArray[np.float32]:
        """Logits of the object that `prompts` point at, float32, shape (H, W); above 0 inside.

        A single point is ambiguous: SAM proposes several masks, and the one with the highest predicted
        IoU is taken. With a base trained on boxes only, boxes around the clicks are tried instead.

        Raises
        ------
        InputError
            If there is neither a positive click nor a box, or a prompt lies outside the slice.
        """
        prompts.check(embedding.size)
        if prompts.box is None and self._spec.boxes_only:
            return self._from_boxes(embedding, prompts)
        ambiguous = len(prompts.points) == 1 and prompts.box is None
        points, box = self._points(embedding, prompts), self._box(embedding, prompts)
        masks, quality = self._decode(embedding, points, box, several=ambiguous)
        found: NDArray[np.float32] = masks[quality.argmax()].cpu().numpy()
        return found

    def _decode(
        self,
        embedding: ImageEmbedding,
        points: tuple[Tensor, Tensor] | None,
        boxes: Tensor | None,
        *,
        several: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Logits (N, H, W) and predicted IoU (N,) of all masks of one prompt or of several boxes."""
        sparse, dense = self._module.prompt_encoder(points=points, boxes=boxes, masks=None)
        low_res_masks, quality = self._module.mask_decoder(
            image_embeddings=embedding.features,
            image_pe=self._dense_pe,
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=several,
        )
        side = self._spec.input_size
        whole = F.interpolate(low_res_masks.float(), (side, side), mode="bilinear", align_corners=False)
        inside = whole[..., : embedding.scaled[0], : embedding.scaled[1]]
        return resize(inside, embedding.size).flatten(0, 1), quality.flatten().float()

    def _from_boxes(self, embedding: ImageEmbedding, prompts: PromptSet) -> NDArray[np.float32]:
        """Logits from the best of several boxes around the positive clicks.

        The best mask agrees with most clicks; among equals, it has the highest predicted IoU.
        """
        clicks = self._placed(embedding, prompts.points)[0]
        positive = torch.tensor(prompts.positive, device=self._device)
        on = clicks[positive]
        margin = torch.tensor(BOX_SIDES, device=self._device)[:, None] * self._spec.input_size / 2
        corner = torch.tensor(embedding.scaled[::-1], device=self._device) - 1
        first = (on.amin(0) - margin).clamp_min(0)
        last = torch.minimum(on.amax(0) + margin, corner)
        with precision(self._device):  # several boxes at once, while the user waits
            masks, quality = self._decode(embedding, None, torch.cat([first, last], dim=1))
        size = torch.tensor(embedding.size)
        rows, columns = torch.tensor(prompts.points).round().long().clamp(min=0).minimum(size - 1).T
        agreement = ((masks[:, rows, columns] > 0) == positive).sum(1)
        found: NDArray[np.float32] = masks[(agreement + quality.clamp(0, 1)).argmax()].cpu().numpy()
        return found

    def _points(self, embedding: ImageEmbedding, prompts: PromptSet) -> tuple[Tensor, Tensor] | None:
        if not prompts.points:
            return None
        labels = torch.tensor([prompts.positive], dtype=torch.int, device=self._device)
        return self._placed(embedding, prompts.points), labels

    def _box(self, embedding: ImageEmbedding, prompts: PromptSet) -> Tensor | None:
        if prompts.box is None:
            return None
        return self._placed(embedding, (prompts.box[:2], prompts.box[2:])).view(1, 4)

    def _placed(self, embedding: ImageEmbedding, points: tuple[tuple[float, ...], ...]) -> Tensor:
        """Points (y, x) of the slice as SAM's (x, y) in its input, shape (1, N, 2)."""
        scale = torch.tensor([s / n for s, n in zip(embedding.scaled, embedding.size, strict=True)])
        scaled = (torch.tensor(points) + 0.5) * scale - 0.5
        return scaled.flip(-1)[None].to(self._device)
