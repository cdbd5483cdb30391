"""A training's budget of time and steps, and how much of it measuring may cost."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from napari_salt.terms.config import PRESET_MINUTES, TrainConfig

__all__ = ["Clock", "Pace"]

MOST_MEASURING = 0.05
"""Share of the time that measurements take at most."""


@dataclass
class Clock:
    """How much of the budget is used up.

    Parameters
    ----------
    seconds, steps
        The budget; infinite where it has no limit of this kind.
    began
        Monotonic time of the start, in seconds.
    skipped
        Share of the budget that was skipped (see `skip_to`).
    """

    seconds: float
    steps: float
    began: float = field(default_factory=time.monotonic)
    skipped: float = 0.0

    @classmethod
    def of(cls, config: TrainConfig) -> Clock:
        """Start the budget that `config` asks for."""
        minutes = config.minutes
        if minutes is None and config.steps is None:
            minutes = PRESET_MINUTES[config.preset]
        return cls(60 * minutes if minutes else math.inf, config.steps or math.inf)

    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.began

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Exclude the body's time from the budget."""
        began = time.monotonic()
        yield
        self.began += time.monotonic() - began

    def fraction(self, step: int, reserve: float = 0.0) -> float:
        """Share of the budget gone after `step` steps, with `reserve` seconds yet to be spent."""
        gone = max((self.elapsed() + reserve) / self.seconds, step / self.steps)
        return min(1.0, gone + self.skipped)

    def skip_to(self, fraction: float, step: int) -> None:
        """Continue as if `fraction` of the budget were used up."""
        self.skipped += max(0.0, fraction - self.fraction(step))


@dataclass
class Pace:
    """How long steps and measurements take, and when the next measurement is due.

    Measurements are spread evenly over the budget, but farther apart where they would take more than
    a twentieth of the time. Under a budget of steps alone their places depend on steps alone, so that the
    same seed gives the same adapter.

    Parameters
    ----------
    interval
        Share of the budget between measurements.
    timed
        Whether the budget is of time alone.
    last
        Share of the budget gone at the last measurement, or where measuring begins.
    step_seconds, measurement_seconds
        Time that the latest step and the latest measurement took.
    """

    interval: float
    timed: bool
    last: float = 0.0
    step_seconds: float = 0.0
    measurement_seconds: float = 0.0

    def due(self, fraction: float, clock: Clock) -> bool:
        """Whether to measure now; says yes once per interval."""
        least = self.measurement_seconds / (MOST_MEASURING * clock.seconds) if self.timed else 0.0
        if fraction - self.last < max(self.interval, least):
            return False
        self.last = fraction
        return True

    def reserve(self) -> float:
        """Seconds that the next step and the last measurement will take."""
        return self.step_seconds + self.measurement_seconds

    @contextmanager
    def step(self) -> Iterator[None]:
        """Time a step."""
        began = time.monotonic()
        yield
        self.step_seconds = time.monotonic() - began

    @contextmanager
    def measurement(self) -> Iterator[None]:
        """Time a measurement."""
        began = time.monotonic()
        yield
        self.measurement_seconds = time.monotonic() - began
