"""Project files in the window, by mouse and keys."""

import pytest

pytest.importorskip("pytestqt")

from qtpy.QtWidgets import QApplication

import napari_salt as ns
import tiny
from stacks import save

pytestmark = pytest.mark.gui


def test_a_dropped_project_is_trained_on_and_saved_again(desk, base, tmp_path):
    hands = desk.hands
    for number in range(2):
        image, truth = tiny.discs(4, seed=number)
        save(tmp_path, image, f"s{number}.tif", metadata={"axes": "ZYX"})
        save(tmp_path, tiny.painted(truth, 1), f"p{number}.tif")
    training = ns.TrainConfig(
        base=str(base), steps=3, pixel_scale=1.0, device="cpu", class_names={1: "disc"}, salt=tiny.SALT
    )
    pairs = tuple(ns.ProjectPair(f"s{n}.tif", f"p{n}.tif") for n in range(2))
    images = (ns.ProjectImages("s*.tif"),)
    project = ns.Project("out", pairs, images, training, folder=tmp_path)
    path = project.save(tmp_path / "project.toml")

    hands.drop(path)
    assert hands.layers() == ["p1", "s1", "p0", "s0"]
    hands.unfold("Project")
    assert hands.reads("project.toml: learns from 2 images, segments 2 images into", "Project")
    hands.press("Copy the command")
    assert QApplication.clipboard().text() == f"napari-salt run {path}"
    hands.screenshot(tmp_path / "project.png")
    hands.press("Train", "Train")
    desk.finish()
    assert hands.reads("of stack 2, from 2 painted", "Train")
    assert len(desk.session.adapter.card.training["more_stacks"]) == 1

    hands.unfold("details")
    hands.choose("unpainted", "unknown", "Paint")
    hands.press("Save project...", "", hands.file(tmp_path / "again.toml"))
    again = ns.Project.load(tmp_path / "again.toml")
    assert again.training.unpainted == "ignore"
    assert [(pair.image, pair.labels) for pair in again.train] == [("s0.tif", "p0.tif"), ("s1.tif", "p1.tif")]
    assert again.segment == images
