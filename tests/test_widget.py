"""The dock widget in a real viewer, with the engine in its own process, on a tiny base."""

import json

import numpy as np
import pytest

pytest.importorskip("pytestqt")

from qtpy.QtWidgets import QComboBox, QLabel

import tiny
from gui import Desk, bytes_of
from hands import CTRL, KEYS
from napari_salt import cli
from napari_salt.core.paint.stacks import read_paint, training_stacks
from napari_salt.core.train.forest import forest_held_out_dice
from napari_salt.io import read_labels
from napari_salt.terms.card import AdapterCard
from napari_salt.terms.config import TrainConfig

pytestmark = pytest.mark.gui


def test_the_widget_takes_what_is_open(painted):
    hands = painted.hands
    assert hands.find(QComboBox, "image", "Image").currentText() == "discs"
    assert hands.find(QComboBox, "labels", "Paint").currentText() == "paint"
    pixels = np.count_nonzero(painted.paint.data)
    assert hands.table() == [("", "1", "class 1", f"{pixels:,}", "2")]
    assert hands.entries("painted") == ["1", "4"]


def test_train_segment_save_load_and_segment_again(painted, make_napari_viewer, tmp_path, base):
    before = bytes_of(painted.paint)
    painted.train()
    history = painted.session.training.history
    assert history.steps[-1] == 6
    assert history.curve(1)[1]
    config = TrainConfig(slices=(1, 4))
    stacks = training_stacks(painted.image.data, np.asarray(painted.paint.data))
    assert history.forest == forest_held_out_dice(stacks, read_paint(stacks, config), config)
    assert set(history.forest) == {1}
    plot = painted.widget.train.plot
    assert [len(curve.xData) for curve in plot.curves()] == [
        len(history.steps),
        len(history.scores),
    ]
    assert painted.session.adapter.path is None
    painted.segment()
    first = painted.viewer.layers["discs class 1"]
    painted.save(tmp_path / "discs.salt.safetensors", name="discs")
    assert AdapterCard.read(tmp_path / "discs.salt.safetensors").name == "discs"

    second = Desk(make_napari_viewer(show=True), tmp_path / "second", base, painted.engine)
    image, _ = second.open(painted.image.data)
    second.hands.press("Load...", "", second.hands.file(tmp_path / "discs.salt.safetensors"))
    second.segment()
    np.testing.assert_array_equal(second.viewer.layers["discs discs"].data, first.data)
    second.close()

    command_line(tmp_path, image.data, base)
    written = np.asarray(read_labels(tmp_path / "out.tif").data)
    np.testing.assert_array_equal(written, first.data)
    assert first.data.any()
    assert bytes_of(painted.paint) == before


def command_line(folder, image, base):
    """Segment `image` by the command line, as a colleague would."""
    import tifffile

    tifffile.imwrite(folder / "image.tif", image, photometric="minisblack")
    arguments = [folder / "image.tif", "--adapter", folder / "discs.salt.safetensors"]
    options = ["--out", folder / "out.tif", "--device", "cpu", "--base", base]
    assert cli.main(["segment", *map(str, [*arguments, *options])]) == 0


def test_the_preview_follows_the_slice_while_training(painted):
    hands = painted.hands
    painted.begin()
    painted.wait(lambda: "SALT preview" in hands.layers())
    preview = painted.viewer.layers["SALT preview"]
    assert preview.data.shape == (64, 64)
    painted.wait(preview.data.any)
    seen = hands.picture()
    hands.wheel(-3, CTRL)
    painted.wait(lambda: (hands.picture() != seen).any() and preview.data.any())
    assert painted.viewer.layers.selection.active is painted.paint
    hands.tick("live preview", on=False)
    assert "SALT preview" not in hands.layers()
    hands.press("Stop", "Train")
    painted.finish()


def test_two_viewers_have_two_sessions(painted, make_napari_viewer, tmp_path, base):
    other = Desk(make_napari_viewer(show=True), tmp_path / "other", base, painted.engine)
    image, truth = tiny.discs(4, seed=1)
    other.open(image, tiny.painted(truth, 0, 2))
    painted.begin(20)
    other.begin(20)
    assert painted.session.job == other.session.job == "train"
    painted.finish()
    other.finish()
    assert painted.session.adapter.digest != other.session.adapter.digest
    assert painted.session.adapter.card.training["data_shape"] == [6, 64, 64]
    assert other.session.adapter.card.training["data_shape"] == [4, 64, 64]
    other.close()


