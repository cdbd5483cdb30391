"""Training on a tiny SAM: what it learns, what it hands out, and how it bears what goes wrong."""

import math
import time
from contextlib import nullcontext
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from torch._subclasses import FakeTensorMode

import tiny
from napari_salt.core import steps, training
from napari_salt.core.annotations import IGNORE, read_annotations
from napari_salt.core.averaging import MovingAverage
from napari_salt.core.config import Preprocess, SaltConfig, TrainConfig
from napari_salt.core.crops import Augmentation, Batch, CropSampler
from napari_salt.core.errors import AdapterError, BaseModelError, DeviceError, InputError, SaltError
from napari_salt.core.inference import SlicePredictor, segment
from napari_salt.core.metrics import dice
from napari_salt.core.preprocess import SliceReader
from napari_salt.core.segmenter import Segmenter, class_probabilities
from napari_salt.core.steps import loss_and_gradients, warm_start
from napari_salt.core.training import train, training_events

IMAGE, TRUTH = tiny.discs()
PAINT = tiny.painted(TRUTH, 1, 4)
QUICK = TrainConfig(
    base="tiny", steps=12, pixel_scale=1.0, device="cpu", learning_rate=1e-2, batch_size=2, salt=tiny.SALT
)
WARM = QUICK.steps // 2


@pytest.fixture(autouse=True)
def tiny_base(monkeypatch):
    tiny.use(monkeypatch)


