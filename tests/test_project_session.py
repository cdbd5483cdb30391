"""Project files in a session without a window: opened, saved, and read again by `run` with equal settings."""

from dataclasses import replace

import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel

import headless
import tiny
from loop import Loop
from napari_salt.cli._project_state import ProjectState
from napari_salt.cli._project_training import ProjectTraining
from napari_salt.session._autosave import Autosave
from napari_salt.session._colors import class_color
from napari_salt.session._layers import FILE
from napari_salt.session._project import AS_SAVED
from napari_salt.session._project_saving import SEGMENT, TRAIN, WRITE, WRITE_NEW, WRITE_OVER
from napari_salt.terms.config import SegmentConfig, TrainConfig
from napari_salt.terms.project import Project
from napari_salt.terms.project_parts import ProjectAdapter, ProjectImages, ProjectPair, ProjectResults
from stacks import names, save

NAMES, COLORS = {1: "disc", 4: "ring"}, {1: "#00ff00", 4: "#0000ff"}
TRAINING = TrainConfig(minutes=2, pixel_scale=0.5, seed=3, class_names=NAMES, class_colors=COLORS)
SEGMENTING = SegmentConfig(views=1, min_size=9)


@pytest.fixture
def session(tmp_path):
    loop = Loop()
    made = headless.session(ViewerModel(), loop, Autosave(tmp_path / "autosave"))
    made.loop = loop
    made.problems, made.answers, made.asked = [], [], []

    def ask(question, answers):
        made.asked.append(question)
        answer = made.answers.pop(0)
        assert answer is None or answer in answers
        return answer

    made.ask = ask
    made.problem.connect(lambda text, control: made.problems.append((control, text)))
    yield made
    made.close()


@pytest.fixture
def here(tmp_path):
    """Three images, two of them with labels."""
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for number in range(3):
        image, truth = tiny.discs(4, seed=number)
        save(tmp_path / "images", image, f"s{number}.tif", metadata={"axes": "ZYX"})
        if number < 2:
            save(tmp_path / "labels", tiny.painted(truth, 1 + number), f"s{number}.tif")
    return tmp_path


def project(here, **parts):
    given = {
        "output": "out",
        "train": (
            ProjectPair("images/s0.tif", "labels/s0.tif", complete="3", strokes="1", pixel_size="2,0.5,0.5"),
            ProjectPair("images/s1.tif", "labels/s1.tif"),
        ),
        "segment": (ProjectImages("images/*.tif"),),
        "training": TRAINING,
        "segmenting": SEGMENTING,
        "adapter": ProjectAdapter(author="somebody"),
        "results": ProjectResults(format=".nii.gz"),
    }
    return Project(**{**given, **parts}, folder=here).save(here / "project.toml")


def settings_of_run(path):
    """How `run` trains and segments, and the marks of each image."""

    def fault(name, error):
        raise AssertionError(f"{name}: {error}")

    read = Project.load(path)
    training = ProjectTraining.of(read, ProjectState(read.output_folder), fault)
    return training.config, read.segmenting, [stack.marks for stack in training.stacks]


def settings_of_window(session):
    """As `settings_of_run`, of what Train and Segment would do now."""
    session.count_paint()
    pairs = session.training._pairs(session.source, session.paint)
    config = replace(session.training._config(pairs), slices=None)
    return config, session.options.segment_config(None, None), [paint.marks for _, paint in pairs]


def test_opening_and_saving_keep_all_that_run_reads(session, here):
    path = project(here)
    assert session.projects.open(path), session.problems
    assert [layer.name for layer in session.viewer.layers] == ["s0", "s0 labels", "s1", "s1 labels"]
    assert [layer.visible for layer in session.viewer.layers] == [True, True, False, False]
    image, labels = session.viewer.layers[:2]
    assert (session.source.layer, session.labels) == (image, labels)
    assert [pair.labels.name for pair in session.pairs] == ["s0 labels", "s1 labels"]
    np.testing.assert_array_equal(labels.data, tifffile.imread(here / "labels/s0.tif"))
    np.testing.assert_allclose(image.scale, (2, 0.5, 0.5))
    assert session.source.pixel_size == pytest.approx(0.5)
    assert {info.value: info.name for info in session.classes} == NAMES
    assert {value: class_color(labels, value) for value in COLORS} == COLORS
    assert class_color(labels, 9) != "#000000"  # a class that comes later can be seen
    assert session.options.train.minutes == 2
    assert session.adapter is None
    assert session.projects.words == ["project.toml: learns from 2 images, segments 3 images into out"]
    assert settings_of_window(session) == settings_of_run(path)

    other = here / "other.toml"
    assert session.projects.save(other), session.problems
    assert not session.asked
    before, after = Project.load(path), Project.load(other)
    assert settings_of_run(other) == settings_of_window(session)
    assert after == before
    assert str(here) not in other.read_text()


