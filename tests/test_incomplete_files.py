"""Files of which a part is missing are refused; labels that others save in odd ways are read right."""

import struct

import nibabel as nib
import numpy as np
import pytest
import tifffile
import zarr
from napari.components import ViewerModel
from napari.layers import Image
from napari.layers._source import layer_source
from napari_builtins.io import napari_write_labels

import headless
from napari_salt import cli
from napari_salt.io import read_labels, read_stack
from napari_salt.terms.errors import BaseModelError, InputError
from napari_salt.terms.registry import base_spec

IMAGE = np.random.default_rng(0).integers(50, 200, (8, 24, 32), np.uint8)
UUIDS = [f"urn:uuid:00000000-0000-0000-0000-00000000000{i}" for i in (1, 2)]


def ome(planes, uuid=""):
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>'
        f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" {uuid}>'
        f'<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="32" '
        f'SizeY="24" SizeZ="8" SizeC="1" SizeT="1"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>{planes}'
        f"</Pixels></Image></OME>"
    )


def write(path, planes, description):
    with tifffile.TiffWriter(path) as tif:
        for index, plane in enumerate(planes):
            tif.write(
                plane,
                photometric="minisblack",
                metadata=None,
                contiguous=False,
                description=description if index == 0 else None,
            )
    return path


def one_of_two_files(folder):
    parts = "".join(
        f'<TiffData FirstZ="{z}" IFD="{z % 4}" PlaneCount="1">'
        f'<UUID FileName="s_{z // 4}.ome.tif">{UUIDS[z // 4]}</UUID></TiffData>'
        for z in range(8)
    )
    for part in (0, 1):
        description = ome(parts, f'UUID="{UUIDS[part]}"')
        write(folder / f"s_{part}.ome.tif", IMAGE[4 * part : 4 * part + 4], description)
    return folder / "s_0.ome.tif"


def imagej_beyond_4_gb(path):
    """An ImageJ file of one directory, which all planes follow, as ImageJ writes large ones."""
    tifffile.imwrite(path, IMAGE, imagej=True, metadata={"axes": "ZYX"})
    with tifffile.TiffFile(path) as tif:
        order, offset = tif.byteorder, tif.pages[0].offset
    content = bytearray(path.read_bytes())
    entries = struct.unpack(order + "H", content[offset : offset + 2])[0]
    content[offset + 2 + 12 * entries : offset + 6 + 12 * entries] = bytes(4)
    path.write_bytes(content)
    return path


def refused(path):
    with pytest.raises(InputError) as error:
        read_stack(path)
    said = str(error.value)
    assert said.startswith(f"{path} is cut short or not complete")
    assert "\n" not in said
    return said


def test_an_acquisition_that_stopped_early(tmp_path):
    path = write(tmp_path / "stopped.ome.tif", IMAGE[:6], ome("<TiffData/>"))
    assert "missing 2 frames" in refused(path)
    out = tmp_path / "out.safetensors"
    assert cli.main(["train", str(path), str(path), "--out", str(out)]) == 2


def test_a_file_of_a_set_that_is_missing(tmp_path):
    path = one_of_two_files(tmp_path)
    np.testing.assert_array_equal(read_stack(path).data.compute(), IMAGE)
    (tmp_path / "s_1.ome.tif").unlink()
    refused(path)


def test_a_large_imagej_file_that_is_cut_short(tmp_path):
    path = imagej_beyond_4_gb(tmp_path / "large.tif")
    np.testing.assert_array_equal(read_stack(path).data.compute(), IMAGE)
    path.write_bytes(path.read_bytes()[: -3 * 24 * 32])
    refused(path)


def test_what_tifffile_only_wonders_about_is_read(tmp_path):
    """A description of another shape, and a tag that cannot be read, leave the planes as they are."""
    path = tmp_path / "odd.tif"
    tifffile.imwrite(
        path, IMAGE, photometric="minisblack", metadata=None, description='{"shape": [2, 3], "axes": "YX"}'
    )
    np.testing.assert_array_equal(read_stack(path).data.compute(), IMAGE)


@pytest.mark.filterwarnings("ignore:.*are stored as RGB:DeprecationWarning")
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32"])
def test_labels_that_napari_saves(tmp_path, count, dtype):
    labels = np.zeros((count, 64, 64), dtype)
    labels[-1, 10:30, 10:30] = 1
    assert napari_write_labels(str(tmp_path / "labels.tif"), labels, {})
    np.testing.assert_array_equal(read_labels(tmp_path / "labels.tif").data.compute(), labels)
    assert cli.main(["evaluate", str(tmp_path / "labels.tif"), str(tmp_path / "labels.tif")]) == 0


def test_evaluate_takes_axes(tmp_path, capsys):
    series = np.zeros((2, 3, 24, 32), np.uint8)
    series[0, 1, 3:9], series[1, 2, 5:9] = 1, 2
    for name in ("a.tif", "b.tif"):
        tifffile.imwrite(tmp_path / name, series, photometric="minisblack")
    arguments = ["evaluate", str(tmp_path / "a.tif"), str(tmp_path / "b.tif")]
    assert cli.main(arguments) == 2
    assert "--axes" in capsys.readouterr().err
    assert cli.main([*arguments, "--axes", "TZYX", "--json"]) == 0
    assert '"mean_dice": 1.0' in capsys.readouterr().out