def test_buttons_that_cannot_work_say_why(desk):
    hands = desk.hands
    assert not hands.enabled("Train", "Train")
    assert "choose an image layer" in hands.tooltip("Train", "Train")
    image, _ = tiny.discs(6)
    desk.open(image)
    assert "labels layer" in hands.tooltip("Train", "Train")
    hands.press("New")
    assert hands.reads("paint a class", "Train")
    assert not hands.enabled("Stack")
    assert "train or load an adapter" in hands.tooltip("Stack")
    hands.press("Activate the paint brush")
    hands.stroke((2, 20, 20), (2, 20, 40))
    desk.wait(lambda: hands.enabled("Train", "Train"))
    hands.key(KEYS.Key_Z, CTRL)
    desk.wait(lambda: not hands.enabled("Train", "Train"))


def test_new_labels_lie_on_the_image(desk):
    image, _ = tiny.discs(6)
    layer, _ = desk.open(image, scale=(3, 0.5, 0.5), translate=(1, 2, 3), units=("um", "um", "um"))
    desk.hands.press("New")
    labels = desk.viewer.layers["discs paint"]
    assert labels.data.shape == image.shape
    np.testing.assert_allclose(labels.scale, layer.scale)
    np.testing.assert_allclose(labels.translate, layer.translate)
    assert labels.units == layer.units
    assert desk.viewer.layers.selection.active is labels


def test_labels_of_another_shape_are_named_with_the_remedy(desk):
    image, _ = tiny.discs(6)
    desk.open(image)
    desk.viewer.add_labels(np.zeros((6, 32, 64), np.uint8), name="small")
    desk.hands.choose("labels", "small", "Paint")
    assert desk.hands.reads("(6, 32, 64)", "Paint")
    assert desk.hands.reads("(6, 64, 64)", "Paint")
    assert not desk.hands.enabled("Train", "Train")


def test_strokes_are_asked_about_once(desk):
    image, _ = tiny.discs(6)
    strokes = np.zeros(image.shape, np.uint8)
    strokes[1, 10:12, 5:60] = 1
    strokes[4, 20:22, 5:60] = 1
    desk.open(image, strokes)
    hands = desk.hands
    hands.expect(hands.answer("Background"))
    desk.train(3)
    assert hands.answered()
    desk.wait(lambda: hands.reads("not saved yet", "Model"))
    desk.finish()
    desk.train(3)  # a second question would fail: nobody expects it


def test_results_larger_than_the_limit_go_to_disk(painted, tmp_path):
    import zarr

    painted.train(3)
    hands = painted.hands
    hands.unfold("options")
    hands.type("in memory to", "0.00")
    hands.press("Stack")
    assert painted.session.job == ""
    assert "choose a folder" in painted.problems[-1]
    hands.press("Folder...", "", hands.folder(tmp_path))
    painted.segment()
    layer = painted.viewer.layers["discs class 1"]
    assert isinstance(layer.data, zarr.Array)
    written = zarr.open_group(tmp_path / "discs class 1.zarr", mode="r")
    np.testing.assert_array_equal(written["0"][:], np.asarray(layer.data))
    assert written.attrs["ome"]["multiscales"][0]["axes"][0]["name"] == "z"
    hands.type("in memory to", "1")
    painted.segment()
    np.testing.assert_array_equal(painted.viewer.layers[-1].data, written["0"][:])


def test_probability_layers(painted):
    painted.train(3)
    painted.hands.unfold("options")
    painted.hands.tick("probability layers", on=True)
    painted.hands.tick("uncertainty layer", on=True)
    painted.segment()
    found = painted.viewer.layers["discs class 1 P(class 1)"]
    labels = painted.viewer.layers["discs class 1"]
    assert found.data.dtype == np.float16
    sure = abs(found.data.astype(float) - 0.5) > 0.001  # float16 rounds
    assert sure.mean() > 0.1
    np.testing.assert_array_equal((found.data > 0.5)[sure], (labels.data == 1)[sure])
    unsure = painted.viewer.layers["discs class 1 uncertainty"]
    share = found.data.astype(float).clip(1e-7, 1 - 1e-7)
    entropy = -(share * np.log2(share) + (1 - share) * np.log2(1 - share))
    np.testing.assert_allclose(unsure.data, entropy, atol=0.005)
    assert unsure.visible
    assert not found.visible


def test_the_slice_to_paint_next_is_one_click_away(painted):
    painted.train(3)
    hands = painted.hands
    hands.press("Find")
    painted.finish()
    ranked = hands.entries("Slices to paint, best first", "Next")
    assert ranked
    assert not {"1", "4"} & set(ranked)
    hands.press(f"Paint slice {ranked[0]} next")
    assert painted.viewer.dims.current_step[0] == int(ranked[0])
    hands.take("Slices to paint, best first", ranked[-1], "Next")
    assert painted.viewer.dims.current_step[0] == int(ranked[-1])
    hands.take("painted", "4")
    assert painted.viewer.dims.current_step[0] == 4


