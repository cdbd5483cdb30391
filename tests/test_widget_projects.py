"""Project files in the window, by mouse and keys."""

import json
import re

import numpy as np
import pytest
import tifffile

pytest.importorskip("pytestqt")

from qtpy.QtWidgets import QApplication

import napari_salt as ns
import tiny
from napari_salt.cli import main
from stacks import save

pytestmark = pytest.mark.gui

PATIENCE = 200
"""Seconds that a process which loads torch may take on a machine with other work; 5 on one without."""


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


def test_run_does_what_the_command_line_does(desk, base, tmp_path, capsys):
    """Ten images, one of them cut short: the same labels, table and report, and the broken one is named."""
    hands = desk.hands
    for number in range(10):
        image, truth = tiny.discs(2, seed=number)
        save(tmp_path, image, f"s{number}.tif", metadata={"axes": "ZYX"})
    save(tmp_path, tiny.painted(truth, 1), "p9.tif")
    whole = (tmp_path / "s5.tif").read_bytes()
    (tmp_path / "s5.tif").write_bytes(whole[: len(whole) // 2])
    training = ns.TrainConfig(base=str(base), steps=3, pixel_scale=1.0, device="cpu", salt=tiny.SALT)
    made = {
        output: ns.Project(
            output, (ns.ProjectPair("s9.tif", "p9.tif"),), (ns.ProjectImages("s*.tif"),), training,
            ns.SegmentConfig(views=1), folder=tmp_path,
        ).save(tmp_path / f"{output}.toml")
        for output in ("window", "terminal")
    }  # fmt: skip
    hands.drop(made["window"])
    hands.unfold("Project")
    hands.press("Activate the paint brush")
    hands.stroke((0, 20, 20), (0, 30, 30))  # not in the file
    hands.press("Run", "Project", hands.answer("Run as it was saved"))
    hands.wait(lambda: hands.reads("of 10, s", "Project"), PATIENCE)
    assert not hands.enabled("Train", "Train")
    hands.wait(lambda: hands.enabled("Run", "Project"), PATIENCE)
    assert hands.reads("9 images are segmented (9 now, 0 before); not used: s5.tif", "Project")
    assert hands.reads("s5.tif: ", "Project")
    assert not hands.reads("step 3", "Project")
    assert not hands.reads("tifffile", "Project")
    assert hands.reads(f"the table is in {tmp_path / 'window' / 'table.csv'}, the report in", "Project")
    assert hands.enabled("Show the report", "Project")
    hands.screenshot(tmp_path / "run.png")

    capsys.readouterr()
    assert main(["run", str(made["terminal"]), "--json"]) == 3
    told = json.loads(capsys.readouterr().out)
    assert [each["file"] for each in told["failed"]] == ["s5.tif"]
    results = {name: tmp_path / name for name in made}
    for name in (f"s{number}.tif" for number in range(10) if number != 5):
        both = [tifffile.imread(folder / "segmentations" / name) for folder in results.values()]
        np.testing.assert_array_equal(*both)
    assert any(both[0].ravel())
    assert len({(folder / "table.csv").read_text() for folder in results.values()}) == 1
    reports = [_timeless((folder / "report.html").read_text()) for folder in results.values()]
    assert reports[0] == reports[1]


def _timeless(report):
    """A report without what tells when and how fast it was made."""
    report = re.sub(r"\d{4}-\d\d-\d\d[T \d:.+Z-]*", "DATE", report)
    report = re.sub(r"\b[\d.]+ (s|min)\b", "TIME", report)
    return re.sub(r"(seconds</th><td[^>]*>)[\d.]+", r"\1TIME", report)


def test_a_run_is_stopped_and_gone_on_with(desk, base, tmp_path):
    hands = desk.hands
    image, truth = tiny.discs(2)
    save(tmp_path, image, "s.tif", metadata={"axes": "ZYX"})
    save(tmp_path, tiny.painted(truth, 1), "p.tif")
    training = ns.TrainConfig(base=str(base), minutes=5, pixel_scale=1.0, device="cpu", salt=tiny.SALT)
    pairs, images = (ns.ProjectPair("s.tif", "p.tif"),), (ns.ProjectImages("s.tif"),)
    project = ns.Project("out", pairs, images, training, folder=tmp_path)
    hands.drop(project.save(tmp_path / "p.toml"))
    hands.unfold("Project")
    hands.press("Run", "Project")
    hands.wait(lambda: hands.reads("training: 0 %", "Project"), PATIENCE)
    hands.press("Stop", "Project")
    hands.wait(lambda: hands.enabled("Run", "Project"), PATIENCE)
    assert hands.reads("stopped early; 0 images are segmented", "Project")
    assert ns.Adapter.load(tmp_path / "out" / "adapter.salt.safetensors").classes
    assert hands.enabled("Train", "Train")
