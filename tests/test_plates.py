"""OME-Zarr plates and labels, as the ome-zarr package writes them."""

import dask
import numpy as np
import pytest
import zarr
from ome_zarr.writer import write_image, write_labels, write_plate_metadata, write_well_metadata

import napari_salt as ns
from napari_salt.io._project_files import sources_of
from napari_salt.io._series import SeveralImagesError
from napari_salt.session import _layer_files
from napari_salt.terms.errors import InputError
from stacks import noise

WELLS = ("A/1", "B/12")
FIELDS = ("0", "1", "10")
NAMES = [f"{well}/{field}" for well in WELLS for field in FIELDS]
SHAPE = (2, 8, 9)


def write_stack(group, array):
    write_image(array, group, axes="zyx", scale_factors=())


@pytest.fixture
def plate(tmp_path):
    """A plate of two wells with three fields each; a field's voxels are its number among all."""
    root = zarr.open_group(tmp_path / "plate.zarr", mode="w")
    write_plate_metadata(root, rows=["A", "B"], columns=["1", "12"], wells=list(WELLS))
    for well in WELLS:
        group = root.create_group(well)
        write_well_metadata(group, list(FIELDS))
        for field in FIELDS:
            number = NAMES.index(f"{well}/{field}")
            write_stack(group.create_group(field), np.full(SHAPE, number, np.uint8))
    return tmp_path / "plate.zarr"


def test_a_field_of_a_plate_is_chosen(plate):
    with pytest.raises(SeveralImagesError, match=r"6 images .*0: A/1/0, 1: A/1/1, .*--series") as several:
        ns.read_stack(plate)
    assert list(several.value.names) == NAMES
    for number, name in enumerate(NAMES):
        for series in (number, name, name.lower()):
            stack = ns.read_stack(plate, series=series)
            assert np.unique(stack.data.compute()).tolist() == [number]
    with dask.config.set(scheduler="processes", num_workers=1):
        assert int(stack.data[0, 0, 0].compute()) == number
    with pytest.raises(InputError, match=r"fits 3 of the 6"):
        ns.read_stack(plate, series="B/12")
    with pytest.raises(InputError, match="leave out --series 3"):
        ns.read_stack(plate / "A/1/0", series=3)


def test_napari_opens_a_plate_that_is_small(plate, monkeypatch):
    layers = _layer_files.layers_of(plate)
    assert [about["name"] for _, about, _ in layers] == NAMES
    monkeypatch.setattr(_layer_files, "MOST_IMAGES", 5)
    with pytest.raises(InputError, match=r"holds 6 images .*open one by its path"):
        _layer_files.layers_of(plate)


def test_labels_of_an_image_are_found_in_it(tmp_path, plate):
    image, nuclei = noise(SHAPE), np.zeros(SHAPE, np.uint8)
    nuclei[0, 2:5] = 3
    root = zarr.open_group(tmp_path / "a.zarr", mode="w")
    write_stack(root, image)
    write_labels(nuclei, root, "nuclei", axes="zyx", scaler=None, scale_factors=())
    path = tmp_path / "a.zarr"
    np.testing.assert_array_equal(ns.read_stack(path).data.compute(), image)
    np.testing.assert_array_equal(ns.read_labels(path).data.compute(), nuclei)
    np.testing.assert_array_equal(ns.read_labels(path / "labels").data.compute(), nuclei)
    write_labels(2 * nuclei, root, "cells", axes="zyx", scaler=None, scale_factors=())
    with pytest.raises(SeveralImagesError, match=r"2 labels .*labels/nuclei"):
        ns.read_labels(path)
    np.testing.assert_array_equal(ns.read_labels(path, series="cells").data.compute(), 2 * nuclei)
    field = zarr.open_group(plate / "B/12/10")
    write_labels(nuclei, field, "nuclei", axes="zyx", scaler=None, scale_factors=())
    np.testing.assert_array_equal(ns.read_labels(plate, series="B/12/10").data.compute(), nuclei)


def test_names_that_lead_elsewhere_are_left_out(plate):
    root = zarr.open_group(plate)
    about = root.attrs.asdict()
    about["ome"]["plate"]["wells"] = [{"path": "../other"}, {"path": "/tmp"}, {"path": "A/1"}]
    root.attrs.update(about)
    with pytest.raises(SeveralImagesError) as several:
        ns.read_stack(plate)
    assert list(several.value.names) == NAMES[:3]


def test_a_project_takes_all_fields(plate):
    images = (ns.ProjectImages("plate.zarr/*/*/[0-9]*"),)
    adapter = ns.ProjectAdapter(file="a.safetensors")
    project = ns.Project("out", segment=images, adapter=adapter, folder=plate.parent)
    ((_, found),) = sources_of(project)
    assert [source.name for source in found] == [name.replace("/", "_") for name in NAMES]
    assert found[-1].open().data.shape == SHAPE
