"""Opening napari with files from the command line."""

import numpy as np
import pytest

pytest.importorskip("pytestqt")

import tiny
from napari_salt.gui._commands import open_widget
from napari_salt.gui._launcher import open_files
from napari_salt.io import read_stack, write_labels

pytestmark = pytest.mark.gui


def test_stacks_are_opened_with_their_voxel_size(make_napari_viewer, tmp_path):
    import tifffile

    image, _ = tiny.discs(6)
    about = {"axes": "ZYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 2.0}
    units = {f"PhysicalSize{axis}Unit": "µm" for axis in "XYZ"}
    tifffile.imwrite(tmp_path / "discs.ome.tif", image, metadata={**about, **units})
    viewer = make_napari_viewer()
    open_files(viewer, [tmp_path / "discs.ome.tif"])
    layer = viewer.layers[0]
    np.testing.assert_array_equal(np.asarray(layer.data), image)
    np.testing.assert_allclose(layer.scale, (2, 0.5, 0.5))
    assert open_widget(viewer).session.source.pixel_size == pytest.approx(0.5)


def test_zarr_and_2d_images_are_opened(make_napari_viewer, tmp_path):
    import tifffile

    _, truth = tiny.discs(3)
    tifffile.imwrite(tmp_path / "flat.tif", truth[0])
    tifffile.imwrite(tmp_path / "stack.tif", truth, photometric="minisblack")
    write_labels(tmp_path / "stack.zarr", truth, read_stack(tmp_path / "stack.tif"))
    viewer = make_napari_viewer()
    open_files(viewer, [tmp_path / "flat.tif", tmp_path / "stack.zarr"])
    assert [layer.data.shape for layer in viewer.layers] == [(64, 64), (3, 64, 64)]


def test_an_adapter_among_the_files_is_loaded_into_the_widget(make_napari_viewer, tmp_path):
    tiny.adapter().save(tmp_path / "a.salt.safetensors")
    viewer = make_napari_viewer()
    widget = open_widget(viewer)
    open_files(viewer, [tmp_path / "a.salt.safetensors"])
    assert widget.session.adapter.path == tmp_path / "a.salt.safetensors"
    assert not viewer.layers
