"""The module for 3D Slicer, as far as it goes without it: the real command on files as Slicer writes them."""

import ast
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import slicerio

import tiny
from napari_salt.io import read_labels, read_stack

MODULE = Path(__file__).parents[1] / "extras" / "slicer" / "NapariSalt"
sys.path.insert(0, str(MODULE))

from NapariSaltLib.background import PROGRESS, Run, environment_for  # noqa: E402
from NapariSaltLib.commands import Segmenting, Training, check_command  # noqa: E402

TINY = ("--pixel-scale", "1", "--device", "cpu", "--lora-rank", "2")
LPS = (-1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0)
"""Directions of the axes of a volume whose slices are coronal."""
SECONDS = 800


@pytest.mark.parametrize("path", sorted(MODULE.rglob("*.py")), ids=lambda path: path.name)
def test_slicers_python_reads_it(path):
    ast.parse(path.read_text("utf-8"), feature_version=(3, 9))


def test_lines_of_progress():
    found = PROGRESS.fullmatch("training: 30 %, 1 min 5 s left")
    assert (found["what"], found["percent"], found["left"]) == ("training", "30", "1 min 5 s")
    assert PROGRESS.fullmatch("segmenting: 100 %")
    assert not PROGRESS.fullmatch("step 40, 33 s: held-out Dice 1: 0.912")


def test_another_python_does_not_see_slicers_packages():
    assert environment_for({"PYTHONHOME": "/slicer", "PATH": "/bin"}) == {"PATH": "/bin"}


def test_what_cannot_be_started_is_told(tmp_path):
    state = Run(check_command(str(tmp_path / "python"))).wait()
    assert state.is_over
    assert "choose a Python with napari-salt" in state.error
    alone = Run([sys.executable, "-S", "-E", *check_command(sys.executable)[1:]]).wait()
    assert "has no napari-salt: choose another Python" in alone.error


def test_what_the_command_finds_wrong_is_one_sentence(tmp_path):
    training = Training(tmp_path / "no.nrrd", tmp_path / "no.seg.nrrd", tmp_path / "a.safetensors")
    state = Run(training.command(sys.executable)).wait()
    assert state.error.startswith(str(tmp_path / "no.nrrd"))
    assert "check the path" in state.error
    assert "\n" not in state.error
    assert state.result is None
    assert not state.is_cancelled


@pytest.fixture
def scene(tmp_path):
    """A volume and a segmentation as Slicer writes them: in LPS, the segments in a part of the volume."""
    image, truth = tiny.discs(6)
    volume = sitk.GetImageFromArray(image)
    volume.SetSpacing((0.5, 0.5, 2.0))
    volume.SetOrigin((10.0, -20.0, 30.0))
    volume.SetDirection(LPS)
    sitk.WriteImage(volume, str(tmp_path / "volume.nrrd"), useCompression=True)
    painted = sitk.GetImageFromArray(tiny.painted(3 * truth, 1, 4))
    painted.CopyInformation(volume)
    sitk.WriteImage(painted[:, :, 1:5], str(tmp_path / "part.nrrd"))
    about = slicerio.read_segmentation(str(tmp_path / "part.nrrd"))
    about["segments"] = [
        {"id": "Segment_1", "name": "disc, round", "labelValue": 3, "color": [0.0, 1.0, 0.0], "layer": 0}
    ]
    slicerio.write_segmentation(str(tmp_path / "painted.seg.nrrd"), about)
    return tmp_path, truth


def test_a_volume_is_trained_on_and_segmented(scene, base):
    folder, truth = scene
    adapter, out = folder / "a.salt.safetensors", folder / "out.seg.nrrd"
    training = Training(
        folder / "volume.nrrd",
        folder / "painted.seg.nrrd",
        adapter,
        plane="coronal",
        more=("--base", str(base), "--steps", "3", *TINY),
    )
    seen = watched(Run(training.command(sys.executable)))
    assert not seen[-1].error
    assert seen[-1].result["steps"] == 3
    assert [state.fraction for state in seen] == sorted(state.fraction for state in seen)
    segmenting = Segmenting(folder / "volume.nrrd", adapter, out, more=("--base", str(base)))
    done = Run(segmenting.command(sys.executable)).wait()
    assert not done.error
    assert done.result["slices"] == 6
    found = slicerio.read_segmentation(str(out))
    assert [(s["name"], s["labelValue"], s["color"]) for s in found["segments"]] == [
        ("disc, round", 3, [0.0, 1.0, 0.0])
    ]
    labels, image = read_labels(out), read_stack(folder / "volume.nrrd")
    np.testing.assert_allclose(labels.affine, image.affine)
    assert labels.data.shape == truth.shape
    assert set(np.unique(labels.data.compute())) <= {0, 3}


def test_cancel_keeps_the_adapter(scene, base):
    folder, _ = scene
    training = Training(
        folder / "volume.nrrd",
        folder / "painted.seg.nrrd",
        folder / "a.salt.safetensors",
        minutes=2,
        plane="coronal",
        more=("--base", str(base), *TINY),
    )
    run = Run(training.command(sys.executable))
    end = time.monotonic() + SECONDS
    while not training.adapter.is_file():  # it is saved when it has been scored
        assert not run.poll().is_over, run.log
        assert time.monotonic() < end, run.log
        time.sleep(0.05)
    run.cancel()
    state = run.wait()
    assert state.is_cancelled, run.log
    assert not state.error
    assert training.adapter.is_file()


def watched(run):
    """All states of a run."""
    seen = [run.poll()]
    while not seen[-1].is_over:
        time.sleep(0.02)
        seen.append(run.poll())
    return seen
