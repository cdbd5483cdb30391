"""The whole loop without a window: a viewer's model, a session, and the engine in its process."""

import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from napari.components import ViewerModel

import headless
import napari_salt as ns
import tiny
from napari_salt.core.adapt.adapter import Adapter
from napari_salt.core.bases.load import load_base
from napari_salt.engine._client import EngineProcess
from napari_salt.engine._requests import AdapterRead, Look
from napari_salt.session._autosave import Autosave
from napari_salt.session._layers import CLASSES
from napari_salt.terms.config import SegmentConfig


@pytest.fixture
def loop():
    return headless.Loop()


@pytest.fixture
def session(loop, base, folder, engine):
    made = headless.session(ViewerModel(), loop, Autosave(folder / "autosave"), engine)
    made.options.base, made.options.device = str(base), "cpu"
    yield made
    made.close()


def test_the_whole_loop(session, loop, tmp_path):
    image, truth = tiny.discs(6)
    problems, changes = [], set()
    session.problem.connect(lambda text, _control: problems.append(text))
    session.changed.connect(lambda info: changes.add(info.signal.name))
    session.set_image(session.viewer.add_image(image))
    session.make_labels()
    for index in (1, 4):
        places = np.nonzero(truth[index])
        session.labels.data_setitem((np.full_like(places[0], index), *places), 1)
    session.recount()
    assert session.paint.slices == (1, 4)
    session.options.change("train", steps=3)
    session.training.start()
    loop.run(lambda: not session.job)
    assert session.training.history.steps[-1] == 3
    assert session.save_adapter(tmp_path / "a.safetensors", name="discs")
    session.options.change("segment", views=1)
    session.segmenting.stack()
    loop.run(lambda: not session.job)
    (result,) = (layer for layer in session.viewer.layers if layer.metadata.get("napari-salt") == "result")
    expected = ns.segment(
        image, Adapter.load(tmp_path / "a.safetensors"), SegmentConfig(views=1, device="cpu")
    )
    np.testing.assert_array_equal(result.data, expected)
    assert not problems
    assert changes >= {"image", "labels", "touched", "paint", "training", "adapter", "job", "segmenting"}


def test_previews_do_not_carry_the_adapter(session, loop, monkeypatch):
    sent, shown = [], []
    for name in ("send", "_reply"):
        real = getattr(session.engine, name)
        monkeypatch.setattr(session.engine, name, lambda *a, real=real: (sent.append(a[-1]), real(*a)))
    image, truth = tiny.discs(6)
    session.set_image(session.viewer.add_image(image))
    session.set_labels(session.viewer.add_labels(tiny.painted(truth, 1, 4)))
    session.options.change("train", steps=2)
    session.training.start()
    loop.run(lambda: not session.job)
    session.changed.preview.connect(lambda: shown.append(session.current_slice))
    for index in (0, 2, 3):
        session.viewer.dims.set_current_step(0, index)
        session.previewing.refresh()
        loop.run(lambda index=index: index in shown)
    looks = [message for message in sent if isinstance(message, Look) and message.adapter]
    files = [message for message in sent if isinstance(message, AdapterRead)]
    assert len(looks) >= 3
    assert max(len(pickle.dumps(look)) for look in looks) < 1000 < len(session.adapter.content)
    assert 1 <= len(files) <= len({look.adapter for look in looks})


def test_names_in_a_layer_are_those_of_its_classes_until_the_user_says_otherwise(session):
    image, truth = tiny.discs(6)
    session.set_image(session.viewer.add_image(image))
    named = session.viewer.add_labels(tiny.painted(truth, 1), metadata={CLASSES: {1: "nucleus"}})
    plain = session.viewer.add_labels(tiny.painted(truth, 1))
    session.set_labels(named)
    session.count_paint()
    assert [info.name for info in session.classes] == ["nucleus"]
    session.name_class(1, "dividing nucleus")
    session.set_labels(plain)
    session.set_labels(named)
    session.count_paint()
    assert [info.name for info in session.classes] == ["dividing nucleus"]


def test_another_image_is_previewed_while_one_is_trained_on(session, loop):
    image, truth = tiny.discs(6)
    session.set_image(session.viewer.add_image(image))
    session.set_labels(session.viewer.add_labels(tiny.painted(truth, 1, 4)))
    session.options.change("train", steps=100_000)
    session.training.start()
    loop.run(lambda: session.training.history.steps)
    session.set_image(session.viewer.add_image(image[:, 12:52]))

    layers = session.viewer.layers
    session.previewing.refresh()
    loop.run(lambda: "SALT preview" in layers and layers["SALT preview"].data.shape == (40, 64))
    assert session.job == "train"
    session.stop()
    loop.run(lambda: not session.job)