def test_pairs_that_a_pattern_names_are_not_segmented_because_of_that(session, here):
    path = project(here, train=(ProjectPair("images/*.tif", "labels/*.tif"),), segment=())
    assert session.projects.open(path)
    assert [pair.labels.name for pair in session.pairs] == ["s0 labels", "s1 labels"]
    assert session.projects.save(path)
    read = Project.load(path)
    assert [pair.image for pair in read.train] == ["images/s0.tif", "images/s1.tif"]
    assert read.segment == ()


def test_images_that_run_cannot_tell_apart_are_noted(session, here):
    (here / "more").mkdir()
    (here / "more" / "s0.tif").write_bytes((here / "images" / "s0.tif").read_bytes())
    images = (ProjectImages("images/s0.tif"), ProjectImages("more/s0.tif"))
    assert session.projects.open(project(here, segment=images))
    assert "would both be written as s0" in session.projects.words[1]


def test_what_is_painted_and_set_in_the_window_is_in_the_file(session, here):
    image, paint = tiny.discs(4)[0], np.zeros((4, 64, 64), np.uint8)
    paint[1, :9, :9], paint[2, 9:20, :9], paint[2, 30:, 30:] = 1, 1, 2
    session.set_image(session.viewer.add_image(image, name="from a script", scale=(3, 2, 2), units="um"))
    session.set_labels(session.viewer.add_labels(paint, name="paint", scale=(3, 2, 2), units="um"))
    session.name_class(2, "cell, dark")
    session.options.change("train", unpainted="ignore", steps=5)
    session.options.change("segment", fill_holes=True)
    session.painting.mark(2, complete=True)
    session.answers = [WRITE]
    path = here / "new"
    assert session.projects.save(path), session.problems
    path = here / "new.toml"
    assert "'from a script', 'paint'" in session.asked[0]
    assert names(here) == ["from a script.tif", "images", "labels", "new.toml", "paint.tif"]
    np.testing.assert_array_equal(tifffile.imread(here / "from a script.tif"), image)
    np.testing.assert_array_equal(tifffile.imread(here / "paint.tif"), paint)
    assert session.projects.words == ["new.toml: learns from 1 image, segments 1 image into results"]
    read = Project.load(path)
    assert [entry.images for entry in read.segment] == ["from a script.tif"]
    assert read.output == "results"
    assert settings_of_run(path) == settings_of_window(session)
    config, segmenting, marks = settings_of_run(path)
    assert (config.background_label, config.class_names[2]) == (1, "cell, dark")
    assert segmenting.fill_holes
    assert marks == [{2: "background"}]

    again = headless.session(ViewerModel())
    assert again.projects.open(path)
    assert again.source.pixel_size == pytest.approx(2)
    assert settings_of_window(again) == settings_of_run(path)
    again.close()


def test_paint_that_was_changed_goes_into_its_file_or_a_new_one(session, here):
    path = project(here)
    assert session.projects.open(path)
    before = (here / "labels/s0.tif").read_bytes()
    session.labels.data[0, :5, :5] = 4
    session.answers = [None]
    assert not session.projects.save(path)
    assert session.problems[-1] == (
        "project",
        "a project needs files, and these layers are in none as they are: 's0 labels'",
    )
    assert (here / "labels/s0.tif").read_bytes() == before

    session.answers = [WRITE_NEW]
    assert session.projects.save(path)
    assert (here / "labels/s0.tif").read_bytes() == before
    assert [pair.labels for pair in Project.load(path).train] == ["s0 labels.tif", "labels/s1.tif"]
    np.testing.assert_array_equal(tifffile.imread(here / "s0 labels.tif"), session.labels.data)

    session.labels.data[0, 5:9, :5] = 4
    session.answers = [WRITE_OVER]
    assert session.projects.save(path)
    assert "s0 labels.tif" in session.asked[-1]
    np.testing.assert_array_equal(tifffile.imread(here / "s0 labels.tif"), session.labels.data)
    assert settings_of_run(path) == settings_of_window(session)
    assert session.projects.save(path)
    assert not session.answers


def test_a_file_that_cannot_be_used_is_named_and_the_rest_is_opened(session, here):
    path = project(here)
    (here / "images/s0.tif").write_bytes(b"nothing")
    assert session.projects.open(path)
    assert [pair.labels.name for pair in session.pairs] == ["s1 labels"]
    assert session.projects.words[1].startswith("images/s0.tif: ")
    (here / "labels/s1.tif").unlink()
    layers = list(session.viewer.layers)
    assert not session.projects.open(path)
    assert session.problems[-1][1].startswith("no image to learn from can be used; images/s0.tif: ")
    assert list(session.viewer.layers) == layers


