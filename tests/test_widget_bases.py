"""Base models that must be downloaded, are wrong, or too large, chosen in the Model panel."""

import hashlib
import io
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("pytestqt")

from qtpy.QtWidgets import QAbstractButton, QComboBox

import other_engine
import tiny
from gui import Desk, bytes_of
from napari_salt.terms import registry
from server import serving
from stacks import names

pytestmark = pytest.mark.gui


@pytest.fixture(scope="session")
def content():
    """A checkpoint of 4 MB: the tiny base, and a part that nobody asks for."""
    file = io.BytesIO()
    torch.save({**tiny.module().state_dict(), "more": torch.zeros(1_000_000)}, file)
    return file.getvalue()


@pytest.fixture
def server(content):
    with serving(content) as server:
        yield server


@pytest.fixture
def spec(server, folder, content, monkeypatch):
    """A base of the registry that lies on the server."""
    spec = replace(
        tiny.SPEC,
        name="far",
        url=server.url,
        file="far.pth",
        digest=f"sha256:{hashlib.sha256(content).hexdigest()}",
        size=len(content),
        targets=registry.KINDS["sam-vit"].targets,
    )
    monkeypatch.setitem(registry.BASES, "far", spec)
    return spec


@pytest.fixture
def painted(make_napari_viewer, tmp_path):
    """Makes a desk with a painted image and an engine of its own."""
    desks = []

    def make(**engine):
        command = other_engine.command(tmp_path, **engine)
        desk = Desk(make_napari_viewer(show=True), tmp_path, "lite-medsam", command)
        desks.append(desk)
        image, truth = tiny.discs(6)
        desk.image, desk.paint = desk.open(image, tiny.painted(truth, 1, 4))
        return desk

    yield make
    for desk in desks:
        desk.close()


def choose(desk, name):
    """Pick a base in the Model panel; its text there."""
    desk.hands.choose("base", name, "Model")
    return chosen(desk)


def chosen(desk):
    return desk.hands.find(QComboBox, "base", "Model").currentText()


def told(desk, *parts):
    """Whether the newest problem is a notification, and stands in the Model panel."""
    for part in parts:
        assert desk.hands.reads(part, "Model")
        assert part.lower() in desk.problems[-1].lower()
    assert desk.session.job == ""


def kept(folder):
    return [name for name in names(folder) if not name.endswith(".lock")]


def test_a_base_is_downloaded_with_visible_progress_and_trained_on(server, spec, folder, painted):
    desk = painted(base=spec)
    assert choose(desk, "far") == "far (download 4 MB)"
    server.pause = 0.05
    seen = set()
    desk.begin(100)
    desk.wait(lambda: seen.update(desk.hands.texts("Train")) or desk.session.training.history.steps)
    desk.hands.press("Stop", "Train")
    desk.finish()
    assert len({text for text in seen if text.startswith("downloading far: ")}) > 2
    assert any(text.endswith("of 4 MB") for text in seen)
    assert desk.session.adapter.card.base_model == "far"
    assert chosen(desk) == "far (cached)"
    assert kept(folder) == ["far.pth"]
    assert not desk.problems


def test_a_cancelled_download_leaves_no_base_and_goes_on_later(server, spec, folder, painted):
    desk = painted(base=spec)
    choose(desk, "far")
    server.pause = 0.1
    desk.begin(3)
    desk.wait(lambda: desk.hands.reads("downloading far: 1", "Train"))
    desk.hands.press("Stop", "Train")
    desk.finish()
    assert kept(folder) == ["far.pth.part"]
    assert not desk.problems
    assert desk.session.adapter is None
    assert not desk.hands.reads("download", "Train")
    assert choose(desk, "far") == "far (download 4 MB)"
    server.pause = 0.0
    desk.train(3)
    assert server.asked[-1][1] > 0
    assert desk.session.adapter.card.base_model == "far"
    assert kept(folder) == ["far.pth"]


def test_without_network_it_is_said_what_to_do(server, spec, folder, painted):
    desk = painted(base=replace(spec, url="http://127.0.0.1:9/weights.pth"))
    choose(desk, "far")
    desk.train(3)
    told(desk, "cannot be downloaded", "http://127.0.0.1:9/weights.pth", str(folder / "far.pth"))
    folder.joinpath("far.pth").write_bytes(server.content)  # as the message says
    desk.train(3)
    assert desk.session.adapter is not None
    assert not desk.hands.reads("cannot be downloaded", "Model")


def test_another_file_than_was_published_is_refused(server, spec, folder, painted):
    server.content = server.content[:-1] + b"?"
    desk = painted(base=spec)
    choose(desk, "far")
    desk.train(3)
    told(desk, "does not give the file that was published", spec.digest)
    assert kept(folder) == []


def test_a_local_file_that_is_no_checkpoint_is_refused_and_another_one_taken(painted, tmp_path):
    desk = painted()
    (tmp_path / "noise.pth").write_bytes(np.random.default_rng(0).bytes(10_000))
    good = tiny.checkpoint(tmp_path / "good.pth")
    for path in (tmp_path / "noise.pth", good):
        desk.hands.choose("base", "local file...", "Model", desk.hands.file(path))
        assert chosen(desk) == path.name
        desk.train(3)
        if path != good:
            told(desk, "noise.pth", "not a readable checkpoint")
    assert desk.session.adapter.card.base_model == "sam-vit:good.pth"


@pytest.mark.provoked
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps a limit of memory")
def test_out_of_memory_is_told_and_the_next_training_works(painted, tmp_path):
    desk = painted(megabytes=800)
    base = tiny.checkpoint(tmp_path / "tiny.pth")
    before = bytes_of(desk.paint)
    desk.session.options.base = f"{base}@1024"
    desk.train(3)
    told(desk, "out of memory", "close other programs")
    desk.session.options.base = str(base)
    desk.train(3)
    assert desk.session.adapter is not None
    assert bytes_of(desk.paint) == before


def test_a_prompt_without_its_base_is_said_once(spec, painted):
    desk = painted(base=spec)
    choose(desk, "far")
    desk.hands.press("Prompt")
    desk.wait(lambda: desk.problems)
    told(desk, "not on this machine", "bases --download far")
    assert not desk.session.prompting.active
    assert not desk.hands.find(QAbstractButton, "Prompt").isChecked()
