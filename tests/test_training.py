"""Training on a tiny SAM: what it learns, what it hands out, and how it bears what goes wrong."""

import math
import time
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

import tiny
from napari_salt.core.adapt.segmenter import Segmenter
from napari_salt.core.metrics import dice
from napari_salt.core.paint.annotations import read_annotations
from napari_salt.core.paint.crops import Augmentation, CropSampler
from napari_salt.core.paint.preprocess import SliceReader
from napari_salt.core.segment.whole import segment
from napari_salt.core.train import run, training
from napari_salt.core.train.averaging import MovingAverage
from napari_salt.core.train.steps import warm_start
from napari_salt.core.train.training import train, training_events
from napari_salt.terms.config import SaltConfig
from napari_salt.terms.errors import AdapterError, InputError
from napari_salt.terms.preprocess import Preprocess
from tiny import QUICK

IMAGE, TRUTH = tiny.discs()
PAINT = tiny.painted(TRUTH, 1, 4)

pytestmark = pytest.mark.usefixtures("tiny_base")


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
    sampler = CropSampler([reader], slices, tiny.SIZE, Augmentation(turns=False), 0)
    losses = list(warm_start(model, sampler, 1e-2, steps))
    changed = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    return losses, changed


def test_the_warm_start_changes_tokens_and_decoder_only():
    losses, changed = warm()
    assert len(losses) == 30
    assert np.mean(losses[-6:]) < np.mean(losses[:6])
    assert {"class_tokens", "output_tokens", "class_head"} < changed
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

    monkeypatch.setattr(run, "warm_start", slow)
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
    clock = time.monotonic
    hour = 3600.0
    decomposing = 0.0

    def slow(*arguments):
        nonlocal decomposing
        decomposing += hour
        return Segmenter(*arguments)

    monkeypatch.setattr(training, "Segmenter", slow)
    monkeypatch.setattr(time, "monotonic", lambda: clock() + decomposing)
    start = next(training_events(IMAGE, PAINT, replace(QUICK, steps=None, minutes=0.01)))
    assert decomposing == hour
    assert start.seconds < hour


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
    held_out = training.hold_out(read_annotations(PAINT).slices).held_out
    scored = [event for event in learnt if event.held_out_dice and event.adapter]
    assert len(scored) > 1
    for event in scored:
        reader = SliceReader(IMAGE, event.adapter.preprocess)
        (score,) = run.held_out_dice(event.adapter.build(), [reader], held_out)
        assert score == pytest.approx(event.held_out_dice[1], abs=1e-4)


@pytest.mark.parametrize(("dice", "steps"), [(0.95, range(20, 30)), (0.6, [30])])
def test_a_training_that_gets_no_better_ends_early_only_where_it_is_good(monkeypatch, dice, steps):
    monkeypatch.setattr(run, "held_out_dice", lambda *_: (dice,))
    *_, last = training_events(IMAGE, PAINT, replace(QUICK, steps=30))
    assert last.step in steps


@pytest.mark.parametrize(("on_all", "kept"), [(0.2, "best"), (0.9, "last")])
def test_the_last_adapter_is_given_up_only_if_all_paint_says_so(monkeypatch, on_all, kept):
    """A held-out block may hold so few pixels of a class that its Dice means little."""
    whole = {painted.target.tobytes() for painted in read_annotations(PAINT).slices}
    of_all, of_blocks = iter([on_all, 0.8]), iter([0.5])

    def dice(segmenter, reader, slices):
        if slices[0].target.tobytes() in whole:
            return (next(of_all),)
        return (next(of_blocks, 0.1),)

    monkeypatch.setattr(run, "held_out_dice", dice)
    events = list(training_events(IMAGE, PAINT, QUICK))
    best = next(event.adapter for event in events if event.held_out_dice)
    last = events[-1]
    assert same(last.adapter, best) == (kept == "best")
    assert ("is kept" in last.message) == (kept == "best")


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
    assert after.tensors["class_head"].shape == (2, tiny.CHANNELS + 1)
    assert after.classes[0] == before.classes[0]


