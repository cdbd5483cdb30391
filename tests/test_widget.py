"""The dock widget in a real viewer, with the engine in its own process, on a tiny base."""

import json

import numpy as np
import pytest

pytest.importorskip("pytestqt")


import tiny
from gui import Desk, bytes_of
from napari_salt import cli
from napari_salt.core.card import AdapterCard
from napari_salt.io import read_labels

pytestmark = pytest.mark.gui


def test_the_widget_takes_what_is_open(painted):
    session = painted.session
    assert session.source.layer is painted.image
    assert session.labels is painted.paint
    assert session.paint.slices == (1, 4)
    assert painted.widget.annotate.table.item(0, 1).text() == "1"
    assert [painted.widget.annotate.slices.item(i).text() for i in range(2)] == ["1", "4"]


def test_train_segment_save_load_and_segment_again(painted, make_napari_viewer, tmp_path, base):
    before = bytes_of(painted.paint)
    painted.train()
    history = painted.session.training.history
    assert history.steps[-1] == 6
    assert history.scores[1]
    assert history.forest[1] >= 0
    plot = painted.widget.train.plot
    assert [len(curve.xData) for curve in plot.listDataItems()] == [
        len(history.steps),
        len(history.scored_steps),
    ]
    assert painted.session.adapter.path is None
    painted.widget.segment.stack.click()
    painted.finish()
    first = painted.viewer.layers["discs class 1"]
    assert painted.session.save_adapter(tmp_path / "discs.salt.safetensors", name="discs")
    assert AdapterCard.read(tmp_path / "discs.salt.safetensors").name == "discs"

    second = Desk(make_napari_viewer(show=False), tmp_path / "second", base)
    image, _ = second.open(painted.image.data)
    assert second.widget.load(tmp_path / "discs.salt.safetensors")
    second.widget.segment.stack.click()
    second.finish()
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
    painted.session.options.steps = 100_000
    painted.viewer.dims.set_current_step(0, 2)
    painted.widget.train.train.click()
    painted.wait(lambda: "SALT preview" in painted.viewer.layers)
    assert painted.session.previewing._shown == 2
    painted.viewer.dims.set_current_step(0, 5)
    painted.wait(lambda: painted.session.previewing._shown == 5)
    preview = painted.viewer.layers["SALT preview"]
    assert preview.data.shape == (64, 64)
    assert preview is not painted.session.labels
    assert painted.viewer.layers.selection.active is not preview
    painted.widget.train.preview.setChecked(False)
    assert "SALT preview" not in painted.viewer.layers
    painted.session.stop()
    painted.finish()


def test_two_viewers_have_two_sessions(painted, make_napari_viewer, tmp_path, base):
    other = Desk(make_napari_viewer(show=False), tmp_path / "other", base)
    image, truth = tiny.discs(4, seed=1)
    other.open(image, tiny.painted(truth, 0, 2))
    painted.session.options.steps = other.session.options.steps = 3
    painted.widget.train.train.click()
    other.widget.train.train.click()
    assert painted.session.job == other.session.job == "train"
    painted.finish()
    other.finish()
    assert painted.session.adapter.digest != other.session.adapter.digest
    assert painted.session.adapter.card.training["data_shape"] == [6, 64, 64]
    assert other.session.adapter.card.training["data_shape"] == [4, 64, 64]
    other.close()


def test_buttons_that_cannot_work_say_why(desk):
    train, segment = desk.widget.train, desk.widget.segment
    assert not train.train.isEnabled()
    assert "choose an image layer" in train.train.toolTip()
    image, truth = tiny.discs(6)
    desk.open(image)
    assert "labels layer" in train.train.toolTip()
    desk.widget.annotate.new.click()
    assert "paint a class" in train.reason.text()
    assert not segment.stack.isEnabled()
    assert "train or load an adapter" in segment.stack.toolTip()
    labels = desk.session.labels
    desk.viewer.dims.set_current_step(0, 1)
    labels.data_setitem(tuple(np.nonzero(tiny.painted(truth, 1))), 1)
    desk.wait(train.train.isEnabled)
    labels.undo()
    desk.wait(lambda: not train.train.isEnabled())


def test_new_labels_lie_on_the_image(desk):
    image, _ = tiny.discs(6)
    layer, _ = desk.open(image, scale=(3, 0.5, 0.5), translate=(1, 2, 3), units=("um", "um", "um"))
    desk.widget.annotate.new.click()
    labels = desk.session.labels
    assert labels.data.shape == image.shape
    np.testing.assert_allclose(labels.scale, layer.scale)
    np.testing.assert_allclose(labels.translate, layer.translate)
    assert labels.units == layer.units
    assert desk.viewer.layers.selection.active is labels


def test_labels_of_another_shape_are_named_with_the_remedy(desk):
    image, _ = tiny.discs(6)
    desk.open(image)
    wrong = desk.viewer.add_labels(np.zeros((6, 32, 64), np.uint8), name="small")
    desk.session.set_labels(wrong)
    text = desk.widget.annotate.problem.text()
    assert "(6, 32, 64)" in text
    assert "(6, 64, 64)" in text
    assert not desk.widget.train.train.isEnabled()