@pytest.fixture(scope="module")
def learnt():
    """Events of a longer training."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        tiny.use(monkeypatch)
        return list(training_events(IMAGE, PAINT, replace(QUICK, steps=60, batch_size=4)))


def same(first, second) -> bool:
    return set(first.tensors) == set(second.tensors) and all(
        torch.equal(tensor, second.tensors[name]) for name, tensor in first.tensors.items()
    )


# What it learns


def test_it_learns_an_easy_task(learnt):
    losses = [event.loss for event in learnt if not math.isnan(event.loss)]
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:3])
    adapter = learnt[-1].adapter
    found = segment(IMAGE, adapter)
    unseen = [0, 2, 3, 5]
    assert dice(found[unseen] > 0, TRUTH[unseen] > 0) > 0.7


def test_its_events_tell_the_story(learnt):
    phases = [event.phase for event in learnt]
    assert (phases[0], phases[-1]) == ("start", "done")
    assert phases == sorted(phases, key=["start", "warm", "learn", "final", "done"].index)
    assert {"warm", "learn", "final"} < set(phases)
    whole = [event.step for event in learnt if event.phase in ("learn", "final")]
    assert whole == list(range(1, len(whole) + 1))
    assert not any(event.step for event in learnt if event.phase in ("start", "warm"))
    fractions = [event.fraction for event in learnt]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0, 1)
    assert all(set(event.held_out_dice) == {1} for event in learnt if event.held_out_dice)
    assert "held out" in learnt[0].message
    assert learnt[-1].adapter is not None


def test_some_is_scored_while_some_is_learnt(learnt):
    scored = [event for event in learnt if event.held_out_dice]
    assert scored
    assert all(event.phase == "learn" for event in scored)
    best = max(event.held_out_dice[1] for event in scored)
    assert best > scored[0].held_out_dice[1]
    assert learnt[-1].adapter.training["held_out_dice"]["1"] == pytest.approx(best, abs=0.01)


def test_the_adapter_tells_how_it_came_about(learnt):
    story = learnt[-1].adapter.training
    assert set(story) >= {"date", "steps", "seconds", "seed", "losses", "held_out_dice"}
    assert set(story) >= {"held_out", "leak_free", "data_sha256", "data_shape", "device"}
    assert set(story) >= {"napari_salt", "torch", "painted_slices"}
    assert (story["seed"], story["painted_slices"]) == (0, [1, 4])
    assert 0 < story["steps"] <= 60
    assert story["data_shape"] == list(IMAGE.shape)
    assert all(math.isfinite(loss) for loss in story["losses"])


def test_label_values_names_and_colours_are_kept():
    paint = np.where(PAINT, 200, 0)
    paint[1, :6, :6] = 7
    adapter = train(IMAGE, paint, replace(QUICK, steps=2, class_names={7: "corner"}))
    assert adapter.values == (7, 200)
    assert [info.name for info in adapter.classes] == ["corner", "class 200"]
    assert len({info.color for info in adapter.classes}) == 2


def test_strokes_are_learnt_from():
    paint = np.zeros_like(TRUTH)
    paint[1, 30:33] = 1 + TRUTH[1, 30:33]
    adapter = train(IMAGE, paint, replace(QUICK, unpainted="ignore", steps=3))
    assert adapter.values == (2,)


def test_colour_is_learnt_from():
    adapter = train(np.stack([IMAGE] * 3, -1), PAINT, replace(QUICK, steps=2))
    assert adapter.preprocess.channels == 3


# The warm start


def warm(steps=30):
    """Losses of a warm start, and the names of the parameters that it changed."""
    model = tiny.segmenter(1)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    slices, reader = read_annotations(PAINT).slices, SliceReader(IMAGE, Preprocess())
    sampler = CropSampler(reader, slices, tiny.SIZE, Augmentation(turns=False), 0)
    losses = list(warm_start(model, sampler, 1e-2, steps))
    changed = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    return losses, changed


def test_the_warm_start_changes_tokens_and_decoder_only():
    losses, changed = warm()
    assert len(losses) == 30
    assert np.mean(losses[-6:]) < np.mean(losses[:6])
    assert {"class_tokens", "output_tokens"} < changed
    assert any(name.startswith("mask_decoder") for name in changed)
    assert not [name for name in changed if name.startswith(("image_encoder", "prompt_encoder"))]


def test_half_of_few_steps_are_warm():
    adapter = train(IMAGE, PAINT, replace(QUICK, steps=6))
    assert adapter.training["warm_steps"] == 3
    assert adapter.training["steps"] == 6


def test_going_on_needs_no_warm_start():
    first = train(IMAGE, PAINT, QUICK)
    events = list(training_events(IMAGE, PAINT, QUICK, init=first))
    assert "warm" not in {event.phase for event in events}
    assert events[-1].adapter.training["warm_steps"] == 0


def test_a_short_budget_is_not_spent_on_the_warm_start(monkeypatch):
    def slow(*args, **kwargs):
        for loss in warm_start(*args, **kwargs):
            time.sleep(0.2)
            yield loss

    monkeypatch.setattr(training, "warm_start", slow)
    events = list(training_events(IMAGE, PAINT, replace(QUICK, steps=None, minutes=0.05)))
    assert 1 <= sum(event.phase == "warm" for event in events) <= 3
    assert events[-1].step > 0


# The same and not the same


def test_the_same_seed_gives_the_same_adapter():
    adapters = []
    for other in (5, 6):
        torch.manual_seed(other)
        np.random.seed(other)  # noqa: NPY002
        adapters.append(train(IMAGE, PAINT, QUICK))
    assert same(*adapters)
    assert adapters[0].training["losses"] == adapters[1].training["losses"]
    assert not same(adapters[0], train(IMAGE, PAINT, replace(QUICK, seed=1)))


def test_training_leaves_the_callers_random_numbers_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    train(IMAGE, PAINT, replace(QUICK, steps=2))
    assert torch.equal(torch.rand(3), expected)


def test_decomposing_the_base_is_no_training(monkeypatch):
    def slow(*arguments):
        time.sleep(0.5)
        return Segmenter(*arguments)

    monkeypatch.setattr(training, "Segmenter", slow)
    start = next(training_events(IMAGE, PAINT, replace(QUICK, steps=None, minutes=0.01)))
    assert start.seconds < 0.5


# Stopping and going on


@pytest.mark.parametrize("events", [2, 6, 11])
def test_a_stop_at_any_event_leaves_a_usable_adapter(events):
    generator = training_events(IMAGE, PAINT, QUICK)
    kept = None
    for event in islice(generator, events):
        kept = event.adapter or kept
    generator.close()
    found = segment(IMAGE, kept)
    assert found.shape == IMAGE.shape
    assert set(np.unique(found)) <= {0, 1}


def test_what_was_handed_out_does_not_change_later():
    generator = training_events(IMAGE, PAINT, QUICK)
    event = next(event for event in generator if event.adapter)
    before = {name: tensor.clone() for name, tensor in event.adapter.tensors.items()}
    list(generator)
    assert all(torch.equal(before[name], tensor) for name, tensor in event.adapter.tensors.items())


def test_what_is_handed_out_is_what_was_scored(learnt):
    """The moving average, not the parameters of the moment."""
    held_out = training.hold_out(training.read_annotations(PAINT).slices).held_out
    scored = [event for event in learnt if event.held_out_dice and event.adapter]
    assert len(scored) > 1
    for event in scored:
        reader = training.SliceReader(IMAGE, event.adapter.preprocess)
        (score,) = training.held_out_dice(event.adapter.build(), reader, held_out)
        assert score == pytest.approx(event.held_out_dice[1], abs=1e-4)


def first_loss(**options):
    return next(e.loss for e in training_events(IMAGE, PAINT, QUICK, **options) if e.step == 1)


def test_going_on_starts_where_it_stopped(learnt):
    assert first_loss(init=learnt[-1].adapter) < 0.7 * first_loss()


def test_going_on_keeps_rules_and_classes(learnt):
    before = learnt[-1].adapter
    paint = PAINT.copy()
    paint[3, :5, :5] = 9
    config = replace(QUICK, steps=2, pixel_scale=2.0, salt=SaltConfig(rank=1), base="lite-medsam")
    after = train(IMAGE, paint, config, init=before)
    assert after.values == (1, 9)
    assert (after.preprocess, after.salt, after.base_model) == (before.preprocess, before.salt, "tiny")
    assert after.tensors["class_tokens"].shape == (2, tiny.CHANNELS)
    assert after.classes[0] == before.classes[0]


def test_going_on_from_another_base_is_refused(learnt, monkeypatch):
    tiny.use(monkeypatch, seed=1)
    with pytest.raises(AdapterError, match="not on this 'tiny'"):
        train(IMAGE, PAINT, QUICK, init=learnt[-1].adapter)


def test_a_class_does_not_become_background_unnoticed(learnt):
    """The adapter knows class 1; strokes in which 1 means background cannot go on from it."""
    paint = np.zeros_like(TRUTH)
    paint[1, 30:33] = 1 + TRUTH[1, 30:33]
    config = replace(QUICK, unpainted="ignore")
    with pytest.raises(InputError, match="background label 1"):
        train(IMAGE, paint, config, init=learnt[-1].adapter)


# What goes wrong


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
    honest, calls = training.loss_and_gradients, []

    def after_a_fatal_step(model, batch):
        calls.append(model)
        if len(calls) == 4:
            torch.nn.init.constant_(model.class_tokens, math.nan)
        return honest(model, batch)

    monkeypatch.setattr(training, "loss_and_gradients", after_a_fatal_step)
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
        {"background_label": 1},
        {"background_label": 0, "unpainted": "ignore"},
    ],
)
def test_bad_settings_are_refused(settings):
    with pytest.raises(InputError):
        TrainConfig(**settings)


# What is said


def test_paint_that_looks_like_strokes_is_remarked_on():
    image, _ = tiny.discs(3, 200)
    lines = np.zeros(image.shape, np.uint8)
    lines[1, 20:24, 20:150], lines[1, 60:180, 100:104] = 1, 2
    start = next(training_events(image, lines, QUICK))
    assert "--unpainted ignore" in start.message
    whole = next(training_events(IMAGE, PAINT, QUICK))
    assert "--unpainted ignore" not in whole.message


def test_a_split_that_leaks_is_remarked_on():
    start = next(training_events(IMAGE, tiny.painted(TRUTH, 0, 1, 2, 3), QUICK))
    assert "next to a slice that training sees" in start.message


# The moving average


def test_the_average_forgets_the_start_and_gives_the_model_back():
    parameter = torch.nn.Parameter(torch.zeros(3))
    average = MovingAverage([parameter], 0.9)
    with torch.no_grad():
        parameter.fill_(1)
    for step in range(1, 60):
        average.update(step)
    assert average.tensors()[0].min() > 0.95
    with torch.no_grad():
        parameter.fill_(5)
    with pytest.raises(ZeroDivisionError), average.in_place():
        assert parameter.max() < 1.1
        raise ZeroDivisionError
    assert torch.equal(parameter.detach(), torch.full((3,), 5.0))


# Devices


@pytest.fixture
def fake_gpu(monkeypatch):
    """A GPU of which there are only shapes: what meets must be on one device, nothing is computed."""
    monkeypatch.setattr("napari_salt.core.compute.compute_dtype", lambda device: torch.float32)
    # Whether values coincide cannot be seen where there are none.
    monkeypatch.setattr("napari_salt.core.salt.first_coincident", lambda values: None)
    with FakeTensorMode():
        yield torch.device("cuda")


def on_gpu(n_classes=2):
    with torch.device("cuda"):
        sam = tiny.module()
    return Segmenter(sam, tiny.SPEC, n_classes, tiny.SALT)


def devices(tensors):
    return {tensor.device.type for tensor in tensors}


def a_step(model):
    """Two training steps, as `training_events` takes them."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    average = MovingAverage(parameters, 0.9)
    optimizer = torch.optim.AdamW(parameters)
    target = torch.full((2, tiny.SIZE, tiny.SIZE), IGNORE)
    for step in (1, 2):
        loss = loss_and_gradients(model, Batch(torch.rand(2, 3, tiny.SIZE, tiny.SIZE), target))
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        average.update(step)
    with average.in_place():
        pass
    return loss, [p.grad for p in parameters], average