def test_going_on_elsewhere_keeps_a_share_of_what_was_learnt(learnt, monkeypatch):
    def gone_on(shift):
        image, paint = np.roll(IMAGE, shift, axis=2), np.roll(PAINT, shift, axis=2)
        *_, last = training_events(image, paint, replace(QUICK, steps=2), init=before)
        return last.adapter.tensors

    before = learnt[-1].adapter
    own, elsewhere = gone_on(0), gone_on(7)
    monkeypatch.setattr(training, "KEPT", 0.0)
    same, free = gone_on(0), gone_on(7)
    assert all(torch.equal(own[name], tensor) for name, tensor in same.items())
    assert any(not torch.allclose(before.tensors[name], tensor) for name, tensor in free.items())
    for name, tensor in elsewhere.items():
        torch.testing.assert_close(tensor, free[name].lerp(before.tensors[name], 0.25))


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


def two_classes():
    """Class 2 is painted on a slice that is never held out."""
    paint = tiny.painted(TRUTH, 0, 1, 4, 5)
    paint[0, :6, :6] = 2
    return paint


def test_a_class_that_is_not_held_out_does_not_count(tiny_base):
    """Class 2 is neither in the held-out slice nor found in it at first; it scored 1."""
    start, *events = training_events(IMAGE, two_classes(), QUICK)
    assert "label 2 is not in the held-out paint" in start.message
    scored = [event.held_out_dice for event in events if event.held_out_dice]
    assert scored
    assert all(dice.get(2, 0) == 0 for dice in scored)
    assert all(1 in dice for dice in scored)
    assert 2 not in events[-1].adapter.held_out_dice or events[-1].adapter.held_out_dice[2] == 0


def test_without_any_class_in_the_held_out_paint_it_is_said_and_the_latest_is_kept(monkeypatch, tiny_base):
    monkeypatch.setattr(run, "held_out_dice", lambda segmenter, *_: (None,) * segmenter.n_classes)
    events = list(training_events(IMAGE, PAINT, QUICK))
    measured = [event for event in events if event.phase == "learn" and event.held_out_dice is not None]
    assert len(measured) > 1
    assert all(event.adapter and event.held_out_dice == {} for event in measured)
    assert events[-1].adapter.held_out_dice == {}
    assert not same(events[-1].adapter, measured[0].adapter)


def test_many_classes_are_asked_about(tiny_base):
    paint = np.zeros_like(TRUTH)
    for value in range(1, 11):
        paint[[1, 4], 5 * value : 5 * value + 3, 10:40] = value
    start = next(training_events(IMAGE, paint, QUICK))
    assert "10 classes are learnt: if the labels are numbers of objects" in start.message
    assert "numbers of objects" not in next(training_events(IMAGE, PAINT, QUICK)).message


def test_an_adapter_below_the_forest_is_logged(tiny_base, caplog):
    adapter = train(IMAGE, PAINT, replace(QUICK, steps=1))
    (text,) = [r.getMessage() for r in caplog.records if "random forest" in r.getMessage()]
    assert f"and {adapter.held_out_dice[1]:.2f})" in text


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


def test_a_share_of_the_first_values_is_kept_in_what_is_shown_and_given():
    parameter = torch.nn.Parameter(torch.zeros(3))
    average = MovingAverage([parameter], 0.0, kept=0.25)
    with torch.no_grad():
        parameter.fill_(4)
    average.update(1)
    assert torch.equal(average.tensors()[0], torch.full((3,), 3.0))
    with average.in_place():
        assert torch.equal(parameter.detach(), torch.full((3,), 3.0))
    assert torch.equal(parameter.detach(), torch.full((3,), 4.0))
    average.restore()  # what is learnt goes on from the average itself
    assert torch.equal(parameter.detach(), torch.full((3,), 4.0))


# What is read


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
