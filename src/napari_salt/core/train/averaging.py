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
    kept
        Share of the first values in what is shown and given, so that what they know is not forgotten.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], decay: float, kept: float = 0.0) -> None:
        self._parameters = list(parameters)
        self._decay, self._kept = decay, kept
        self._values = [p.detach().clone() for p in self._parameters]
        self._first = [value.clone() for value in self._values] if kept else self._values

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
        """Let the model compute with what `tensors` gives while the body runs."""
        present = [p.detach() for p in self._parameters]
        learning = [p.clone() for p in present]
        with torch.no_grad():
            torch._foreach_copy_(present, self._shown())
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(present, learning)

    def tensors(self) -> list[Tensor]:
        """The averages with their share of the first values: copies on the CPU, float32, in order."""
        return [value.to("cpu", torch.float32, copy=True) for value in self._shown()]

    @torch.no_grad()
    def _shown(self) -> list[Tensor]:
        if not self._kept:
            return self._values
        return [value.lerp(first, self._kept) for value, first in zip(self._values, self._first, strict=True)]
