"""The Results panel by mouse and keys: tables, features, files and the report of a segmentation."""

import csv

import numpy as np
import pytest
from skimage.measure import label

from hands import CTRL, KEYS, SHIFT
from napari_salt.io import read_labels
from test_report import read

pytestmark = pytest.mark.gui


def rows_of(path):
    return list(csv.DictReader(path.read_text("utf-8-sig").splitlines()))


def test_what_was_found_becomes_tables_and_files(painted, tmp_path):
    desk, hands = painted, painted.hands
    for layer in (desk.image, desk.paint):
        layer.units = ("um", "um", "um")
        layer.scale = (2, 0.5, 0.5)
    desk.train()
    desk.segment()
    result = next(layer for layer in desk.viewer.layers if layer.metadata.get("napari-salt") == "result")
    assert hands.reads(result.name, "Results")
    assert not hands.enabled("Save table...", "Results")
    hands.press("Measure classes", "Results")
    desk.finish()
    assert hands.entries("The classes of the layer", "Results") == ["class 1"]
    hands.press("Measure objects", "Results")
    desk.finish()
    found = np.asarray(result.data)
    objects = label(found, background=0, connectivity=3)
    assert hands.reads(f"{objects.max()} objects", "Results")
    numbered = desk.viewer.layers[f"{result.name} objects"]
    np.testing.assert_array_equal(numbered.data, objects)
    assert len(numbered.features) == objects.max()

    tables = [tmp_path / "classes.csv", tmp_path / "objects.csv"]
    hands.press("Save table...", "Results", *map(hands.file, tables))
    (row,) = rows_of(tables[0])
    assert float(row["volume_um3"]) == (found == 1).sum() / 2
    sizes = [int(row["voxels"]) for row in rows_of(tables[1])]
    assert sizes == np.bincount(objects.ravel())[1:].tolist()

    hands.press("Save labels...", "Results", hands.file(tmp_path / "found.zarr"))
    desk.finish()
    stack = read_labels(tmp_path / "found.zarr")
    np.testing.assert_array_equal(stack.data, found)
    assert (stack.unit, stack.spacing) == ("um", (2, 0.5, 0.5))
    assert [info.name for info in stack.classes] == ["class 1"]

    hands.press("Report...", "Results", hands.file(tmp_path / "report"))
    desk.wait((tmp_path / "report.html").exists)
    page = read(tmp_path / "report.html")
    assert f"{int((found == 1).sum()):,}" in page.cells
    assert "slice 1, painted" in page.texts
    assert hands.reads("report.html", "Results")

    hands.press("Difference", "Results")
    assert hands.layers()[0] == "difference"


def test_a_corrected_result_is_learnt_from(painted, tmp_path):
    desk, hands = painted, painted.hands
    desk.train()
    desk.segment()
    result = next(layer for layer in desk.viewer.layers if layer.metadata.get("napari-salt") == "result")
    hands.take("painted", "4")
    desk.session.go_to(2)
    found, paint = np.array(result.data), np.array(desk.paint.data)
    wanted = 0 if found[2, 20, 10:50].mean() > 0.5 else 1
    assert not hands.reads("Learn from this")
    hands.layer(result.name)
    result.selected_label = 1
    hands.focus()
    hands.key(KEYS.Key_P if wanted else KEYS.Key_E)
    hands.stroke((2, 20, 10), (2, 20, 50))
    hands.wait(lambda: hands.reads(f"You have painted on the result {result.name}.", "Results"), 10)
    assert hands.reads("Learn from what you have painted over in the result.", "Results")
    hands.screenshot(tmp_path / "learn.png")
    corrected = np.array(result.data)
    changed = found != corrected
    hands.press("Learn from this", "Results")
    assert f"{changed.sum()} pixels on 1 slice taken" in desk.problems[-1]
    np.testing.assert_array_equal(result.data, corrected)
    background = desk.session.options.background_label
    expected = np.where(changed, np.where(corrected == 0, background or 0, corrected), paint)
    np.testing.assert_array_equal(desk.paint.data, expected)
    hands.wait(lambda: hands.entries("painted") == ["1", "2", "4"], 10)
    assert hands.reads("Train again: it goes on from the adapter with the new paint.")
    hands.screenshot(tmp_path / "learnt.png")
    hands.layer("paint")
    hands.focus()
    hands.key(KEYS.Key_Z, CTRL)
    np.testing.assert_array_equal(desk.paint.data, paint)


def test_previews_with_and_without_the_adapter_are_seen_side_by_side(painted):
    desk, hands = painted, painted.hands
    desk.train()
    hands.take("painted", "4")
    hands.press("Swipe", "Results")
    name = f"preview with {desk.session.adapter.layer_title} | preview of the base alone"
    assert "SALT preview" not in hands.layers()
    seen = desk.viewer.layers[name]
    width = desk.image.data.shape[-1]

    def sides(place):
        """What is seen of slice 4 with the line at a place of the picture's width."""
        desk.session.swiping.move(place)
        return np.array(seen.data[4])

    desk.wait(lambda: sides(1).any() and sides(0).any())
    with_adapter, without = sides(1), sides(0)
    assert (with_adapter != without).any()
    hands.focus()
    hands.key(KEYS.Key_X, SHIFT)
    np.testing.assert_array_equal(seen.data[4], with_adapter)
    assert hands.reads("Shift-X shows the other one", "Results")
    hands.key(KEYS.Key_X, SHIFT)
    np.testing.assert_array_equal(seen.data[4], without)
    sides(0.5)
    hands.stroke((4, 20, width / 2 - 0.5), (4, 20, width / 4 - 0.5))
    at = round(width * desk.session.swiping.place)
    assert at == pytest.approx(width / 4, abs=2)
    np.testing.assert_array_equal(seen.data[4][:, :at], with_adapter[:, :at])
    np.testing.assert_array_equal(seen.data[4][:, at + 1 :], without[:, at + 1 :])
    hands.press("End", "Results")
    desk.wait(lambda: "SALT preview" in hands.layers())
    assert name not in hands.layers()
