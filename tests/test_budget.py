"""How a training's budget is spread over the warm start, steps and measurements."""

import itertools
import math
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

import tiny
from napari_salt.core.train import budget, optimizer, run
from napari_salt.core.train.budget import Clock, Pace
from napari_salt.core.train.training import training_events
from tiny import QUICK


@pytest.fixture(scope="module")
def after_long_warm_start():
    """Events of steps after a warm start that took half of the time; a second goes by whenever it is read."""
    image, truth = tiny.discs()
    seconds = itertools.count(time.monotonic())
    with pytest.MonkeyPatch.context() as monkeypatch:
        tiny.use(monkeypatch)
        monkeypatch.setattr(budget, "time", SimpleNamespace(monotonic=lambda: next(seconds)))
        monkeypatch.setattr(run, "WARM_STEPS", 1000)
        monkeypatch.setattr(run, "WARM_SHARE", 0.5)
        config = replace(QUICK, steps=None, minutes=5.0)
        events = list(training_events(image, tiny.painted(truth, 1, 4), config))
    return [event for event in events if event.phase in ("learn", "final")]


def test_the_learning_rate_falls_over_what_the_warm_start_left(after_long_warm_start):
    rates = [event.learning_rate for event in after_long_warm_start]
    assert max(rates) > 0.95 * QUICK.learning_rate
    assert rates[-1] < 0.1 * QUICK.learning_rate


def test_the_learning_rate_is_held_before_it_falls(after_long_warm_start):
    begin = after_long_warm_start[0].fraction
    rates = {(event.fraction - begin) / (1 - begin): event.learning_rate for event in after_long_warm_start}
    held = [rate for gone, rate in list(rates.items())[optimizer.WARM_UP_STEPS :] if gone < optimizer.HOLD]
    falling = [rate for gone, rate in rates.items() if gone > optimizer.HOLD + 0.02]
    assert len(held) > 5
    assert set(held) == {QUICK.learning_rate}
    assert len(falling) > 5
    assert falling == sorted(falling, reverse=True)
    assert falling[0] < QUICK.learning_rate


def test_the_learning_rate_warms_up_over_a_few_steps(after_long_warm_start):
    rates = [event.learning_rate for event in after_long_warm_start[: optimizer.WARM_UP_STEPS]]
    assert rates == pytest.approx([QUICK.learning_rate * n / 6 for n in range(1, 7)])


def test_nothing_is_measured_right_after_the_warm_start(after_long_warm_start):
    measured = next(event for event in after_long_warm_start if event.held_out_dice)
    begin = after_long_warm_start[0].fraction
    assert begin >= 0.5
    assert measured.fraction - begin > 0.9 * run.MEASURE_EVERY


def test_a_step_is_taken_where_the_warm_start_took_all_the_time(tiny_base):
    image, truth = tiny.discs()
    config = replace(QUICK, steps=None, minutes=1e-6)
    *_, last = training_events(image, tiny.painted(truth, 1, 4), config)
    assert last.adapter.training["warm_steps"] == last.step == 1


@pytest.mark.parametrize(
    ("timed", "seconds", "places"),
    [(True, 0.0, [0.1, 0.2, 0.3, 0.4]), (True, 1.0, [0.2, 0.4]), (False, 1.0, [0.1, 0.2, 0.3, 0.4])],
)
def test_measurements_take_at_most_a_twentieth_of_the_time(timed, seconds, places):
    clock = Clock(seconds=100.0, steps=math.inf)
    pace = Pace(0.09, timed=timed, measurement_seconds=seconds)
    assert [share for share in (0.05, 0.1, 0.15, 0.2, 0.3, 0.35, 0.4) if pace.due(share, clock)] == places
