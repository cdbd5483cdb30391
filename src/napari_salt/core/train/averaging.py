"""Exponential moving average of what training changes: what is scored, shown, saved and kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["MovingAverage"]


class MovingAverage:
    """Average of `parameters` over about the last ``1 / (1 - decay)`` updates.

    Early on the window grows with the number of updates, so that the start is soon forgotten.

    Parameters
    ----------
    parameters
        What is averaged; not copied, but read at every `update`.
    decay
        Share of the average that stays at an update, once there were many.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], decay: float) -> None:
        self._parameters = list(parameters)
        self._decay = decay
        self._values = [p.detach().clone() for p in self._parameters]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the parameters after optimiser step `step`, counted from 1."""
        decay = min(self._decay, step / (step + 9))
        torch._foreach_lerp_(self._values, [p.detach() for p in self._parameters], 1 - decay)

    @torch.no_grad()
    def restore(self) -> None:
        """Set the parameters to their average."""
        torch._foreach_copy_([p.detach() for p in self._parameters], self._values)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the model compute with the average while the body runs."""
        kept = [p.detach().clone() for p in self._parameters]
        self.restore()
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_([p.detach() for p in self._parameters], kept)

    def tensors(self) -> list[Tensor]:
        """Copies of the averages on the CPU, float32, in the order of the parameters."""
        return [value.detach().to("cpu", torch.float32, copy=True) for value in self._values]
