"""What the window does, as lines for a shell that the command line understands."""

import shlex

import numpy as np
import pytest
from napari.components import ViewerModel

import headless
from napari_salt.cli import _parser
from napari_salt.session._autosave import Autosave
from napari_salt.session._command_line import command_lines
from napari_salt.session._layer_files import SERIES
from napari_salt.session._layers import FILE
from napari_salt.terms.arguments import arguments_of
from napari_salt.terms.config import SegmentConfig, TrainConfig
from napari_salt.terms.options import changed, values_of
from test_options import SEGMENTING, TRAINING

SHAPE = (4, 8, 8)
REST = {
    "train": ["i.tif", "l.tif", "--out", "a.safetensors"],
    "segment": ["i.tif", "--adapter", "a", "--out", "o.tif"],
}


@pytest.mark.parametrize(
    ("verb", "config", "values"),
    [("train", TrainConfig(), TRAINING), ("segment", SegmentConfig(), SEGMENTING)],
)
def test_all_options_come_back(verb, config, values):
    wanted = changed(config, values)
    options = vars(_parser().parse_args([verb, *REST[verb], *arguments_of(wanted)]))
    found = changed(config, {name: options[name] for name in values_of(config) if name in options})
    assert found == wanted
    assert not arguments_of(config)


@pytest.fixture
def session(tmp_path, monkeypatch):
    monkeypatch.setattr("napari_salt.session._command_line.command_line", shlex.join)  # also on Windows
    made = headless.session(ViewerModel(), autosave=Autosave(tmp_path / "autosave"))
    yield made
    made.close()


def parsed(line):
    program, *arguments = shlex.split(line)
    assert program == "napari-salt"
    return _parser().parse_args(arguments)


def test_layers_of_files_are_named_by_their_paths(session, tmp_path):
    image, paint = tmp_path / "a stack.tif", tmp_path / "paint.tif"
    data = np.zeros(SHAPE, np.uint8)
    data[1, 2:4] = 1
    session.set_image(
        session.viewer.add_image(np.zeros(SHAPE), name="a stack", metadata={FILE: str(image), SERIES: 2})
    )
    session.set_labels(session.viewer.add_labels(data, metadata={FILE: str(paint)}))
    session.name_class(1, "cell wall")
    session.options.change("train", minutes=2)
    session.options.change("segment", views=1)
    session.options.probabilities = True
    *remarks, train, segment = command_lines(session).splitlines()
    assert remarks == [f"# {paint}: if you have painted since it was opened, save the layer first"]
    options = parsed(train)
    assert (options.image, options.labels, options.minutes) == (image, paint, 2)
    assert options.class_names == {1: "cell wall"}
    assert options.series == "2"
    assert not hasattr(options, "slices")
    out = options.out
    options = parsed(segment)
    assert (options.image, options.adapter, options.views) == (image, out, 1)
    assert options.probabilities is not None


def test_what_is_not_in_a_file_has_a_clear_place(session):
    session.set_image(session.viewer.add_image(np.zeros(SHAPE), name="cells"))
    data = np.zeros(SHAPE, np.uint8)
    data[1, 2:4], data[2, 2:4] = 1, 1
    session.set_labels(session.viewer.add_labels(data, name="paint"))
    session.painting.mark(2, complete=False)
    session.painting.mark(3, complete=True)
    session.name_class(1, "a, b")
    *remarks, train, _ = command_lines(session).splitlines()
    options = parsed(train)
    assert (str(options.image), str(options.labels)) == ("IMAGE", "LABELS")
    assert options.slices == (1, 2, 3)
    assert not hasattr(options, "class_names")
    for word in (
        "IMAGE: no file of the layer cells",
        "LABELS: no file of the layer paint",
        "slices 2 are",
        "comma",
    ):
        assert any(word in remark for remark in remarks), (word, remarks)


def test_an_empty_session_has_lines_too(session):
    *remarks, train, _ = command_lines(session).splitlines()
    assert str(parsed(train).image) == "IMAGE"
    assert len(remarks) == 2
