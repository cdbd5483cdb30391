"""Stacks as napari layers and labels layers as files: what lies where."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

pytest.importorskip("pytestqt")

import SimpleITK as sitk  # noqa: N813
import tifffile
from napari.components import ViewerModel
from napari.layers import Labels

import dicoms
from napari_salt.gui._reader import get_stack_reader
from napari_salt.io import read_labels, read_stack, write_labels
from napari_salt.session._layer_files import layers_of, save_labels
from napari_salt.session._layers import OPENING
from napari_salt.terms.card import ClassInfo
from napari_salt.terms.errors import InputError
from stacks import AFFINE, SHAPE, nifti, noise, save

CLASSES = (ClassInfo(3, "anterior", "#ff8000"), ClassInfo(7, "posterior", "#0000ff"))
LABELS = np.where(noise() > 150, 7, np.where(noise() > 100, 3, 0)).astype(np.uint8)


def opened(path):
    """A viewer with the layers of a file, as napari adds them."""
    viewer = ViewerModel()
    for data, kwargs, kind in get_stack_reader([str(path)])([str(path)]):
        getattr(viewer, f"add_{kind}")(data, **kwargs)
    return viewer


def saved(viewer, path, layer=None):
    """Save a labels layer as napari hands it to a writer."""
    data, meta, _ = (layer or viewer.layers[-1]).as_layer_data_tuple()
    save_labels(path, data, meta, viewer.layers)
    return path


def paint(viewer, values=LABELS):
    """A labels layer on the first, as napari's own button makes it."""
    first = viewer.layers[0]
    labels = Labels(values, scale=first.scale, translate=first.translate, units=first.units)
    viewer.add_layer(labels)
    return labels


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha", "d"])
def test_a_volume_is_a_layer_with_its_geometry(tmp_path, name):
    path = tmp_path / name
    if name == "d":
        dicoms.series(path, noise(), origin=(3, 4, 5))
    else:
        image = sitk.GetImageFromArray(noise())
        image.SetSpacing((0.75, 0.5, 2.5))
        image.SetOrigin((3, 4, 5))
        sitk.WriteImage(image, str(path))
    layer = opened(path).layers[0]
    np.testing.assert_array_equal(np.asarray(layer.data), noise())
    np.testing.assert_allclose(layer.scale, (2.5, 0.5, 0.75), rtol=1e-5)
    np.testing.assert_allclose(layer.translate, (5, 4, 3), rtol=1e-5)
    assert layer.axis_labels == ("z", "y", "x")
    assert [str(unit) for unit in layer.units] == ["millimeter"] * 3
    assert layer.name == path.name.partition(".")[0]


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".seg.nrrd", ".mha"])
def test_labels_on_an_image_are_saved_where_it_lies(tmp_path, ending):
    """Directions in space, which a layer cannot hold, are those of the image below."""
    image = nifti(tmp_path / "image.nii.gz", noise(), affine=AFFINE)
    viewer = opened(image)
    paint(viewer)
    out = saved(viewer, tmp_path / f"out{ending}")
    like = read_stack(image)
    found = read_labels(out, like=like)
    np.testing.assert_array_equal(found.data.compute(), LABELS)
    np.testing.assert_allclose(read_labels(out).affine, like.affine, atol=1e-4)
    if ending == ".nii.gz":
        np.testing.assert_array_equal(nib.load(out).affine, nib.load(image).affine)


def test_labels_that_were_moved_do_not_get_the_images_place(tmp_path):
    viewer = opened(nifti(tmp_path / "image.nii.gz", noise(), affine=AFFINE))
    labels = paint(viewer)
    labels.translate = labels.translate + 2
    moved = read_labels(saved(viewer, tmp_path / "out.nrrd"))
    assert not np.allclose(moved.affine, read_stack(tmp_path / "image.nii.gz").affine)
    np.testing.assert_allclose(moved.affine[:3, 3] * [-1, -1, 1], labels.translate[::-1], rtol=1e-5)


@pytest.mark.parametrize("ending", [".zarr", ".tif", ".nii.gz", ".nrrd"])
def test_labels_of_a_microscope_keep_their_size(tmp_path, ending):
    metadata = {"axes": "ZYX", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 2.0}
    image = read_stack(save(tmp_path, noise(), ome=True, metadata=metadata))
    viewer = ViewerModel()
    labels = LABELS.astype(np.int64)
    viewer.add_labels(labels, scale=(2, 0.5, 0.25), units=("um",) * 3)
    found = read_labels(saved(viewer, tmp_path / f"out{ending}"), like=image)
    np.testing.assert_array_equal(found.data.compute(), LABELS)
    assert found.data.dtype == np.uint8
    assert found.pixel_size == pytest.approx(image.pixel_size)
    if ending == ".tif":
        with tifffile.TiffFile(tmp_path / "out.tif") as tif:
            assert tif.is_ome


def test_segments_are_labels_with_names_and_colours(tmp_path):
    image = read_stack(nifti(tmp_path / "image.nii", noise()))
    write_labels(tmp_path / "a.seg.nrrd", LABELS, image, CLASSES)
    viewer = opened(tmp_path / "a.seg.nrrd")
    layer = viewer.layers[0]
    assert isinstance(layer, Labels)
    np.testing.assert_allclose(layer.get_color(3), (1, 128 / 255, 0, 1), atol=1e-3)
    layer.data[0, :3, :3] = 7
    again = read_labels(saved(viewer, tmp_path / "b.seg.nrrd"))
    assert again.classes == CLASSES
    np.testing.assert_array_equal(again.data.compute(), layer.data)


