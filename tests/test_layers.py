"""Layers of any axes as flat stacks of slices, and what is put back; no Qt."""

import dask.array as da
import numpy as np
import pytest
import zarr
from napari.components import ViewerModel
from napari.layers import Image, Labels

from napari_salt.io._zarr import ZarrPlanes
from napari_salt.session._colors import colormap_of
from napari_salt.session._image_source import ImageSource
from napari_salt.session._layers import Output, Overlay, accept_mask, new_labels
from napari_salt.terms.card import ClassInfo
from napari_salt.terms.errors import InputError
from napari_salt.terms.events import Preview

RANDOM = np.random.default_rng(0)
CELL = ClassInfo(5, "cell", "#ff0000")
COLORS = colormap_of([CELL])
GREY, ZYX, TZYX = (RANDOM.integers(0, 255, shape, np.uint8) for shape in ((9, 8), (4, 9, 8), (3, 4, 9, 8)))
RGBA, ZRGB = (RANDOM.integers(0, 255, shape, np.uint8) for shape in ((9, 8, 4), (4, 9, 8, 3)))
CASES = {
    "2D": (GREY, {}, {}, (1, 9, 8), lambda i: GREY),
    "stack": (ZYX, {}, {}, (4, 9, 8), lambda i: ZYX[i]),
    "time series": (TZYX, {}, {}, (12, 9, 8), lambda i: TZYX[i // 4, i % 4]),
    "RGB with alpha": (RGBA, {"rgb": True}, {}, (1, 9, 8, 3), lambda i: RGBA[..., :3]),
    "RGB stack": (ZRGB, {"rgb": True}, {}, (4, 9, 8, 3), lambda i: ZRGB[i]),
    "one of the channels": (
        TZYX, {}, {"channel_axis": 0, "channels": (2,)}, (4, 9, 8), lambda i: TZYX[2, i],
    ),
    "channels in the middle": (
        TZYX, {}, {"channel_axis": 1, "channels": (3,)}, (3, 9, 8), lambda i: TZYX[i, 3],
    ),
    "three channels as colour": (
        TZYX, {}, {"channel_axis": 0, "channels": (2, 0, 1)}, (4, 9, 8, 3),
        lambda i: np.stack([TZYX[2, i], TZYX[0, i], TZYX[1, i]], -1),
    ),
    "two channels as colour": (
        TZYX, {}, {"channel_axis": 0, "channels": (2, 0)}, (4, 9, 8, 3),
        lambda i: np.stack([TZYX[2, i], TZYX[0, i], 0 * TZYX[0, i]], -1),
    ),
    "dask": (da.from_array(ZYX, chunks=(1, 4, 4)), {}, {}, (4, 9, 8), lambda i: ZYX[i]),
    "zarr": (zarr.array(ZYX), {}, {}, (4, 9, 8), lambda i: ZYX[i]),
    "a coarser level": (
        [ZYX.repeat(2, 1).repeat(2, 2), ZYX], {"multiscale": True}, {"level": 1}, (4, 9, 8), lambda i: ZYX[i],
    ),
}  # fmt: skip


@pytest.fixture(params=CASES)
def case(request):
    data, layer, choice, shape, plane = CASES[request.param]
    viewer = ViewerModel()
    source = ImageSource(viewer.add_image(data, **layer), **choice)
    return viewer, source, shape, plane


def test_slices_are_those_of_the_array(case):
    _, source, shape, plane = case
    assert source.stack.shape == shape
    for index in range(shape[0]):
        np.testing.assert_array_equal(source.stack[index], plane(index))


def test_labels_made_for_an_image_fit_it(case):
    viewer, source, shape, _ = case
    labels = new_labels(viewer, source)
    flat = source.labels_stack(labels)
    assert flat.shape == shape[:3]
    index = shape[0] - 1
    mask = np.zeros(shape[1:3], bool)
    mask[2:4, 3:6] = True
    assert accept_mask(labels, source, index, mask, 7) == 6
    np.testing.assert_array_equal(flat[index] == 7, mask)
    labels.undo()
    assert not np.any(labels.data)


def test_the_viewer_goes_to_any_slice_and_says_which_it_shows(case):
    viewer, source, shape, _ = case
    new_labels(viewer, source)
    for index in (0, shape[0] - 1, shape[0] // 2):
        viewer.dims.point = source.world_of_slice(index, viewer.dims.point)
        assert source.current_slice(viewer.dims.point) == index


def test_a_pixel_of_the_image_and_of_its_labels_are_at_one_place(case):
    viewer, source, _, _ = case
    source.layer.scale = np.arange(2, 2 + source.layer.ndim) / 2
    source.layer.translate = np.arange(source.layer.ndim)
    labels = new_labels(viewer, source)
    world = np.array(labels.data_to_world([0] * (labels.ndim - 2) + [5, 3]))
    point = np.zeros(viewer.dims.ndim)
    point[-labels.ndim :] = world
    np.testing.assert_allclose(source.pixel_at(point), (5, 3))


def test_an_overlay_lies_where_its_pixels_are(case):
    viewer, source, _, _ = case
    source.layer.scale = [3] * source.layer.ndim
    source.layer.translate = [1] * source.layer.ndim
    overlay = Overlay(viewer, "over")
    overlay.show(source, Preview(0, 2, 1, np.ones((3, 4), np.uint8)), COLORS)
    layer = viewer.layers["over"]
    labels = new_labels(viewer, source)
    place = labels.data_to_world([0] * (labels.ndim - 2) + [2, 1])
    np.testing.assert_allclose(layer.data_to_world((0, 0)), place[-2:])
    overlay.show(source, Preview(0, 0, 0, np.ones((5, 5), np.uint8)), COLORS)
    assert layer.data.shape == (5, 5)
    overlay.remove()
    assert "over" not in viewer.layers


def test_output_is_written_slice_by_slice(case):
    viewer, source, shape, _ = case
    painted = new_labels(viewer, source)
    data = np.zeros(source.label_shape, np.uint8)
    maps = [np.zeros(source.label_shape, np.float16)]
    output = Output(viewer, source, "out", data, [CELL], COLORS, maps)
    found = np.full(shape[1:3], 5, np.uint8)
    probabilities = np.full((2, *shape[1:3]), 0.25, np.float32)
    output.write(shape[0] - 1, found, probabilities)
    flat = source.labels_stack(viewer.layers["out"])
    assert (flat[shape[0] - 1] == 5).all()
    assert (viewer.layers["out P(cell)"].data[source.place(shape[0] - 1)] == 0.25).all()
    assert np.count_nonzero(data) == found.size
    assert viewer.layers.selection.active is painted
    viewer.layers.remove("out")
    assert not output.alive


@pytest.mark.parametrize(
    ("choice", "named"),
    [
        ({"channel_axis": 2, "channels": (0,)}, "channel axis 2"),
        ({"channel_axis": 0, "channels": (3,)}, "channel 3"),
        ({"channel_axis": 0, "channels": (0, 1, 2, 0)}, "4 channels"),
        ({"channel_axis": 0, "channels": ()}, "0 channels"),
    ],
)
def test_channels_that_are_not_there_are_named(choice, named):
    with pytest.raises(InputError, match=named):
        ImageSource(Image(TZYX), **choice)


ON_DISK = {
    "ZYX": (ZYX, (9, 2, 8), ("um",) * 3, [{"name": axis, "unit": "micrometer"} for axis in "zyx"]),
    "TYX": (
        ZYX, (9, 2, 8), ("second", "um", "um"),
        [{"name": "t", "unit": "second"}, *({"name": axis, "unit": "micrometer"} for axis in "yx")],
    ),
    "TZYX": (
        TZYX, (30, 9, 2, 8), ("second", "nm", "nm", "nm"),
        [{"name": "t", "unit": "second"}, *({"name": axis, "unit": "nanometer"} for axis in "zyx")],
    ),
    "YX": (GREY, (2, 8), ("pixel",) * 2, [{"name": "y"}, {"name": "x"}]),
}  # fmt: skip


@pytest.mark.parametrize(("data", "scale", "units", "axes"), ON_DISK.values(), ids=ON_DISK)
def test_labels_on_disk_lie_on_the_image(tmp_path, data, scale, units, axes):
    translate = np.arange(1, 1 + data.ndim)
    source = ImageSource(Image(data, scale=scale, translate=translate, units=units))
    array = ZarrPlanes(tmp_path / "out.zarr", source.layout("out", np.dtype(np.uint8))).array
    assert array.shape == data.shape
    assert array.chunks == (*(1 for _ in data.shape[:-2]), 9, 8)
    (image,) = zarr.open_group(tmp_path / "out.zarr").attrs["ome"]["multiscales"]
    found = [{key: entry[key] for key in ("name", "unit") if key in entry} for entry in image["axes"]]
    assert found == axes
    first, second = image["datasets"][0]["coordinateTransformations"]
    assert (first["scale"], second["translation"]) == (list(scale), _after_time(axes, translate))


def _after_time(axes, translate):
    """Time points are counted from 0."""
    return [0 if axis["name"] == "t" else place for axis, place in zip(axes, translate, strict=True)]


def test_a_level_that_is_not_there_is_named():
    with pytest.raises(InputError, match="level 2"):
        ImageSource(Image([ZYX, ZYX[:, ::2, ::2]], multiscale=True), level=2)


def test_labels_of_another_shape_are_refused():
    source = ImageSource(Image(ZYX))
    with pytest.raises(InputError, match=r"\(4, 9, 7\).*\(4, 9, 8\)"):
        source.labels_stack(Labels(np.zeros((4, 9, 7), np.uint8)))


@pytest.mark.parametrize(("unit", "expected"), [("nm", 0.004), ("um", 4.0), ("mm", 4000.0), ("pixel", None)])
def test_pixel_size_in_micrometres(unit, expected):
    source = ImageSource(Image(ZYX, scale=(9, 2, 8), units=(unit,) * 3))
    assert source.pixel_size == (None if expected is None else pytest.approx(expected))


def test_pixel_size_of_a_coarser_level():
    layer = Image([ZYX.repeat(2, 1).repeat(2, 2), ZYX], multiscale=True, units=("um",) * 3)
    assert ImageSource(layer, level=1).pixel_size == pytest.approx(2)


def test_rotated_and_sheared_images_have_rotated_labels():
    viewer = ViewerModel()
    layer = viewer.add_image(ZYX, rotate=30, shear=[0, 0.2, 0.1], affine=np.diag([1, 2, 2, 1.0]))
    labels = new_labels(viewer, ImageSource(layer))
    for place in ((0, 0, 0), (3, 8, 7), (1, 2, 5)):
        np.testing.assert_allclose(labels.data_to_world(place), layer.data_to_world(place))


def test_preserved_labels_are_not_painted_over():
    viewer = ViewerModel()
    source = ImageSource(viewer.add_image(ZYX))
    labels = new_labels(viewer, source)
    labels.data[1, 0, 0] = 2
    labels.preserve_labels = True
    assert accept_mask(labels, source, 1, np.ones((9, 8), bool), 1) == 71
    assert labels.data[1, 0, 0] == 2