@pytest.mark.parametrize("text", ["outputs = 'x'", "not toml"])
def test_a_wrong_file_is_told_and_changes_nothing(session, here, text):
    (here / "project.toml").write_text(text)
    assert not session.projects.open(here / "project.toml")
    control, told = session.problems[-1]
    assert control == "project"
    assert "project.toml" in told
    assert not session.viewer.layers
    assert not session.projects.words
    assert not session.projects.command


def test_the_adapter_is_taken_as_run_takes_it(session, here):
    (here / "out").mkdir()
    trained = tiny.adapter((1, 4)).save(here / "out" / "adapter.salt.safetensors")
    other = tiny.adapter((1,)).save(here / "init.safetensors")
    assert session.projects.open(project(here))
    assert session.adapter.path == trained
    assert not session.options.go_on  # run begins anew
    assert session.projects.open(project(here, adapter=ProjectAdapter(init="init.safetensors")))
    assert session.adapter.path == other
    assert session.options.go_on
    assert session.projects.save(here / "again.toml")
    assert Project.load(here / "again.toml").adapter.init == "init.safetensors"
    only = project(here, train=(), adapter=ProjectAdapter(file="init.safetensors"), training=TrainConfig())
    assert session.projects.open(only)
    assert session.source.layer.name == "s0 [2]"
    assert (session.labels, session.pairs) == (None, ())


def test_a_project_only_segments_if_the_user_says_so(session, here):
    file = tiny.adapter((1,)).save(here / "mine.safetensors")
    assert session.projects.open(project(here))
    assert session.load_adapter(file)
    session.answers = [None, SEGMENT, TRAIN]
    path = here / "next.toml"
    assert not session.projects.save(path)
    assert not path.exists()
    assert session.projects.save(path)
    read = Project.load(path)
    assert (read.train, read.adapter.file) == ((), "mine.safetensors")
    assert [entry.images for entry in read.segment] == ["images/*.tif"]
    assert session.projects.open(project(here))
    assert session.load_adapter(file)
    assert session.projects.save(path)
    assert len(Project.load(path).train) == 2


def test_what_a_project_cannot_hold_is_refused_by_name(session, here):
    image, _ = tiny.discs(4)
    layer = session.viewer.add_image(np.stack([image, image]), name="two channels")
    session.set_image(layer, channel_axis=0, channels=(0, 1))
    labels = session.viewer.add_labels(np.ones((4, 64, 64), np.uint8), name="paint")
    session.set_labels(labels)
    assert not session.projects.save(here / "p.toml")
    assert "2 channels of 'two channels' as colour" in session.problems[-1][1]
    session.set_image(layer, channel_axis=0, channels=(1,))
    assert not session.projects.save(here / "p.toml")
    assert "no file of image layer 'two channels' is known" in session.problems[-1][1]
    layer.metadata[FILE] = str(here / "images/s0.tif")
    assert not session.projects.save(here / "p.toml")
    assert names(here) == ["images", "labels"]
    assert not session.asked


def test_napari_offers_projects_only_to_the_widget(here):
    from napari_salt.gui._reader import get_project_reader

    other = here / "pyproject.toml"
    other.write_text("[project]")
    assert get_project_reader(str(other)) is None
    assert get_project_reader([str(other)]) is None
    assert get_project_reader(str(project(here))) is not None
    assert get_project_reader([str(project(here))]) is not None
    assert get_project_reader([str(project(here))] * 2) is None


def test_a_run_that_cannot_begin_says_why(session, here):
    session.projects.run()
    assert session.projects.open(project(here)), session.problems
    for labels in (here / "labels").iterdir():
        labels.unlink()
    session.answers.append(None)
    session.projects.run()
    assert "s0 labels" in session.asked[0]
    assert not session.job
    session.answers.append(AS_SAVED)
    session.projects.run()
    session.projects.run()
    assert session.segmenting.cannot == "napari-salt is carrying out the project; stop it first"
    session.loop.run(lambda: not session.job)
    assert [control for control, _ in session.problems] == ["project"] * 3
    first, second, third = (text for _, text in session.problems)
    assert first == "open or save a project first"
    assert second == "napari-salt is carrying out the project; stop it first"
    assert "no image to learn from can be used; " in third
    assert session.carrying_out.result == {}
    assert not (here / "out" / "table.csv").exists()


def test_a_run_that_is_stopped_at_once_can_be_repeated(session, here):
    path = project(here)
    assert session.projects.open(path), session.problems
    for _ in range(2):
        session.projects.run()
        session.stop()
        session.stop()
        session.loop.run(lambda: not session.job)
    assert session.carrying_out.said == ["stopped; the next run goes on"]
    assert not session.problems
    session.projects.run()
    session.close()  # ends the process
    assert not session.job