def test_so_much_of_the_adapter_is_applied_as_the_slider_says(painted, tmp_path):
    hands = painted.hands
    painted.train(30)
    painted.segment()
    hands.slide("strength", KEYS.Key_Home)
    assert hands.reads("0 %", "Model")
    painted.segment()
    hands.slide("strength", *[KEYS.Key_PageUp] * 10)
    assert hands.reads("50 %", "Model")
    painted.segment()
    layers = {layer.name: layer.data for layer in painted.viewer.layers}
    whole, half, none = (layers[f"discs class 1{how}"] for how in ("", " (strength 0.5)", " (base alone)"))
    assert (none != whole).any()
    assert (half != whole).any()
    assert not hands.enabled("Save...", "Share")
    assert "press Apply" in hands.tooltip("Save...", "Share")
    hands.press("Apply", "Model")
    painted.finish()
    hands.wait(lambda: hands.reads("100 %", "Model"))
    painted.save(tmp_path / "half.salt.safetensors")
    kept = AdapterCard.read(tmp_path / "half.salt.safetensors")
    assert kept.training["strength"] == 0.5


def test_a_damaged_adapter_is_refused_and_the_old_one_stays(painted, tmp_path):
    hands = painted.hands
    painted.train(3)
    painted.save(tmp_path / "good.salt.safetensors", name="the good one")
    (tmp_path / "bad.safetensors").write_bytes(b"nonsense")
    hands.press("Load...", "", hands.file(tmp_path / "bad.safetensors"))
    assert hands.reads("the good one", "Model")
    assert hands.reads("bad.safetensors", "Model")
    assert "bad.safetensors" in painted.problems[-1]


def test_names_and_colours_are_the_users(painted):
    painted.hands.name_class(0, "nucleus")
    painted.train(3)
    assert painted.hands.reads("nucleus", "Model")
    info = painted.session.adapter.card.classes[0]
    assert info.name == "nucleus"
    color = painted.paint.get_color(1)
    assert info.color == "#" + "".join(f"{round(255 * c):02x}" for c in color[:3])


@pytest.mark.parametrize("orientation", ["fixed", "any"])
def test_orientation_is_what_the_user_says(painted, orientation):
    hands = painted.hands
    assert hands.find(QComboBox, "orientation").currentText() == "automatic"
    hands.choose("orientation", orientation)
    painted.train(3)
    assert painted.session.adapter.card.preprocess.turns == (orientation == "any")
    assert f"orientation {orientation}" in hands.find(QLabel, "<b>", "Model").toolTip()


def test_keys_collide_with_none_of_naparis():
    from app_model.types import KeyBinding
    from napari.utils.shortcuts import default_shortcuts

    from napari_salt.gui._keys import KEYS

    taken = {
        KeyBinding.from_int(int(k)) if not isinstance(k, KeyBinding) else k
        for ks in default_shortcuts.values()
        for k in ks
    }
    ours = {KeyBinding.from_str(key.replace("-", "+")) for key in KEYS}
    assert not ours & taken


def test_commands_and_menus_are_registered(make_napari_viewer):
    from napari._app_model import get_app_model

    make_napari_viewer()
    app = get_app_model()
    ids = {command for command, _ in app.commands}
    for name in (
        "train",
        "stop",
        "segment_slice",
        "segment_stack",
        "load_adapter",
        "save_adapter",
        "next_slice",
    ):
        assert f"napari-salt.{name}" in ids
    segment = [getattr(item.command, "id", "") for item in app.menus.get_menu("napari/layers/segment")]
    assert any("napari-salt" in command for command in segment)


def test_the_reader_takes_adapters_and_declines_other_files(tmp_path):
    from napari.utils.notifications import notification_manager
    from safetensors.numpy import save_file

    from napari_salt.gui._reader import get_reader

    tiny.adapter().save(tmp_path / "a.salt.safetensors")
    assert get_reader(str(tmp_path / "a.salt.safetensors")) is not None
    assert get_reader([str(tmp_path / "a.salt.safetensors")]) is not None  # dropped with Shift
    save_file({"x": np.zeros(3)}, tmp_path / "other.safetensors")
    assert get_reader(str(tmp_path / "other.safetensors")) is None
    assert "no napari-salt adapter" in notification_manager.records[-1].message
    assert get_reader(str(tmp_path / "image.tif")) is None


def test_the_card_is_what_the_file_tells(painted):
    painted.train(3)
    card = painted.session.adapter.card
    assert painted.hands.reads(card.base_model, "Model")
    assert json.loads(card.metadata()["training"])["painted_slices"] == [1, 4]
