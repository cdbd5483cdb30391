"""What training minimises: cross entropy plus soft Dice, both on known pixels only."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_salt.core.adapt.segmenter import with_background
from napari_salt.core.paint.annotations import IGNORE

__all__ = ["segmentation_loss"]


def segmentation_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Mean cross entropy plus mean soft Dice loss over the classes present.

    Source of the Dice term: Milletari et al., "V-Net", 2016, equation of section 3, with its
    denominator squared as there.

    Parameters
    ----------
    logits
        float, shape (B, K, H, W); background's logit is 0.
    target
        int64, shape (B, H, W), 0 is background, 1..K the classes, `IGNORE` unknown.

    Returns
    -------
    Tensor
        Scalar; 0 with a gradient of 0 where every pixel is ignored.
    """
    scores = with_background(logits)
    known = target != IGNORE
    count = known.sum().clamp_min(1)
    entropy = F.cross_entropy(scores, target, ignore_index=IGNORE, reduction="sum") / count
    known_plane = known[:, None]
    probability = torch.softmax(scores, dim=1)[:, 1:] * known_plane
    truth = F.one_hot(target.clamp_min(0), scores.shape[1]).movedim(-1, 1)[:, 1:] * known_plane
    overlap = (probability * truth).sum(dim=(0, 2, 3))
    total = (probability**2).sum(dim=(0, 2, 3)) + truth.sum(dim=(0, 2, 3))
    present = (truth.sum(dim=(0, 2, 3)) > 0).float()
    dice_loss = 1 - (2 * overlap + 1) / (total + 1)
    return entropy + (dice_loss * present).sum() / present.sum().clamp_min(1)
