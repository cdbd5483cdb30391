"""The library of adapters in the session: sorted by fit, searched, with pictures, used, added and removed."""

import io
import sys
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from napari.components import ViewerModel
from PIL import Image

import headless
import tiny
from napari_salt.core.bases.load import load_base
from napari_salt.core.paint.likeness import mean_profile
from napari_salt.core.paint.preprocess import SliceReader
from napari_salt.session._autosave import Autosave
from napari_salt.session._thumbnail import SIDE, thumbnail
from napari_salt.terms.card import AdapterCard
from napari_salt.terms.events import Preview
from napari_salt.terms.library import Library
from napari_salt.terms.preprocess import Preprocess
from server import serving

IMAGE = tiny.discs(3)[0]


@pytest.fixture
def library(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_SALT_LIBRARY", str(tmp_path / "library"))
    return Library()


@pytest.fixture
def session(library, base, folder, engine):
    loop = headless.Loop()
    made = headless.session(ViewerModel(), loop, Autosave(folder / "autosave"), engine)
    made.options.base, made.options.device = str(base), "cpu"
    made.told, made.answers, made.run_until = [], [], loop.run
    made.problem.connect(lambda text, control: made.told.append((text, control)))
    made.ask = lambda _question, _answers: made.answers.pop(0)
    yield made
    made.close()


@cache
def adapter(base=None):
    """An adapter on the base of this checkpoint, or on none that there is."""
    made = tiny.adapter()
    if base is None:
        return made
    known = load_base(str(base))
    same = {"base_model": known.spec.name, "base_sha256": known.sha256}
    salt = replace(tiny.SALT, targets=tiny.SPEC.targets)
    return replace(made, salt=salt, weights_sha256=known.weights_sha256, **same)


def content(base=None, **changes):
    """An adapter's file; its base is known on this machine."""
    if base is not None:
        load_base(str(base))
    return replace(adapter(base), **changes).to_bytes()


def listed(session):
    return [shown.entry.name for shown in session.shelf.listed]


def test_those_that_fit_the_image_come_first(session, library):
    profile = mean_profile([SliceReader(IMAGE, Preprocess())])
    inverted = [[[1 - v for v in row[::-1]] for row in profile[0]]]
    for name, channels, known in (("a colour", 3, []), ("b inverted", 1, inverted), ("c same", 1, profile)):
        preprocess = Preprocess(channels=channels)
        library.add(content(training={"intensities": known}, preprocess=preprocess), name)
    session.shelf.look(on=True)
    assert listed(session) == ["a colour", "b inverted", "c same"], "no image yet: by name"
    assert not session.shelf.comparing
    session.set_image(session.viewer.add_image(IMAGE))
    assert session.shelf.comparing
    session.run_until(lambda: not session.shelf.comparing)
    assert listed(session) == ["c same", "b inverted", "a colour"]
    first, _, last = session.shelf.listed
    assert first.fit.startswith("misfit 0.")
    assert last.fit == "does not fit this image"
    assert "the adapter was trained on colour" in last.why
    session.shelf.search("Inverted TINY")
    assert listed(session) == ["b inverted"]


def test_an_adapter_is_used_added_with_its_picture_and_removed(session, library, base, tmp_path):
    path = tmp_path / "mine.salt.safetensors"
    path.write_bytes(before := content(base))
    session.set_image(session.viewer.add_image(IMAGE))
    assert not session.shelf.add_current()
    assert session.told.pop() == ("there is no adapter", "library")
    assert session.load_adapter(path)
    session.run_until(lambda: session.previewing.found_by(session.adapter) is not None)
    session.set_strength(0.5)
    assert not session.shelf.add_current()
    assert "the strength is 50 %" in session.told.pop()[0]
    session.set_strength(1.0)
    session.run_until(lambda: session.previewing.found_by(session.adapter) is not None)
    assert session.shelf.add_current(name="Discs", author="Ann")
    (entry,) = library.entries()
    assert (entry.name, entry.card.author) == ("Discs", "Ann")
    assert path.read_bytes() == before, "the file that it came from stays"
    assert session.adapter.path == path
    picture = Image.open(io.BytesIO(entry.picture.read_bytes()))
    assert max(picture.size) <= SIDE
    assert entry.picture.stat().st_size < 100_000
    assert session.shelf.use("Discs")
    assert [shown.in_use for shown in session.shelf.listed] == [True]
    session.answers = [None, "Remove"]
    assert not session.shelf.remove("Discs")
    assert session.shelf.remove("Discs")
    assert not list(library.folder.iterdir()), "nor its picture"
    assert session.adapter.path is None, "what has no file any more is not saved"
    assert not session.shelf.use("Discs")
    assert "there is no adapter 'Discs'" in session.told.pop()[0]


def test_the_first_preview_becomes_the_picture_of_one_without(session, library, base):
    library.add(content(base), "plain")
    session.shelf.look(on=True)
    session.set_image(session.viewer.add_image(IMAGE))
    assert library.entry("plain").picture is None
    assert session.shelf.use("plain")
    session.run_until(lambda: library.entry("plain").picture is not None)


def test_one_of_the_same_name_is_asked_about(session, library):
    library.add(content(), "a")
    session.answers = [None, "Keep both", "Replace"]
    assert session.shelf.keep("a", content(author="x")) is None
    assert session.shelf.keep("a", content(author="y")).name == "a 2"
    last = content(author="z")
    assert session.shelf.keep("a", last).name == "a"
    assert session.shelf.keep("a", last).name == "a", "the same is no other"
    assert [entry.card.author for entry in library.entries()] == ["z", "y"]


def test_adapters_are_downloaded_by_the_engine(session, library):
    with serving(content()) as server:
        session.fetching.start(f"http://127.0.0.1:{server.server_port}/deep/mito.salt.safetensors")
        session.run_until(lambda: not session.job)
        assert listed(session) == ["mito"]
        server.content = b"no adapter"
        session.fetching.start(f"http://127.0.0.1:{server.server_port}/bad.safetensors")
        session.run_until(lambda: not session.job)
    ((text, control),) = session.told
    assert text.startswith("no adapter's file")
    assert control == "library"
    session.fetching.start("no/such/file.safetensors")
    session.run_until(lambda: not session.job)
    assert "no/such/file.safetensors cannot be read" in session.told[-1][0]
    assert session.told[-1][1] == "fetch"


def test_an_engine_that_dies_is_not_asked_again_and_again(library, folder):
    loop, told = headless.Loop(), []
    ends = (sys.executable, "-c", "import sys; sys.stdin.buffer.read(1)")
    session = headless.session(ViewerModel(), loop, Autosave(folder / "autosave"), ends)
    session.problem.connect(lambda text, _control: told.append(text))
    for name in ("a", "b"):
        library.add(content(), name)
    session.shelf.look(on=True)
    session.set_image(session.viewer.add_image(IMAGE))
    assert session.shelf.comparing
    loop.run(lambda: told)
    assert "stopped unexpectedly" in told[0]
    assert not session.shelf.comparing
    assert listed(session) == ["a", "b"]
    assert session.engine._process is None, "no other one is started"
    session.close()


def test_a_picture_shows_the_slice_and_what_was_found():
    plane = np.linspace(0, 1000, 40 * 60).reshape(40, 60)
    plane[3, 3] = np.nan
    labels = np.zeros((30, 50), np.uint8)
    labels[:, 25:] = 3

    class Red:
        def map(self, values):
            return np.broadcast_to(np.array([1.0, 0, 0, 1]), (*values.shape, 4))

    picture = np.asarray(Image.open(io.BytesIO(thumbnail(plane, Preview(0, 5, 5, labels), Red()))))
    assert picture.shape == (30, 50, 3)
    assert (picture[:, :24, 0] == picture[:, :24, 1]).all(), "grey where nothing was found"
    assert (picture[:, 26:, 0] > picture[:, 26:, 1]).all()
    assert picture[0, 0, 0] < picture[-1, 10, 0]


def test_a_replaced_adapter_loses_its_picture(library):
    first = content()
    entry = library.add(first, "a")
    library.illustrate(entry, b"png")
    library.add(first, "a")
    assert entry.picture is not None
    library.add(content(author="x"), "a", replace=True)
    assert entry.picture is None
    assert AdapterCard.read(entry.path).author == "x"
