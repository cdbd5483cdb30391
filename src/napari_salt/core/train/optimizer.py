"""AdamW whose steps are relative to the size of what they change."""

from __future__ import annotations

import math
from collections import defaultdict

import torch
from torch import nn

from napari_salt.core.adapt.segmenter import Segmenter

__all__ = ["relative_adamw", "scheduled_share", "set_rate"]

TOKEN_SIZE = 4.0
"""Size of the tokens: they start near SAM's own, but must change far more than adapted weights.

On MRI vertebra, four classes, mean Dice 0.56 after two minutes instead of 0.43 with their own size.
"""
HEAD_SIZE = 16.0
"""Size of the class head: it begins at 0, and weighs channels that vary by a twentieth.

With it, mean Dice after two minutes: MRI vertebra 0.74 instead of 0.56, MRI heart 0.72 instead of 0.49. A
size of 4 is too little (0.49 on vertebra), 64 no better (0.72, 0.69).
"""
SMALLEST = 2.0**-5
WEIGHT_DECAY = 0.01
WARM_UP_STEPS = 6
HOLD = 0.5
"""Share of the schedule after which the learning rate falls."""


def relative_adamw(model: Segmenter) -> torch.optim.AdamW:
    """AdamW over the trainable parameters of `model`, with one group per step size.

    Adam moves every entry by about the learning rate, whatever its size: steps that are small for a gain
    of 1 are far too large for a batch norm's gain of 0.05. So each parameter's rate is the schedule's
    times its size at the start, as in Shazeer and Stern, "Adafactor", 2018, section 8 (relative step size).
    Where the initial values do not show the size, the method gives it (`Adaptation.sizes`); class tokens have
    `TOKEN_SIZE`, the class head `HEAD_SIZE`.
    Groups hold the share under ``"share"``, rounded to powers of two so that they are few.
    """
    sizes = model.sizes()
    sizes[model.class_tokens] = sizes[model.output_tokens] = TOKEN_SIZE
    sizes[model.class_head] = HEAD_SIZE
    groups: dict[float, list[nn.Parameter]] = defaultdict(list)
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.numel():
            rms = float(parameter.detach().square().mean().sqrt())
            size = sizes.get(parameter, min(1.0, rms))
            groups[2.0 ** round(math.log2(max(size, SMALLEST)))].append(parameter)
    return torch.optim.AdamW(
        [{"params": members, "share": share} for share, members in sorted(groups.items())],
        weight_decay=WEIGHT_DECAY,
        fused=True,
    )


def set_rate(optimizer: torch.optim.AdamW, rate: float) -> None:
    """Set the learning rate of the next step of `relative_adamw`."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["share"]


def scheduled_share(step: int, gone: float) -> float:
    """Share of the highest learning rate: a warm-up, half of the schedule held, a linear fall to 0.01.

    Hägele et al., "Scaling laws and compute-optimal training beyond fixed training durations", 2024,
    section 3. On EM mitochondria, Dice 0.909 after two minutes instead of 0.899 with half a cosine.

    Parameters
    ----------
    step
        Steps taken so far.
    gone
        Share of the schedule that is over, 0 to 1.
    """
    return max(0.01, min((step + 1) / WARM_UP_STEPS, (1 - gone) / (1 - HOLD), 1.0))
