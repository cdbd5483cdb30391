"""An adapted base SAM and one learned token per class: images in, one logit map per class out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_salt.core.adapt.methods import adaptation
from napari_salt.core.bases.load import BaseSpec
from napari_salt.terms.config import SaltConfig
from napari_salt.terms.methods import DEFAULT_METHOD

if TYPE_CHECKING:
    from napari_salt.core.adapt.forward import Forward

__all__ = ["DEAD_PARTS", "Segmenter", "class_probabilities"]

DEAD_PARTS = (
    "mask_decoder.iou_prediction_head",
    "mask_decoder.pred_obj_score_head",
    "mask_decoder.output_hypernetworks_mlps.1",
    "mask_decoder.output_hypernetworks_mlps.2",
    "mask_decoder.output_hypernetworks_mlps.3",
)
"""Parts of SAM's decoder that do not affect a single-mask output; nothing in them is adapted."""

TOKEN_STD = 0.02

Embeddings = Tensor | tuple[Tensor, ...]
"""Image embeddings (B, C, h, w), in SAM 2 with features (B, ., 4h, 4w) and (B, ., 2h, 2w) after them."""


class Segmenter(nn.Module):
    """Semantic segmentation by SAM's three parts, adapted.

    The image encoder runs once per image. Each class has its own sparse prompt (in place of the
    paper's text prompts) and its own pass through SAM's mask decoder; the mask of the first mask
    token, plus a linear map of the image embedding, is the class's logit map. Background has the fixed
    logit 0.

    The linear map (K x (C + 1), zero at the start) is needed because SAM's decoder, made to outline any
    object that is prompted, confuses classes of similar appearance even where the embedding separates
    them. It is a linear probe, as in Alain and Bengio, "Understanding intermediate layers using linear
    classifier probes", 2016.

    Parameters
    ----------
    module
        SAM-like module with ``image_encoder``, ``prompt_encoder``, ``mask_decoder``; taken over and
        changed in place.
    spec
        The base's input size, input transform and default targets.
    n_classes
        Number of foreground classes K.
    salt
        Ranks and targets; None leaves the base as it is (only the tensors of the classes train).
    method
        How the base is adapted: a name of `napari_salt.terms.methods.METHODS`.

    Attributes
    ----------
    compiled
        A faster way to compute the same, kept once it has been made (see `core.segment.runtime`).
    """

    # SAM's parts come from several packages and have no common type.
    image_encoder: Any
    prompt_encoder: Any
    mask_decoder: Any
    mean: Tensor
    std: Tensor
    dense_pe: Tensor

    def __init__(
        self,
        module: nn.Module,
        spec: BaseSpec,
        n_classes: int,
        salt: SaltConfig | None,
        method: str = DEFAULT_METHOD,
    ) -> None:
        super().__init__()
        self.input_size = spec.input_size
        self.n_classes = n_classes
        self.compiled: Forward | None = None
        self.image_encoder = module.image_encoder
        self.prompt_encoder = module.prompt_encoder
        self.mask_decoder = module.mask_decoder
        self.eval().requires_grad_(False)
        self._adaptation = adaptation(method)
        self.salt: SaltConfig | None = None
        if salt is not None:
            settled = self._adaptation.method.settled(salt)
            self.salt = replace(settled, targets=settled.targets or spec.targets)
            self._adaptation.attach(self, self.salt, DEAD_PARTS)
        device = self.device
        with torch.no_grad():
            dense_pe = self.prompt_encoder.get_dense_pe().float()
            dense_pe = dense_pe.contiguous(memory_format=torch.channels_last)
            point = self.prompt_encoder.point_embeddings[1].weight
            tokens = point.float() + TOKEN_STD * torch.randn(n_classes, point.shape[1], device=device)
            output_token = self.mask_decoder.mask_tokens.weight[:1].float()
        self.class_tokens = nn.Parameter(tokens)
        self.output_tokens = nn.Parameter(output_token.repeat(n_classes, 1))
        self.class_head = nn.Parameter(torch.zeros(n_classes, point.shape[1] + 1, device=device))
        self.register_buffer("dense_pe", dense_pe, persistent=False)
        for name, values in (("mean", spec.mean), ("std", spec.std)):
            column = torch.tensor(values, device=device).view(1, 3, 1, 1)
            self.register_buffer(name, column, persistent=False)

    def sizes(self) -> dict[nn.Parameter, float]:
        """Sizes of the method's parameters that their initial values do not show (see `Adaptation`)."""
        return dict(self._adaptation.sizes(self))

    @property
    def device(self) -> torch.device:
        """Device of the weights; images must be on it, too."""
        return next(self.parameters()).device

    def forward(self, images: Tensor) -> Tensor:
        """Class logits of `images`.

        Parameters
        ----------
        images
            Shape (B, 3, S, S), float, 0 to 1, S the base's input size.

        Returns
        -------
        Tensor
            float32 logits, shape (B, K, S, S).
        """
        return self.decode(self.encode(images))

    def encode(self, images: Tensor) -> Embeddings:
        """Embeddings of `images` (B, 3, S, S) from 0 to 1."""
        normal = (images - self.mean) / self.std
        embeddings: Embeddings = self.image_encoder(normal.contiguous(memory_format=torch.channels_last))
        return embeddings

    def decode(self, embeddings: Embeddings) -> Tensor:
        """float32 logits (B, K, S, S) of all classes from what `encode` gives.

        SAM's own decoder takes one image and many prompts; here every image meets every class, so
        both are repeated to B*K items, image-major.
        """
        image_embeddings, *finer = (embeddings,) if isinstance(embeddings, Tensor) else embeddings
        batch, channels, height, width = image_embeddings.shape
        items = batch * self.n_classes
        decoder = self.mask_decoder
        source = image_embeddings + self.prompt_encoder.no_mask_embed.weight.view(1, -1, 1, 1)
        source = source.repeat_interleave(self.n_classes, dim=0).contiguous(memory_format=torch.channels_last)
        hidden, source = decoder.transformer(
            source, self.dense_pe.expand(items, -1, -1, -1), self._tokens().repeat(batch, 1, 1)
        )
        source = source.reshape(items, height, width, channels).permute(0, 3, 1, 2)
        upscaled = self._upscaled(source, [f.repeat_interleave(self.n_classes, dim=0) for f in finer])
        weights = decoder.output_hypernetworks_mlps[0](hidden[:, 1])
        pixels = upscaled.permute(0, 2, 3, 1).flatten(1, 2)  # channels come last, for gradients, too
        low_res_masks = torch.bmm(pixels, weights[:, :, None]).float()
        low_res_masks = low_res_masks.view(batch, self.n_classes, *upscaled.shape[-2:])
        low_res_masks = low_res_masks + self._evidence(image_embeddings, low_res_masks.shape[-2:])
        if low_res_masks.shape[-1] == self.input_size:
            return low_res_masks
        size = (self.input_size, self.input_size)
        return F.interpolate(low_res_masks, size, mode="bilinear", align_corners=False)

    def _evidence(self, image_embeddings: Tensor, size: Sequence[int]) -> Tensor:
        """Class logits from the embedding alone (a linear probe), float32 (B, K, *size)."""
        weight, bias = self.class_head[:, :-1, None, None], self.class_head[:, -1]
        evidence = F.conv2d(image_embeddings.float(), weight, bias)
        return F.interpolate(evidence, tuple(size), mode="bilinear", align_corners=False)

    def _upscaled(self, source: Tensor, finer: list[Tensor]) -> Tensor:
        """Decoder's features at four times the size of `source`; SAM 2 adds its finer ones on the way."""
        upscaling = self.mask_decoder.output_upscaling
        if not finer:
            return torch.as_tensor(upscaling(source))
        fourfold, twofold = finer
        twice, norm, activation, again, last = upscaling
        source = activation(norm(twice(source) + twofold))
        return torch.as_tensor(last(again(source) + fourfold))

    def _tokens(self) -> Tensor:
        """Decoder tokens of each class: IoU, the class's own mask token, the spare ones, its prompt."""
        iou = self.mask_decoder.iou_token.weight
        spare = self.mask_decoder.mask_tokens.weight[1:]
        if hasattr(self.mask_decoder, "obj_score_token"):  # SAM 2; the order does not affect attention
            spare = torch.cat([spare, self.mask_decoder.obj_score_token.weight])
        one_each = [iou.expand(self.n_classes, 1, -1), self.output_tokens[:, None]]
        shared = spare.expand(self.n_classes, -1, -1)
        return torch.cat([*one_each, shared, self.class_tokens[:, None]], dim=1)

    def merged(self) -> Segmenter:
        """Replace the method's changes by plain weights, in place; returns the segmenter itself."""
        self._adaptation.merge(self)
        if self.device.type == "cuda":  # the images' layout; else every call converts the kernels
            for kernel in (p for p in self.parameters() if p.dim() == 4):
                kernel.data = kernel.data.contiguous(memory_format=torch.channels_last)
        return self.requires_grad_(False)


def class_probabilities(logits: Tensor) -> Tensor:
    """Probabilities of background and classes, ``softmax([0, z_1 ... z_K])``.

    Parameters
    ----------
    logits
        Shape (B, K, H, W).

    Returns
    -------
    Tensor
        float32, shape (B, K + 1, H, W), index 0 is background; they sum to 1.
    """
    return torch.softmax(with_background(logits), dim=1)


def with_background(logits: Tensor) -> Tensor:
    """Logits (B, K + 1, H, W), float32, with the fixed 0 of the background in front."""
    return torch.cat([torch.zeros_like(logits[:, :1]), logits], dim=1).float()
