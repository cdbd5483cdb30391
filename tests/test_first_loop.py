"""The first loop of somebody new, by hand: from the menus to a colleague's window."""

import numpy as np
import pytest

pytest.importorskip("pytestqt")

import tifffile

import tiny
from hands import CTRL, Hands

pytestmark = pytest.mark.gui
SIDE = tiny.SIZE
MENU = "SALT (napari-salt)"


@pytest.fixture
def shots(tmp_path):
    """Takes numbered screenshots; pytest keeps those of the last three runs."""
    folder = tmp_path / "shots"
    folder.mkdir()

    def take(hands, name):
        hands.screenshot(folder / f"{len(list(folder.iterdir())):02d} {name}.png")

    return take


def open_with_salt(make_napari_viewer, path, base):
    """Open napari, the file and the widget by the menus, and choose a base model by its file."""
    hands = Hands(make_napari_viewer(show=True))
    hands.menu("File", "Open File(s)...", then=[hands.file(path)])
    hands.wait(lambda: hands.layers() == [path.stem])
    hands.menu("Plugins", MENU)
    hands.press("Reset view")
    hands.choose("base", "local file", "Model", hands.file(base))
    assert hands.reads(base.name, "Model")
    return hands


def cover(hands, truth, index):
    """Paint the discs of a slice with label 1, and something else with label 2."""
    hands.type("label", "1", "layer controls")
    for row in range(2, SIDE, 5):
        for start, end in runs(truth[index, row]):
            hands.stroke((index, row, start), (index, row, end))
    hands.type("label", "2", "layer controls")
    hands.stroke((index, 1, 1), (index, 1, 60))


def runs(line):
    """First and last position of each run of ones."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], line, [0]])))
    return zip(edges[::2].tolist(), (edges[1::2] - 1).tolist(), strict=True)


def test_the_first_loop(make_napari_viewer, tmp_path, base, folder, shots):
    image, truth = tiny.discs(6)
    tifffile.imwrite(tmp_path / "discs.tif", image, photometric="minisblack")
    first = open_with_salt(make_napari_viewer, tmp_path / "discs.tif", base)
    shots(first, "opened")
    assert not first.enabled("Train", "Train")

    first.press("New")
    assert first.layers() == ["discs paint", "discs"]
    assert first.reads("Paint the class “class 1” on this slice.")
    first.press("Activate the paint brush")
    cover(first, truth, 2)
    shots(first, "one slice painted")
    first.wheel(-2, CTRL)
    cover(first, truth, 4)
    first.wait(lambda: first.entries("painted") == ["2", "4"])
    first.name_class(0, "disc")
    assert [row[1:3] for row in first.table()] == [("1", "disc"), ("2", "class 2")]
    shots(first, "two slices of two classes, one named")

    first.unfold("advanced")
    first.type("steps", "400")
    first.type("pixel scale", "1")
    first.press("Train", "Train")
    said = first.wait(lambda: first.reads("held-out Dice", "Train") and first.texts("Train"))
    assert "SALT preview" in first.wait(lambda: "SALT preview" in first.layers() and first.layers())
    shots(first, "training")
    first.wait(lambda: first.texts("Train") != said)
    assert not first.enabled("Train", "Train")
    first.press("Stop", "Train")
    first.wait(lambda: first.enabled("Train", "Train"))
    shots(first, "stopped")
    assert first.reads("disc, class 2", "Model")
    assert first.reads("not saved yet", "Model")

    first.press("Stack")
    first.wait(lambda: first.enabled("Stack"))
    assert "discs disc class 2" in first.layers()
    shots(first, "segmented")

    corrected = first.table()
    first.layer("discs paint")
    first.press("Activate the label eraser")
    first.stroke((4, 32, 5), (4, 32, 60))
    first.wait(lambda: first.table() != corrected)
    first.tick("go on from the loaded adapter", on=True)
    first.type("steps", "20")
    first.press("Train", "Train")
    first.wait(lambda: first.enabled("Train", "Train"))
    shots(first, "corrected and trained again")
    first.press("Stack")
    first.wait(lambda: first.enabled("Stack"))
    result, _ = (name for name in first.layers() if name.startswith("discs disc class 2"))
    saved = tmp_path / "discs.salt.safetensors"
    first.press("Save...", "", first.fill("OK", name="Discs", author="A. Person"), first.file(saved))
    assert saved.exists()
    assert not first.reads("not saved yet", "Model")
    shots(first, "saved")

    second = open_with_salt(make_napari_viewer, tmp_path / "discs.tif", base)
    second.drop(saved)
    assert second.reads("Discs", "Model")
    second.press("Stack")
    second.wait(lambda: second.enabled("Stack"))
    assert "discs Discs" in second.layers()
    shots(second, "segmented by a colleague")
    theirs, mine = second.layer("discs Discs").data, first.layer(result).data
    np.testing.assert_array_equal(theirs, mine)
    assert mine.any()


def test_there_is_one_widget_whatever_opens_it(make_napari_viewer, tmp_path, folder):
    tiny.adapter().save(tmp_path / "a.salt.safetensors")
    hands = Hands(make_napari_viewer(show=True))
    for opening in (True, False, True):
        hands.menu("Plugins", MENU)
        assert hands.docks().count(MENU) == opening
    hands.menu("Plugins", MENU)
    hands.drop(tmp_path / "a.salt.safetensors")
    assert hands.docks().count(MENU) == 1
    assert hands.reads("a name", "Model")


def test_the_menu_finds_a_widget_that_a_dropped_adapter_opened(make_napari_viewer, tmp_path, folder):
    tiny.adapter().save(tmp_path / "a.salt.safetensors")
    hands = Hands(make_napari_viewer(show=True))
    hands.drop(tmp_path / "a.salt.safetensors")
    assert hands.docks().count(MENU) == 1
    hands.menu("Plugins", MENU)
    assert hands.docks().count(MENU) == 0
