"""One training: learn and measure, then learn from everything, then finish."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from napari_salt.core.adapt.adapter import Adapter, ClassInfo
from napari_salt.core.adapt.segmenter import Segmenter
from napari_salt.core.bases.load import BaseModel
from napari_salt.core.devices import is_out_of_memory
from napari_salt.core.paint.annotations import PaintedSlice
from napari_salt.core.paint.crops import CropSampler
from napari_salt.core.paint.objects import INSIDE
from napari_salt.core.paint.preprocess import SliceReader
from napari_salt.core.paint.split import Split
from napari_salt.core.segment.memory import halved
from napari_salt.core.segment.preview import preview
from napari_salt.core.train.averaging import MovingAverage
from napari_salt.core.train.budget import Clock, Pace
from napari_salt.core.train.optimizer import relative_adamw, scheduled_share, set_rate
from napari_salt.core.train.steps import LARGEST_GRADIENT, loss_and_gradients, warm_start
from napari_salt.core.train.validation import held_out_dice, mean_dice
from napari_salt.terms.config import TrainConfig
from napari_salt.terms.errors import SaltError
from napari_salt.terms.events import Phase, Preview, TrainingEvent
from napari_salt.terms.preprocess import Preprocess

logger = logging.getLogger(__name__)

Read = Callable[[Preprocess], SliceReader]
"""How a stack is read by the rule of a training."""

WARM_STEPS, WARM_SHARE = 60, 0.1
"""Steps of the warm start, and the share of the budget that it takes at most."""
FINAL_PHASE = 0.7
"""Share of the budget after which training sees all paint."""
MEASURE_EVERY = 0.09
"""Share of the budget between measurements of held-out Dice."""
EMA_DECAY = 0.97
PATIENCE, GOOD = 4, 0.9
"""Measurements without a better held-out Dice after which the final phase begins, where it is that good.