@pytest.mark.parametrize(("top", "dtype"), [(12, "uint8"), (12, "int16"), (40, "int16"), (2, "uint8")])
def test_labels_that_nibabel_scaled(tmp_path, top, dtype):
    labels = np.zeros((20, 20, 4))
    labels[2:5, 2:5], labels[6:9, 2:5], labels[12:15, 2:5] = 1, 2, top
    image = nib.Nifti1Image(labels, np.eye(4))
    image.header.set_data_dtype(dtype)
    nib.save(image, tmp_path / "scaled.nii.gz")
    found = read_labels(tmp_path / "scaled.nii.gz").data
    if (top, dtype) == (12, "uint8"):
        with pytest.raises(InputError, match="scl_slope"):
            found.compute()
    else:
        np.testing.assert_array_equal(found.compute().T, labels)


def test_fractions_are_no_labels_however_they_are_stored(tmp_path):
    image = nib.Nifti1Image(np.linspace(0, 2, 1600).reshape(20, 20, 4), np.eye(4))
    for dtype in ("int16", "float32"):
        image.header.set_data_dtype(dtype)
        nib.save(image, tmp_path / "probabilities.nii")
        with pytest.raises(InputError, match="has the label value"):
            read_labels(tmp_path / "probabilities.nii").data.compute()


def test_a_factor_above_one_is_named(tmp_path):
    image = nib.Nifti1Image(np.arange(1600, dtype=np.int16).reshape(20, 20, 4), np.eye(4))
    image.header.set_slope_inter(2.5, 0)
    nib.save(image, tmp_path / "factor.nii")
    with pytest.raises(InputError, match=r"scl_slope, steps of 2\.5"):
        read_labels(tmp_path / "factor.nii").data.compute()


def test_a_plate_names_its_wells(tmp_path):
    plate = zarr.open_group(tmp_path / "plate.zarr", mode="w", zarr_format=2)
    plate.attrs["plate"] = {"wells": [{"path": "A/1"}, {"path": "B/2"}]}
    for well in ("A/1", "B/2"):
        plate.create_group(well).attrs["well"] = {"images": [{"path": "0"}, {"path": "1"}]}
    with pytest.raises(InputError, match=r"holds 4 images \(0: A/1/0, 1: A/1/1, 2: B/2/0, 3: B/2/1\)"):
        read_stack(tmp_path / "plate.zarr")


def test_a_checkpoint_that_is_not_there_is_named_as_a_file():
    with pytest.raises(BaseModelError, match=r"there is no file 'my/sam.pth'"):
        base_spec("my/sam.pth")
    with pytest.raises(BaseModelError, match="unknown base model 'sam-vit-x'"):
        base_spec("sam-vit-x")


def test_more_planes_than_the_metadata_name_do_no_harm(tmp_path):
    """Published OME-TIFFs are like that (Nikon-cell011.ome.tif); what the metadata name is all there."""
    path = write(tmp_path / "more.ome.tif", [*IMAGE, IMAGE[0]], ome("<TiffData/>"))
    np.testing.assert_array_equal(read_stack(path).data.compute(), IMAGE)


@pytest.mark.parametrize(
    ("ending", "words"), [("png", "s0.png is not a PNG"), ("tif", "s0.tif"), ("dcm", "holds no DICOM image")]
)
def test_a_damaged_slice_in_a_folder_is_named(tmp_path, ending, words):
    for index in range(2):
        (tmp_path / f"s{index}.{ending}").write_bytes(b"")
    with pytest.raises(InputError, match=words):
        read_stack(tmp_path)


@pytest.mark.parametrize("axes", ["TYX", "TZYX"])
def test_a_nifti_of_single_slices_in_time(tmp_path, axes):
    """As segmenting a time series of single slices writes it."""
    nib.save(nib.Nifti1Image(IMAGE[:, None].T, np.eye(4)), tmp_path / "t.nii")
    stack = read_labels(tmp_path / "t.nii", axes=axes)
    assert stack.frames == 8
    np.testing.assert_array_equal(stack.data.compute(), IMAGE)


def test_what_napari_has_opened_with_zeros_in_it_is_said(tmp_path):
    session, said = headless.session(ViewerModel(), headless.Loop(), None), []
    session.problem.connect(lambda text, control: said.append((text, control)))
    write(tmp_path / "stopped.ome.tif", IMAGE[:6], ome("<TiffData/>"))
    write(tmp_path / "whole.ome.tif", IMAGE, ome("<TiffData/>"))
    for name in ("whole.ome.tif", "stopped.ome.tif"):
        with layer_source(path=str(tmp_path / name), reader_plugin="napari"):
            layer = Image(tifffile.imread(tmp_path / name))
        session.set_image(session.viewer.add_layer(layer))
    ((text, control),) = said
    assert "stopped.ome.tif is cut short or not complete (OME series is missing 2 frames" in text
    assert control == "image"
    session.close()