def test_a_training_that_runs_is_compared_with_the_one_before(session, loop):
    image, truth = tiny.discs(6)
    session.set_image(session.viewer.add_image(image))
    session.set_labels(session.viewer.add_labels(tiny.painted(truth, 1, 4)))
    session.viewer.dims.set_current_step(0, 2)
    session.options.change("train", steps=2)
    session.training.start()
    loop.run(lambda: not session.job)
    before = session.adapter
    session.may_discard_adapter = lambda: True
    session.options.change("train", steps=100_000)
    session.swiping.start()
    used = f"preview with {before.layer_title}"
    assert [side.name for side in session.comparing.sides[:2]] == [used, "preview of the base alone"]
    session.training.start()
    name = f"preview of this training so far | {used}"
    loop.run(lambda: name in session.viewer.layers)
    seen = session.viewer.layers[name].data

    def side(place):
        session.swiping.move(place)
        return np.array(seen[2])

    loop.run(lambda: side(0).any() and side(1).any())
    old, new = side(0), side(1)
    loop.run(lambda: not np.array_equal(side(1), new))
    np.testing.assert_array_equal(side(0), old)
    session.stop()
    loop.run(lambda: not session.job)
    assert session.swiping.on
    assert name not in session.viewer.layers
    assert not [side for side in session.comparing.sides if "so far" in side.name]


def test_an_adapter_that_is_no_longer_offered_is_told_of(session, loop):
    image, _ = tiny.discs(6)
    failed = []
    session.engine.message.connect(failed.append)
    offered = session.engine.offer(image)
    session.engine.send(Look(image=offered, index=1, centre=(9, 9), adapter="gone", device="cpu"))
    loop.run(lambda: failed)
    assert "choose it again" in failed[0].message


def test_layers_may_be_renamed_and_cropped_while_training_and_segmenting(session, loop):
    image, truth = tiny.discs(40)
    problems = []
    session.problem.connect(lambda text, _control: problems.append(text))
    shown, paint = session.viewer.add_image(image), session.viewer.add_labels(tiny.painted(truth, 1, 4))
    session.set_image(shown)
    session.set_labels(paint)
    session.options.change("train", steps=20)
    session.training.start()
    loop.run(lambda: session.training.history.steps)
    shown.name, paint.name = "renamed", "renamed too"
    shown.data, paint.data = image[:, :40], paint.data[:, :40]
    loop.run(lambda: not session.job)
    assert session.training.history.steps[-1] == 20

    shown.data = image
    session.set_image(shown)
    session.options.change("segment", views=1)
    session.segmenting.stack()
    loop.run(lambda: session.segmenting.progress[0] >= 2 or problems)
    (result,) = (layer for layer in session.viewer.layers if layer.metadata.get("napari-salt") == "result")
    shown.name, result.name = "renamed again", "mine"
    shown.data = image[:, :20]
    loop.run(lambda: not session.job)
    assert not problems
    assert result.data.shape == image.shape
    assert session.segmenting.progress == (40, 40)


def test_an_engine_that_dies_is_told_of_and_started_anew(session, loop):
    image, truth = tiny.discs(6)
    problems = []
    session.problem.connect(lambda text, _control: problems.append(text))
    session.set_image(session.viewer.add_image(image))
    session.set_labels(session.viewer.add_labels(tiny.painted(truth, 1, 4)))
    session.options.change("train", steps=100_000)
    session.training.start()
    loop.run(lambda: session.training.history.steps)
    session.engine._process.kill()
    loop.run(lambda: not session.job)
    assert "stopped unexpectedly" in problems[-1]
    session.options.change("train", steps=2)
    session.training.start()
    loop.run(lambda: not session.job)
    assert session.training.history.steps[-1] == 2


def test_an_engine_that_is_killed_while_segmenting_leaves_the_finished_slices(session, loop, tmp_path):
    image, _ = tiny.discs(80)
    base = load_base(session.options.base)
    same = {"base_model": base.spec.name, "base_sha256": base.sha256, "weights_sha256": base.weights_sha256}
    salt = replace(tiny.SALT, targets=tiny.SPEC.targets)
    problems = []
    session.problem.connect(lambda text, _control: problems.append(text))
    session.set_image(session.viewer.add_image(image))
    session.load_adapter(replace(tiny.adapter(), salt=salt, **same).save(tmp_path / "a.safetensors"))
    session.options.change("segment", views=1)
    segmenting = session.segmenting
    segmenting.stack()
    loop.run(lambda: segmenting.progress[0] >= 2 or problems)
    assert not problems
    session.engine._process.kill()
    loop.run(lambda: not session.job)
    done = segmenting.progress[0]
    assert "stopped unexpectedly" in problems[-1]
    assert f"the {done} finished slices are kept, and Resume goes on" in problems[-1]
    assert len(segmenting.left) == 80 - done
    segmenting.resume()
    loop.run(lambda: not session.job)
    assert segmenting.progress == (80, 80)
    assert not segmenting.left


def test_an_image_is_kept_however_often_new_paint_is_trained_on():
    engine, image = EngineProcess(headless.Loop()), np.zeros((2, 4, 4), np.uint8)
    keys = set()
    for _ in range(20):
        keys.add(engine.offer(image).key)
        engine.offer(image.copy())
    assert len(keys) == 1


def test_a_session_loads_neither_qt_nor_torch():
    code = (
        "import sys, napari_salt.session._session\n"
        "print({'qtpy', 'PyQt6', 'PySide6', 'torch'} & {*sys.modules})"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
