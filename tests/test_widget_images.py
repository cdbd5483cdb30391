"""Images of all kinds, chosen by the panel's controls: painted, trained on and segmented where they lie."""

import dask.array as da
import numpy as np
import pytest
import zarr

pytest.importorskip("pytestqt")

import napari_salt as ns
import tiny
from hands import CTRL
from napari_salt.core.adapt.adapter import Adapter
from napari_salt.engine._requests import Stop

pytestmark = pytest.mark.gui

DISCS, TRUTH = tiny.discs(6)
OTHER = DISCS.max() - DISCS
FINE = DISCS.repeat(2, 1).repeat(2, 2)
UNITS = {2: ("um", "um"), 3: ("um",) * 3, 4: ("second", "um", "um", "um")}


def colour(*planes):
    return np.stack(planes, -1)


# What is opened and how, what is chosen, the stack that this is, and the shape of its labels.
CASES = {
    "2D": (DISCS[1], {}, {}, DISCS[1:2], (64, 64)),
    "dask": (da.from_array(DISCS, chunks=(1, 32, 64)), {}, {}, DISCS, (6, 64, 64)),
    "zarr": (zarr.array(DISCS), {}, {}, DISCS, (6, 64, 64)),
    "TZYX": (DISCS.reshape(2, 3, 64, 64), {}, {}, DISCS, (2, 3, 64, 64)),
    "RGB": (
        (colour(DISCS, OTHER, DISCS) // 12).astype(np.uint8), {"rgb": True}, {},
        (colour(DISCS, OTHER, DISCS) // 12).astype(np.uint8), (6, 64, 64),
    ),
    "one of the channels": (
        np.stack([OTHER, DISCS]), {}, {"axis": "axis 0 (2)", "channels": "1"}, DISCS, (6, 64, 64),
    ),
    "a channel in the middle": (
        np.stack([OTHER, DISCS], 1), {}, {"axis": "axis 1 (2)", "channels": "1"}, DISCS, (6, 1, 64, 64),
    ),
    "three channels as colour": (
        np.stack([DISCS, OTHER, OTHER // 2, DISCS]), {}, {"axis": "axis 0 (4)", "channels": "0,1,3"},
        colour(DISCS, OTHER, DISCS), (6, 64, 64),
    ),
    "a coarser level": (
        [FINE, DISCS], {"multiscale": True}, {"level": 1}, DISCS, (6, 64, 64),
    ),
}  # fmt: skip


def choose(desk, *, axis=None, channels=None, level=None):
    """Set the controls of the Annotate panel."""
    hands = desk.hands
    if level is not None:
        hands.type("level", str(level), "Image")
    if axis is not None:
        hands.choose("channels", axis, "Image")
    if channels is not None:
        hands.type("One channel, or up to three", channels, "Image")


def paint(desk, *slices):
    """Press New and paint what is true on some slices, all at once by napari's own call."""
    desk.hands.press("New")
    source, labels = desk.session.source, desk.session.labels
    for index in slices:
        rows, columns = np.nonzero(TRUTH[index])
        desk.session.go_to(index)
        place = [np.full(rows.shape, i) for i in source.place(index)]
        labels.data_setitem((*place, rows, columns), 1)
    desk.wait(lambda: desk.hands.entries("painted") == [str(index) for index in slices])
    return labels


def corners(layer):
    """World positions of the first pixel's near corner and the last one's far corner."""
    shape = np.array((layer.data[0] if layer.multiscale else layer.data).shape[: layer.ndim])
    return np.array([layer.data_to_world(shape * 0 - 0.5), layer.data_to_world(shape - 0.5)])


def matches(layer, image, shape):
    """Whether a layer of `shape` covers just what the image covers, in its units."""
    assert layer.data.shape == shape
    axes = [a for a in range(image.ndim) if image.ndim == layer.ndim or a]
    covered = [a for a, length in zip(axes, shape, strict=True) if length > 1]
    where = corners(image)[:, covered]
    np.testing.assert_allclose(corners(layer)[:, [axes.index(a) for a in covered]], where)
    assert list(layer.units) == [image.units[a] for a in axes]


@pytest.mark.parametrize(("data", "how", "chosen", "plain", "shape"), CASES.values(), ids=CASES)
def test_it_is_painted_trained_on_and_segmented_where_it_lies(desk, data, how, chosen, plain, shape):
    ndim = (data[0] if "multiscale" in how else data).ndim - how.get("rgb", False)
    placed = {"scale": np.arange(2, 2 + ndim) / 2, "translate": np.arange(3, 3 + ndim), "units": UNITS[ndim]}
    image, _ = desk.open(data, **how, **placed)
    choose(desk, **chosen)
    slices = (0,) if len(plain) == 1 else (1, 4)
    labels = paint(desk, *slices)
    matches(labels, image, shape)
    desk.session.options.change("train", learning_rate=1e-2)  # with the usual one so few steps find nothing
    desk.train(20)
    assert desk.session.adapter.card.preprocess.channels == (3 if plain.ndim == 4 else 1)
    desk.segment()
    assert not desk.problems
    assert desk.session.segmenting.progress == (len(plain), len(plain))
    result = desk.viewer.layers[-1]
    matches(result, image, shape)
    adapter = Adapter.from_bytes(desk.session.adapter.content)
    config = ns.SegmentConfig(device="cpu", group=3 if shape == (2, 3, 64, 64) else None)
    expected = ns.segment(plain, adapter, config, pixel_size=desk.session.source.pixel_size)
    found = np.asarray(result.data).reshape(expected.shape)
    assert (found == expected).mean() >= 0.999  # this process may have another number of threads
    assert found.any()


def test_one_time_point_is_painted_and_all_are_segmented(desk):
    desk.open(DISCS.reshape(2, 3, 64, 64))
    labels = paint(desk, 1, 2)
    assert not labels.data[1].any()
    desk.train(4)
    assert desk.session.adapter.card.training["painted_slices"] == [1, 2]
    desk.segment()
    result = desk.viewer.layers[-1].data
    assert result.shape == (2, 3, 64, 64)
    assert result[0].any()
    assert result[1].any()


def test_a_channel_that_is_not_there_is_told_and_changes_nothing(desk):
    image, _ = desk.open(np.stack([OTHER, DISCS]))
    choose(desk, axis="axis 0 (2)", channels="1")
    hands = desk.hands
    for wrong, named in (("5", "channel 5"), ("0,1,0-3", "4 channels"), ("one", "'one'")):
        choose(desk, channels=wrong)
        assert named.lower() in desk.problems[-1].lower()
        assert hands.reads(named, "Image")
        source = desk.session.source
        assert (source.layer, source.channel_axis, source.channels) == (image, 0, (1,))
        assert hands.value("One channel, or up to three", "Image") == "1"
    choose(desk, channels="0")
    assert desk.session.source.channels == (0,)
    assert not hands.reads("'one'", "Image")


def test_what_the_engine_logs_is_in_naparis_log(desk, caplog):
    image = DISCS.astype(np.float32)
    image[1, 30, 30:33] = np.nan
    desk.open(image, tiny.painted(TRUTH, 1, 4))
    desk.begin()
    desk.wait(lambda: "slice 1 has 3 pixels that are not finite" in caplog.text)
    desk.wait(lambda: desk.session.adapter is not None)
    desk.hands.press("Stop", "Train")
    desk.finish()
    caplog.clear()
    desk.hands.type("0-9, 20", "1", "Segment")
    desk.hands.press("Range")
    desk.finish()
    desk.session.engine.send(Stop())  # as if pressed when the job was just over
    desk.hands.wheel(1, CTRL)
    desk.wait(lambda: (shown := desk.session.previewing._shown) and shown.index == 1)
    assert not desk.problems


def test_the_controls_show_what_is_chosen_of_each_image(desk):
    pyramid, _ = desk.open([FINE, DISCS], multiscale=True)
    choose(desk, level=1)
    other = desk.viewer.add_image([FINE, DISCS], multiscale=True, name="other")
    for layer in (other, pyramid):
        desk.hands.choose("image", layer.name, "Image")
        assert desk.session.source.layer is layer
        assert desk.hands.value("level", "Image") == "0"
        assert desk.session.source.level == 0