def test_a_training_step_stays_on_its_device(fake_gpu, monkeypatch):
    model = on_gpu()
    assert devices([*model.parameters(), *model.buffers()]) == {"cuda"}

    def backward(loss):
        """Autograd's engine wants a real GPU even for gradients that are only shapes."""
        for p in model.parameters():
            p.grad = torch.zeros_like(p) if p.requires_grad else None

    monkeypatch.setattr(torch.Tensor, "backward", backward)
    loss, _, average = a_step(model)
    assert devices([loss]) == {"cuda"}
    assert devices([*model.parameters(), *model.buffers()]) == {"cuda"}
    assert devices(average.tensors()) == {"cpu"}


def test_so_do_its_gradients(monkeypatch):
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # there is none for meta
    loss, gradients, _ = a_step(tiny.segmenter(2).to("meta"))
    assert devices([loss, *gradients]) == {"meta"}


def test_segmenting_stays_on_its_device(fake_gpu, monkeypatch):
    monkeypatch.setattr(torch, "equal", lambda *_: False)  # fake tensors have no values to compare
    model = on_gpu().merged()
    assert devices([*model.parameters(), *model.buffers()]) == {"cuda"}
    logits = SlicePredictor(model, 16, batch_size=3).logits(torch.rand(3, 100, 150))
    assert tuple(logits.shape) == (2, 100, 150)
    assert devices([logits, class_probabilities(logits[None])]) == {"cpu"}


def test_an_adapter_is_put_on_the_device(fake_gpu):
    model = on_gpu()
    stored = {n: torch.empty(p.shape) for n, p in model.named_parameters() if p.requires_grad}
    known = {"base_model": "tiny", "base_sha256": "", "weights_sha256": "", "salt": tiny.SALT}
    card = {**known, "classes": (), "preprocess": Preprocess()}
    training.Adapter(tensors=stored, **card).write_to(model)
    assert devices(model.parameters()) == {"cuda"}


def test_of_a_long_stack_only_what_is_needed_is_read(monkeypatch):
    tiny.use(monkeypatch)
    image, truth = tiny.discs(6)
    taken = set()

    class Counting:
        shape, dtype = (1000, *image.shape[1:]), image.dtype

        def __getitem__(self, index):
            taken.add(int(index))
            return image[index % len(image)]

    paint = np.zeros(Counting.shape, np.uint8)
    paint[[100, 901]] = truth[[100 % 6, 901 % 6]]
    train(Counting(), paint, replace(QUICK, steps=3))
    for_the_window = set(np.linspace(0, 999, 16).round().astype(int).tolist())
    assert taken == for_the_window | {100, 901}
