"""Labels on the disk: what is written, what is refused, and what is left behind."""

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_salt.io import LabelWriter, read_labels, read_stack, write_labels
from napari_salt.terms.errors import InputError
from stacks import SHAPE, imagej, names, noise, save


def geometry(folder: Path):
    return read_stack(save(folder, noise(), **imagej(unit="um", spacing=2.0)))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "int32"])
@pytest.mark.parametrize("bigtiff", [False, True])
def test_labels_come_back_with_their_geometry(tmp_path, monkeypatch, dtype, bigtiff):
    if bigtiff:
        monkeypatch.setattr("napari_salt.io._tiff._CLASSIC_BYTES", 0)
    labels = noise(dtype=dtype)
    write_labels(tmp_path / "out.tif", labels, geometry(tmp_path))
    back = read_labels(tmp_path / "out.tif")
    np.testing.assert_array_equal(back.data.compute(), labels)
    assert (back.data.dtype, back.axes) == (dtype, "ZYX")
    assert (back.spacing, back.unit) == ((2, 0.5, 0.25), "um")
    with tifffile.TiffFile(tmp_path / "out.tif") as tif:
        assert (tif.is_ome, tif.is_bigtiff, tif.series[0].axes) == (True, bigtiff, "ZYX")
        assert tif.pages[0].compression == tifffile.COMPRESSION.ADOBE_DEFLATE
        pixels = tifffile.xml2dict(tif.ome_metadata)["OME"]["Image"]["Pixels"]
        assert (pixels["PhysicalSizeZ"], pixels["PhysicalSizeXUnit"]) == (2, "µm")
    assert names(tmp_path) == ["out.tif", "stack.tif"]


def test_a_2d_image_gives_2d_labels(tmp_path):
    like = read_stack(save(tmp_path, noise((23, 31))))
    labels = noise((23, 31), "uint8")
    write_labels(tmp_path / "out.tif", labels[None], like)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), labels)
    back = read_stack(tmp_path / "out.tif")
    assert (back.was_2d, back.spacing, back.unit) == (True, None, None)


def test_an_interrupted_run_can_keep_its_slices(tmp_path):
    labels = noise(dtype="uint8")
    with LabelWriter(tmp_path / "out.tif", geometry(tmp_path), 5, "uint8") as writer:
        writer.write(0, labels[0])
        assert not (tmp_path / "out.tif").exists()
        writer.fill()
    labels[1:] = 0
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), labels)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_error_leaves_the_old_file_and_no_other(tmp_path, error):
    like = geometry(tmp_path)
    (tmp_path / "out.tif").write_text("old")
    with pytest.raises(error), LabelWriter(tmp_path / "out.tif", like, 5, "uint8") as writer:
        writer.write(0, noise(SHAPE[1:], "uint8"))
        raise error
    assert (tmp_path / "out.tif").read_text() == "old"
    assert names(tmp_path) == ["out.tif", "stack.tif"]


@pytest.mark.parametrize("name", ["out.tif", "out.zarr", "out.nii.gz"])
def test_what_a_killed_run_left_is_cleared_away(tmp_path, name):
    like = geometry(tmp_path)
    for left in (f".part.{name}", f".old.{name}"):
        (tmp_path / left / "0").mkdir(parents=True)
        (tmp_path / left / "zarr.json").write_text("{")
    write_labels(tmp_path / name, noise(dtype="uint8"), like)
    np.testing.assert_array_equal(read_labels(tmp_path / name).data.compute(), noise(dtype="uint8"))
    assert names(tmp_path) == [name, "stack.tif"]


def test_a_stack_with_gaps_is_not_written(tmp_path):
    like = geometry(tmp_path)
    labels = noise(SHAPE[1:], "uint8")
    with pytest.raises(ValueError, match="slice 1"):
        with LabelWriter(tmp_path / "out.tif", like, 5, "uint8") as writer:
            writer.write(1, labels)
    with pytest.raises(ValueError, match="only 1 of 5"):
        with LabelWriter(tmp_path / "out.tif", like, 5, "uint8") as writer:
            writer.write(0, labels)
    for wrong in (labels[:-1], labels.astype("uint16") + 300):
        with pytest.raises(ValueError, match="do not fit"):
            with LabelWriter(tmp_path / "out.tif", like, 5, "uint8") as writer:
                writer.write(0, wrong)
    with pytest.raises(ValueError, match="float32"):
        LabelWriter(tmp_path / "out.tif", like, 5, "float32")
    assert names(tmp_path) == ["stack.tif"]


def test_where_nothing_can_be_written(tmp_path, monkeypatch):
    like = geometry(tmp_path)
    (tmp_path / "folder.tif").mkdir()
    places = {
        "absent/out.tif": "does not exist",
        "out.png": ".tif",
        "folder.tif": "is a folder",
        "stack.tif": "is the input image",
    }
    for name, word in places.items():
        with pytest.raises(InputError, match=word) as caught:
            LabelWriter(tmp_path / name, like, 5, "uint8")
        assert "\n" not in str(caught.value)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(InputError, match="cannot be written to"):
        LabelWriter(tmp_path / "out.tif", like, 5, "uint8")
    assert names(tmp_path) == ["folder.tif", "stack.tif"]


def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
    like = geometry(tmp_path)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match=r"out\.tif cannot be written: No space left on device$"):
        with LabelWriter(tmp_path / "out.tif", like, 5, "uint8") as writer:
            monkeypatch.setattr(tifffile.TiffWriter, "write", full)
            writer.write(0, noise(SHAPE[1:], "uint8"))
    assert names(tmp_path) == ["stack.tif"]
