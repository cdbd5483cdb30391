"""What goes wrong in training: values that are not finite, no memory, bad input."""

import math
from dataclasses import replace

import pytest
import torch

import tiny
from napari_salt.core.train import run, steps
from napari_salt.core.train.training import train, training_events
from napari_salt.terms.config import TrainConfig
from napari_salt.terms.errors import BaseModelError, DeviceError, InputError, SaltError
from tiny import QUICK, WARM

IMAGE, TRUTH = tiny.discs()
PAINT = tiny.painted(TRUTH, 1, 4)

pytestmark = pytest.mark.usefixtures("tiny_base")


def breaking(monkeypatch, breaks):
    """Let the loss be what `breaks` makes of it; `breaks` knows the call's number and the batch."""
    honest, calls = steps.segmentation_loss, []

    def loss(logits, target):
        calls.append(len(target))
        return breaks(len(calls), logits, target, honest(logits, target))

    monkeypatch.setattr(steps, "segmentation_loss", loss)
    return calls


def test_a_step_with_a_loss_that_is_not_finite_is_taken_back(monkeypatch):
    breaking(monkeypatch, lambda n, logits, target, loss: loss * (math.nan if n in (9, 13) else 1))
    events = list(training_events(IMAGE, PAINT, QUICK))
    taken = [event.step for event in events[:-1] if event.phase != "warm"]
    assert taken == list(range(len(taken)))
    assert all(math.isfinite(event.loss) for event in events[1:])
    assert all(tensor.isfinite().all() for tensor in events[-1].adapter.tensors.values())


def test_taking_back_means_going_back_to_the_average(monkeypatch):
    honest, calls = run.loss_and_gradients, []

    def after_a_fatal_step(model, batch):
        calls.append(model)
        if len(calls) == 4:
            torch.nn.init.constant_(model.class_tokens, math.nan)
        return honest(model, batch)

    monkeypatch.setattr(run, "loss_and_gradients", after_a_fatal_step)
    *_, last = training_events(IMAGE, PAINT, QUICK)
    assert len(calls) == last.step + 1
    assert all(tensor.isfinite().all() for tensor in last.adapter.tensors.values())


@pytest.mark.parametrize("when", [3, 9], ids=["warm start", "whole step"])
def test_gradients_that_are_not_finite_are_not_followed(monkeypatch, when):
    def breaks(n, logits, target, loss):
        if n == when:
            logits.register_hook(lambda gradient: gradient * math.inf)
        return loss

    breaking(monkeypatch, breaks)
    adapter = train(IMAGE, PAINT, QUICK)
    assert all(tensor.isfinite().all() for tensor in adapter.tensors.values())


def test_a_loss_that_is_never_finite_ends_the_training(monkeypatch):
    breaking(monkeypatch, lambda n, logits, target, loss: loss * math.nan)
    with pytest.raises(SaltError, match="not finite"):
        train(IMAGE, PAINT, QUICK)


def out_of_memory_above(largest):
    def breaks(n, logits, target, loss):
        if len(target) > largest:
            raise torch.OutOfMemoryError
        return loss

    return breaks


def test_the_batch_is_halved_when_memory_runs_out(monkeypatch):
    calls = breaking(monkeypatch, out_of_memory_above(1))
    *_, last = training_events(IMAGE, PAINT, replace(QUICK, batch_size=4))
    assert calls == [*[1] * WARM, 4, 2, *[1] * last.step]
    assert last.step >= 8


def test_no_memory_for_one_crop_is_an_error_of_the_user(monkeypatch):
    breaking(monkeypatch, out_of_memory_above(0))
    with pytest.raises(DeviceError, match="out of memory"):
        train(IMAGE, PAINT, QUICK)


def test_other_failures_are_not_taken_for_lack_of_memory(monkeypatch):
    breaking(monkeypatch, lambda n, logits, target, loss: torch.zeros(2, 3) @ torch.zeros(2, 3))
    with pytest.raises(RuntimeError, match="shapes"):
        train(IMAGE, PAINT, QUICK)


@pytest.mark.parametrize(
    ("image", "labels", "settings", "error", "words"),
    [
        (IMAGE, PAINT[:5], {}, InputError, "shape"),
        (IMAGE[:, :50], PAINT, {}, InputError, "shape"),
        (IMAGE, 0 * PAINT, {}, InputError, "nothing is painted"),
        (0 * IMAGE, PAINT, {}, InputError, "only the value 0"),
        (IMAGE, PAINT, {"base": "nonsense"}, BaseModelError, "unknown base model"),
        (IMAGE, PAINT, {"device": "cuda:99"}, DeviceError, "not available"),
        (IMAGE, PAINT, {"device": "toaster"}, DeviceError, "unknown device"),
        (IMAGE, PAINT, {"slices": (6,)}, InputError, "out of range"),
    ],
)
def test_bad_input_is_refused_before_the_first_event(image, labels, settings, error, words):
    with pytest.raises(error, match=words):
        next(training_events(image, labels, replace(QUICK, **settings)))


@pytest.mark.parametrize(
    "settings",
    [
        {"minutes": 0.0},
        {"minutes": -1.0},
        {"minutes": math.nan},
        {"minutes": math.inf},
        {"steps": 0},
        {"steps": -3},
        {"pixel_scale": 0.0},
        {"batch_size": 0},
        {"learning_rate": 0.0},
        {"seed": -1},
        {"preset": "lazy"},
        {"unpainted": "whatever"},
        {"orientation": "upright"},
        {"background_label": 1},
        {"background_label": 0, "unpainted": "ignore"},
    ],
)
def test_bad_settings_are_refused(settings):
    with pytest.raises(InputError):
        TrainConfig(**settings)
