"""Adapters of a local checkpoint, which may move, change, or be another."""

from pathlib import Path

import pytest

import tiny
from napari_salt.cli import main
from napari_salt.core.adapt.adapter import Adapter
from napari_salt.terms.errors import AdapterError
from stacks import save


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_SALT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def stack(tmp_path, monkeypatch):
    """In the working folder: a stack, its labels, and an adapter trained on a local checkpoint."""
    monkeypatch.chdir(tmp_path)
    image, truth = tiny.discs()
    save(tmp_path, image, "image.tif")
    save(tmp_path, tiny.painted(truth, 1, 4), "labels.tif")
    base = tiny.checkpoint(tmp_path / "mine.pth")
    train = [
        "train",
        "image.tif",
        "labels.tif",
        "--out",
        "a.safetensors",
        "--base",
        str(base),
        "--steps",
        "1",
    ]
    assert main(train) == 0
    return base


def segmenting(*arguments):
    return main(["segment", "image.tif", "--adapter", "a.safetensors", "--out", "out.tif", *arguments])


def test_a_checkpoint_that_moved_is_asked_for_and_taken(stack, capsys):
    assert segmenting() == 0
    moved = stack.rename("moved.pth")
    assert segmenting() == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert "needs the sam-vit checkpoint 'mine.pth' (sha256 " in message
    assert "--base" in message
    assert segmenting("--base", str(moved)) == 0
    assert segmenting() == 0
    again = ["train", "image.tif", "labels.tif", "--out", "b.safetensors", "--init", "a.safetensors"]
    assert main([*again, "--steps", "1"]) == 0
    assert Adapter.load("b.safetensors").base_model == "sam-vit:moved.pth"


def test_a_checkpoint_with_other_weights_is_refused(stack, capsys):
    tiny.checkpoint("other.pth", seed=1)
    assert segmenting("--base", "other.pth") == 2
    assert "trained on base model 'sam-vit:mine.pth'" in capsys.readouterr().err
    assert segmenting("--base", "lite-medsam") == 2
    assert "not 'lite-medsam'; leave --base out" in capsys.readouterr().err


def test_no_path_is_in_the_adapter(stack):
    assert str(stack.parent).encode() not in Path("a.safetensors").read_bytes()


def test_an_overwritten_checkpoint_is_not_taken(stack):
    tiny.checkpoint(stack, seed=1)
    with pytest.raises(AdapterError, match=r"needs the sam-vit checkpoint 'mine.pth'"):
        Adapter.load("a.safetensors").build()
