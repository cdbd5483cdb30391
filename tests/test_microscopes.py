"""Files of microscopes, read by bioio: a CZI as Zeiss's own library writes it."""

import dask
import dask.array as da
import numpy as np
import pytest
import tifffile

import napari_salt as ns
from napari_salt.io._series import SeveralImagesError
from napari_salt.terms.errors import InputError, UnreadableError

pytest.importorskip("bioio", reason="needs napari-salt[microscopes]")

from napari_salt.io._bioio import _Scene, open_bioio

SIZES = {"scale_x": 0.25e-6, "scale_y": 0.25e-6, "scale_z": 2e-6}


def czi(path, *, channels=1, sizes=SIZES):
    """A file of 3 slices for each channel; its voxels, (C, Z, Y, X)."""
    pytest.importorskip("bioio_czi", reason="needs bioio-czi")
    library = pytest.importorskip("pylibCZIrw.czi", reason="needs pylibCZIrw, which writes CZI")
    values = np.random.default_rng(0).integers(0, 4000, (channels, 3, 20, 30)).astype(np.uint16)
    with library.create_czi(str(path)) as file:
        for channel, z in np.ndindex(values.shape[:2]):
            file.write(values[channel, z, :, :, None], plane={"C": channel, "Z": z})
        file.write_metadata("stack", **sizes)
    return values


def test_a_stack_is_read_slice_by_slice_with_its_size(tmp_path):
    values = czi(tmp_path / "a.czi")
    stack = ns.read_stack(tmp_path / "a.czi")
    assert (stack.data.shape, stack.data.dtype, stack.axes) == ((3, 20, 30), np.uint16, "ZYX")
    np.testing.assert_allclose(stack.spacing, (2, 0.25, 0.25))
    assert stack.unit == "um"
    assert stack.data.chunksize == (1, 20, 30)
    np.testing.assert_array_equal(stack.data.compute(), values[0])
    with dask.config.set(scheduler="processes", num_workers=1):
        np.testing.assert_array_equal(stack.data[1].compute(), values[0, 1])


def test_channels_are_chosen_and_unknown_sizes_stay_unknown(tmp_path):
    values = czi(tmp_path / "a.czi", channels=2, sizes={})
    with pytest.raises(InputError, match="--channel"):
        ns.read_stack(tmp_path / "a.czi")
    stack = ns.read_stack(tmp_path / "a.czi", channel=1)
    np.testing.assert_array_equal(stack.data.compute(), values[1])
    assert stack.pixel_size is None


def test_a_scene_is_chosen(tmp_path):
    pytest.importorskip("bioio_tifffile", reason="needs bioio-tifffile")
    values, path = (
        np.random.default_rng(0).integers(0, 99, (2, 3, 20, 30)).astype(np.uint8),
        tmp_path / "a.tif",
    )
    with tifffile.TiffWriter(path) as file:
        for scene in values:
            file.write(scene, photometric="minisblack", metadata={"axes": "ZYX"})
    with pytest.raises(SeveralImagesError, match="2 scenes") as several:
        open_bioio(path, None)
    for number, name in enumerate(several.value.names):
        for series in (str(number), name):
            opened = open_bioio(path, "ZYX", series=series)
            np.testing.assert_array_equal(opened.array[1:2, :, 5:9], values[number, 1:2, :, 5:9])


@pytest.mark.parametrize(("name", "plugin"), [("a.dv", "bioio-dv"), ("a.vsi", "bioio-bioformats")])
def test_what_is_missing_is_named(tmp_path, name, plugin):
    (tmp_path / name).write_bytes(b"nothing")
    with pytest.raises(InputError, match=f"{name} needs {plugin}: pip install {plugin}"):
        ns.read_stack(tmp_path / name)


@pytest.mark.parametrize("name", ["a.czi", "a.lif", "a.nd2"])
def test_a_damaged_file_is_told(tmp_path, name):
    (tmp_path / name).write_bytes(b"nothing")
    with pytest.raises(InputError, match=name):
        ns.read_stack(tmp_path / name)


def test_a_scan_that_the_plugin_does_not_know_is_told_of(tmp_path):
    """As bioio-lif fails on sections in depth and on sweeps over wavelengths."""

    def fail(_block):
        raise ValueError("cannot select frame dimension 'Z'")

    data = da.zeros((1, 4, 5), chunks=(1, 4, 5)).map_blocks(fail, meta=np.empty(0), dtype=float)
    scene = _Scene(tmp_path / "a.lif", data, [0, 1, 2])
    with pytest.raises(UnreadableError, match=r"a\.lif: bioio-lif cannot read this scene .*as OME-TIFF"):
        scene[:1, :, :]