def test_strokes_are_asked_about_once(desk):
    image, _ = tiny.discs(6)
    strokes = np.zeros(image.shape, np.uint8)
    strokes[1, 10:12, 5:60] = 1
    strokes[4, 20:22, 5:60] = 1
    desk.open(image, strokes)
    desk.answers = ["Background"]
    desk.train(3)
    desk.wait(lambda: desk.session.adapter is not None)
    desk.finish()
    assert len(desk.asked) == 1
    desk.train(3)
    assert len(desk.asked) == 1


def test_results_larger_than_the_limit_go_to_disk(painted, tmp_path):
    import zarr

    painted.train(3)
    painted.session.options.memory_limit = 1000
    painted.widget.segment.stack.click()
    assert painted.session.job == ""
    assert "choose a folder" in painted.problems[-1][1]
    painted.session.options.folder = tmp_path
    painted.widget.segment.stack.click()
    painted.finish()
    layer = painted.viewer.layers["discs class 1"]
    assert isinstance(layer.data, zarr.Array)
    written = zarr.open_group(tmp_path / "discs class 1.zarr", mode="r")
    np.testing.assert_array_equal(written["0"][:], np.asarray(layer.data))
    assert written.attrs["ome"]["multiscales"][0]["axes"][0]["name"] == "z"
    painted.session.options.memory_limit = 10**9
    painted.widget.segment.stack.click()
    painted.finish()
    np.testing.assert_array_equal(painted.viewer.layers[-1].data, written["0"][:])


def test_probability_layers(painted):
    painted.train(3)
    painted.widget.segment.probabilities.setChecked(True)
    painted.widget.segment.stack.click()
    painted.finish()
    found = painted.viewer.layers["discs class 1 P(class 1)"]
    labels = painted.viewer.layers["discs class 1"]
    assert found.data.dtype == np.float16
    sure = abs(found.data.astype(float) - 0.5) > 0.001  # float16 rounds
    assert sure.mean() > 0.1
    np.testing.assert_array_equal((found.data > 0.5)[sure], (labels.data == 1)[sure])


def test_the_slice_to_paint_next_is_one_click_away(painted):
    painted.train(3)
    painted.widget.next.search.click()
    painted.finish()
    ranked = [index for index, _ in painted.session.suggesting.ranked]
    assert ranked
    assert not {1, 4} & set(ranked)
    painted.widget.next.go.click()
    assert painted.session.current_slice == ranked[0]


def test_without_the_adapter_the_base_is_shown(painted):
    painted.train(30)
    painted.widget.segment.stack.click()
    painted.finish()
    painted.widget.model.compare.setChecked(False)
    painted.widget.segment.stack.click()
    painted.finish()
    layers = {layer.name: layer for layer in painted.viewer.layers}
    assert "discs class 1 (base alone)" in layers
    assert (layers["discs class 1 (base alone)"].data != layers["discs class 1"].data).any()


def test_a_damaged_adapter_is_refused_and_the_old_one_stays(painted, tmp_path):
    painted.train(3)
    assert painted.session.save_adapter(tmp_path / "good.salt.safetensors")
    kept = painted.session.adapter
    (tmp_path / "bad.safetensors").write_bytes(b"nonsense")
    assert not painted.widget.load(tmp_path / "bad.safetensors")
    assert painted.session.adapter is kept
    assert painted.problems[-1][0] == "adapter"


def test_names_and_colours_are_the_users(painted):
    item = painted.widget.annotate.table.item(0, 2)
    item.setText("nucleus")
    painted.train(3)
    info = painted.session.adapter.card.classes[0]
    assert info.name == "nucleus"
    color = painted.paint.get_color(1)
    assert info.color == "#" + "".join(f"{round(255 * c):02x}" for c in color[:3])


@pytest.mark.parametrize("orientation", ["fixed", "any"])
def test_orientation_is_what_the_user_says(painted, orientation):
    choice = painted.widget.annotate.orientation
    assert choice.currentText() == "automatic"
    choice.setCurrentText(orientation)
    choice.activated.emit(choice.currentIndex())
    painted.train(3)
    assert painted.session.adapter.card.preprocess.turns == (orientation == "any")
    assert f"orientation {orientation}" in painted.widget.model.card.toolTip()


def test_keys_collide_with_none_of_naparis():
    from app_model.types import KeyBinding
    from napari.utils.shortcuts import default_shortcuts

    from napari_salt._keys import KEYS

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


def test_a_dropped_adapter_is_loaded_and_other_files_are_declined(painted, tmp_path):
    from napari.utils.notifications import notification_manager
    from safetensors.numpy import save_file

    from napari_salt._reader import get_reader

    painted.train(3)
    painted.session.save_adapter(tmp_path / "a.salt.safetensors")
    assert get_reader(str(tmp_path / "a.salt.safetensors")) is not None
    save_file({"x": np.zeros(3)}, tmp_path / "other.safetensors")
    assert get_reader(str(tmp_path / "other.safetensors")) is None
    assert "no napari-salt adapter" in notification_manager.records[-1].message
    assert get_reader(str(tmp_path / "image.tif")) is None


def test_the_card_is_what_the_file_tells(painted):
    painted.train(3)
    card = painted.session.adapter.card
    text = painted.widget.model.card.text()
    assert card.base_model in text
    assert json.loads(card.metadata()["training"])["painted_slices"] == [1, 4]
