"""The course of a training, and the trainings of a session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_salt.session._adapter_file import LoadedAdapter

__all__ = ["History", "Run"]


@dataclass
class History:
    """The course of a training, for the plot and the text below it.

    Parameters
    ----------
    steps, losses
        Loss by step.
    scores
        Steps with the held-out Dice by label value, of the classes that could be scored.
    forest
        Held-out Dice by label value of a random forest on the same paint.
    verdict
        That the forest does better, or "".
    help
        What would help most.
    message
        Latest message of the training to the user.
    fraction
        Share of the budget used up, 0 to 1.
    seconds
        Since the start.
    """

    steps: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    scores: list[tuple[int, Mapping[int, float]]] = field(default_factory=list)
    forest: Mapping[int, float] = field(default_factory=dict)
    verdict: str = ""
    help: str = ""
    message: str = ""
    fraction: float = 0.0
    seconds: float = 0.0

    @property
    def seconds_left(self) -> float | None:
        """Expected seconds to the end; None during the first 2 % of the budget."""
        if self.fraction < 0.02:
            return None
        return self.seconds * (1 - self.fraction) / self.fraction

    @property
    def best_dice(self) -> float | None:
        """Best held-out Dice so far, as the mean over the classes; None if not measured."""
        return max((fmean(dice.values()) for _, dice in self.scores), default=None)

    def curve(self, value: int) -> tuple[list[int], list[float]]:
        """Steps and held-out Dice of one class."""
        points = [(step, dice[value]) for step, dice in self.scores if value in dice]
        return [step for step, _ in points], [dice for _, dice in points]


@dataclass(frozen=True)
class Run:
    """A training that has ended: its number from 1, its course, its adapter, and how many slices it had."""

    number: int
    history: History
    adapter: LoadedAdapter
    slices: int

    @property
    def text(self) -> str:
        """Number, held-out Dice and extent."""
        dice = self.history.best_dice
        score = "not scored" if dice is None else f"Dice {dice:.2f}"
        steps = self.history.steps[-1] if self.history.steps else 0
        return f"{self.number}: {score}, {steps} steps, {self.slices} slice{'s' * (self.slices != 1)}"