def test_all_series_of_a_folder_and_all_time_points_are_opened(tmp_path):
    dicoms.series(tmp_path / "d/a", noise(), SeriesDescription="T1")
    dicoms.series(tmp_path / "d/b", noise((3, 9, 8)), SeriesDescription="T2", SeriesInstanceUID="1.9")
    viewer = opened(tmp_path / "d")
    assert [layer.name for layer in viewer.layers] == ["T1 5x23x31", "T2 3x9x8"]
    nib.save(nib.Nifti1Image(noise((2, *SHAPE)).T, np.diag([2, 2, 3, 1])), tmp_path / "t.nii")
    layer = opened(tmp_path / "t.nii").layers[0]
    np.testing.assert_array_equal(np.asarray(layer.data), noise((2, *SHAPE)))
    assert layer.axis_labels == ("t", "z", "y", "x")
    np.testing.assert_allclose(layer.scale, (1, 3, 2, 2))


def test_channels_are_layers_which_projects_can_open_again(tmp_path):
    """They are not taken for time points or slices."""
    array = noise((5, 2, 23, 31), "uint16")
    tifffile.imwrite(tmp_path / "a.b.tif", array, imagej=True, metadata={"axes": "ZCYX"})
    layers = opened(tmp_path / "a.b.tif").layers
    assert [layer.name for layer in layers] == ["a channel 0", "a channel 1"]
    for channel, layer in enumerate(layers):
        np.testing.assert_array_equal(np.asarray(layer.data), array[:, channel])
        assert layer.axis_labels == ("z", "y", "x")
        assert layer.metadata[OPENING] == {"channel": channel}
    many = np.zeros((40, 1, 2, 2), np.uint16)
    tifffile.imwrite(tmp_path / "many.ome.tif", many, metadata={"axes": "CZYX"})
    with pytest.raises(InputError, match="has 40 channels"):
        layers_of(tmp_path / "many.ome.tif")


def test_what_is_not_read_or_written(tmp_path):
    (tmp_path / "a.txt").write_text("")
    for path in (tmp_path / "a.txt", tmp_path / "no.nii", [str(tmp_path)] * 2):
        assert get_stack_reader(path if isinstance(path, list) else str(path)) is None
    (tmp_path / "b.nii").write_bytes(b"text")
    with pytest.raises(InputError, match=r"b\.nii is not a NIfTI file, or is damaged"):
        layers_of(tmp_path / "b.nii")
    tifffile.imwrite(tmp_path / "c.tif", np.zeros((2, 2, 3, 4, 5), np.uint8), photometric="minisblack")
    with pytest.raises(InputError, match=r"can mean several things.*or open it with napari's own reader"):
        layers_of(tmp_path / "c.tif")
    viewer = ViewerModel()
    viewer.add_labels(-LABELS.astype(int))
    with pytest.raises(InputError, match="the labels have the value -7"):
        saved(viewer, tmp_path / "o.nrrd")
    with pytest.raises(InputError, match="labels of 5 axes cannot be written"):
        save_labels(tmp_path / "o.nrrd", np.zeros((1,) * 5, np.uint8), {})
    turned = viewer.add_labels(LABELS, rotate=30)
    with pytest.raises(InputError, match="rotated cannot be written"):
        saved(viewer, tmp_path / "o.nrrd", turned)
    assert not (tmp_path / "o.nrrd").exists()


@pytest.mark.gui
def test_napari_opens_and_saves_by_the_manifest(make_napari_viewer, tmp_path):
    """File > Open and File > Save, as napari finds the commands; a TIFF is napari's own as before."""
    dicoms.series(tmp_path / "d", noise())
    viewer = make_napari_viewer()
    viewer.open(nifti(tmp_path / "image.nii.gz", noise()), plugin="napari-salt")
    viewer.open(tmp_path / "d", plugin="napari-salt")
    assert [layer.name for layer in viewer.layers] == ["image", "d"]
    labels = paint(viewer)
    for name in ("out.nii.gz", "out.nrrd", "out.zarr"):
        assert labels.save(str(tmp_path / name)) == [str(tmp_path / name)]
    np.testing.assert_allclose(read_labels(tmp_path / "out.zarr").origin, labels.translate)
    with pytest.warns(UserWarning, match="keeps the voxel size, but not the position of the layer"):
        labels.save(str(tmp_path / "out.ome.tif"))
    theirs = nib.load(tmp_path / "out.nii.gz")
    np.testing.assert_array_equal(theirs.dataobj, LABELS.T)
    np.testing.assert_array_equal(theirs.affine, nib.load(tmp_path / "image.nii.gz").affine)
    assert read_labels(tmp_path / "out.ome.tif").spacing == pytest.approx(labels.scale)
    tifffile.imwrite(tmp_path / "own.tif", noise(dtype="uint8"), photometric="minisblack")
    assert viewer.open(Path(tmp_path / "own.tif"))[0].source.reader_plugin == "napari"