Below `GOOD`, few held-out pixels cannot show that nothing is left to learn, and all of the time is used.
"""
LEAST_GAIN = 0.002
COLLAPSE = 0.05
"""Loss of Dice in the final phase, on held-out and on all paint, beyond which the best adapter is kept."""
MAX_FAILED_STEPS = 10


@dataclass
class Run:
    """One training: the model, the paint, and the best adapter so far."""

    segmenter: Segmenter
    base: BaseModel
    config: TrainConfig
    paint: Sequence[PaintedSlice]
    split: Split
    learning: CropSampler
    everything: CropSampler
    readers: Sequence[SliceReader]
    classes: tuple[ClassInfo, ...]
    border: int
    divided: float
    smallest: float
    provenance: Mapping[str, Any]
    clock: Clock
    batch_size: int
    rate: float
    advice: str
    fresh: bool
    kept: float = 0.0
    began: float = 0.0
    warm_steps: int = 0
    step: int = 0
    failed: int = 0
    damping: float = 1.0
    best_dice: float = -1.0
    best: Adapter | None = None
    losses: list[float] = field(default_factory=list)
    dice_curve: list[tuple[int, dict[str, float]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.parameters = [p for p in self.segmenter.parameters() if p.requires_grad]
        self.optimizer = relative_adamw(self.segmenter)
        self.average = MovingAverage(self.parameters, EMA_DECAY, self.kept)

    def events(self) -> Iterator[TrainingEvent[Adapter]]:
        """Learn and measure, then learn from everything, then finish."""
        yield self._event("start", 0.0, math.nan, math.nan, message=self.advice)
        if self.fresh:
            yield from self._warm_start()
        pace = Pace(MEASURE_EVERY, timed=math.isinf(self.clock.steps), last=self.began)
        stale = 0
        while (fraction := self.clock.fraction(self.step, pace.reserve())) < 1 or self.step == 0:
            phase: Phase = "learn" if fraction < FINAL_PHASE else "final"
            rate = self._set_rate(fraction)
            with pace.step():
                loss = self._learn(self.learning if phase == "learn" else self.everything)
            if loss is None:
                continue
            if phase == "final" or not pace.due(fraction, self.clock):
                # Until something has been measured, the latest is the best there is.
                first = None if self.best else self._adapter({})
                yield self._event(phase, fraction, loss, rate, adapter=first)
                continue
            with pace.measurement():
                scores = self._measure()
            self.dice_curve.append((self.step, _rounded(scores)))
            better = self._keep_if_best(scores)
            stale = 0 if better or self.best_dice < GOOD else stale + 1
            if stale >= PATIENCE:
                self.clock.skip_to(FINAL_PHASE, self.step)
            kept = self.best if better else None
            yield self._event(phase, fraction, loss, rate, scores, kept)
        yield self._finish()

    def _warm_start(self) -> Iterator[TrainingEvent[Adapter]]:
        """See `warm_start`; whole steps begin afterwards."""
        rate, steps = self.rate, int(min(WARM_STEPS, self.clock.steps / 2))
        try:
            for loss in warm_start(self.segmenter, self.learning, rate, steps):
                if math.isnan(loss):
                    logger.warning("the loss is not finite; the warm start ends early")
                    break
                self.warm_steps += 1
                self.average.update(self.warm_steps)
                yield self._event("warm", self.clock.fraction(0), loss, rate, adapter=self._adapter({}))
                if self.clock.fraction(0) >= WARM_SHARE:
                    break
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            logger.warning("out of memory in the warm start; going on without it")
        self.average = MovingAverage(self.parameters, EMA_DECAY)
        self.began = self.clock.fraction(0)

    def _event(
        self,
        phase: Phase,
        fraction: float,
        loss: float,
        rate: float,
        scores: Mapping[int, float] | None = None,
        adapter: Adapter | None = None,
        message: str = "",
    ) -> TrainingEvent[Adapter]:
        seconds = self.clock.elapsed()
        return TrainingEvent(phase, self.step, fraction, seconds, loss, rate, scores, adapter, message)

    def _learn(self, sampler: CropSampler) -> float | None:
        """Take one step; its loss, or None where the step could not be taken."""
        try:
            loss = float(loss_and_gradients(self.segmenter, sampler.draw(self.batch_size)))
        except (RuntimeError, MemoryError) as error:
            self.batch_size = halved(self.batch_size, error, "crop", "per step")
            torch.cuda.empty_cache()
            return None
        norm = float(nn.utils.clip_grad_norm_(self.parameters, LARGEST_GRADIENT))
        if not math.isfinite(loss) or not math.isfinite(norm):
            self._take_back()
            return None
        self.optimizer.step()
        self.step += 1
        self.failed = 0
        self.losses.append(loss)
        self.average.update(self.step)
        return loss

    def _set_rate(self, fraction: float) -> float:
        """Warm up, hold and let fall, over what the warm start has left of the budget."""
        gone = (fraction - self.began) / max(1 - self.began, 1e-6)
        rate = self.rate * self.damping * scheduled_share(self.step, gone)
        set_rate(self.optimizer, rate)
        return rate

    def look(self, index: int, centre: tuple[float, float], read: Read | None = None) -> Preview:
        """Segment the square around a point with the present averages (see `Look` in training)."""
        reader = read(self.readers[0].preprocess) if read else self.readers[0]
        with self.average.in_place():
            values = [INSIDE if c.value == self.border else c.value for c in self.classes]
            return preview(self.segmenter, reader, values, index, centre)

    def _measure(self, paint: Sequence[PaintedSlice] | None = None) -> dict[int, float]:
        """Dice of the classes that can be scored, on held-out paint, or on what is given."""
        with self.average.in_place():
            return self._dice(paint or self.split.held_out)

    def _dice(self, paint: Sequence[PaintedSlice]) -> dict[int, float]:
        scores = held_out_dice(self.segmenter, self.readers, paint)
        pairs = zip(self.classes, scores, strict=True)
        return {info.value: dice for info, dice in pairs if dice is not None}

    def _keep_if_best(self, scores: Mapping[int, float]) -> bool:
        dice = mean_dice(scores.values())
        # Without any score (NaN) the latest is the best there is.
        if self.best is not None and dice <= self.best_dice + LEAST_GAIN:
            return False
        self.best_dice = dice
        self.best = self._adapter(scores)
        return True

    def _finish(self) -> TrainingEvent[Adapter]:
        """Keep the last adapter, unless the best scored higher by `COLLAPSE` on held-out and on all paint."""
        scores = self._measure()
        message = ""
        if self.best is None:
            adapter = self._adapter(scores)
        elif mean_dice(scores.values()) < self.best_dice - COLLAPSE and self._worse_on_all_paint(self.best):
            adapter = self.best
            message = "the final phase lost what was learnt before; the best adapter before it is kept"
        else:
            honest = self.best.training["held_out_dice"]
            adapter = self._adapter({int(value): score for value, score in honest.items()})
        loss = self.losses[-1] if self.losses else math.nan
        return self._event("done", 1.0, loss, 0.0, None, adapter, message)

    def _worse_on_all_paint(self, before: Adapter) -> bool:
        """Whether `before`, which it loads, is better on all paint, too: held-out blocks may be tiny."""
        now = mean_dice(self._measure(self.paint).values())
        before.write_to(self.segmenter)
        then = mean_dice(self._dice(self.paint).values())
        return now < then - COLLAPSE

    def _adapter(self, scores: Mapping[int, float]) -> Adapter:
        names = [name for name, p in self.segmenter.named_parameters() if p.requires_grad]
        every = max(1, len(self.losses) // 200)
        return Adapter(
            tensors=dict(zip(names, self.average.tensors(), strict=True)),
            base_model=self.base.spec.name,
            base_sha256=self.base.sha256,
            weights_sha256=self.base.weights_sha256,
            method=self.config.method,
            salt=self.segmenter.salt or self.config.salt,
            classes=self.classes,
            border=self.border,
            divided=self.divided,
            smallest=self.smallest,
            preprocess=self.readers[0].preprocess,
            training={
                **self.provenance,
                "steps": self.step,
                "warm_steps": self.warm_steps,
                "seconds": round(self.clock.elapsed(), 1),
                "losses": [round(loss, 4) for loss in self.losses[::every]],
                "held_out_dice": _rounded(scores),
                "dice_curve": list(self.dice_curve),
            },
        )

    def _take_back(self) -> None:
        self.failed += 1
        if self.failed > MAX_FAILED_STEPS:
            raise SaltError(
                "the loss is not finite time after time; use a lower learning rate or another seed"
            )
        self.damping *= 0.5
        self.average.restore()
        logger.warning("the loss is not finite; step taken back, learning rate halved")


def _rounded(scores: Mapping[int, float]) -> dict[str, float]:
    """Dice by label value as the adapter's file holds it."""
    return {str(value): round(dice, 4) for value, dice in scores.items()}
