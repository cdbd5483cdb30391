"""Labels in every format as other libraries find them, and on the grid of their image."""

import json

import nrrd
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import slicerio
from PIL import Image
from pydicom import dcmread

import dicoms
import napari_salt as ns
import tiny
from napari_salt import cli
from napari_salt.core.adapt.adapter import Adapter
from napari_salt.io import read_labels, read_stack, write_labels
from napari_salt.terms.errors import InputError
from stacks import SHAPE, names, noise, save
from volumes import (
    CLASSES,
    CLOSE,
    LABELS,
    TILTED,
    affine_of,
    itk,
    refused,
    same_place,
    volume,
)

# Written: what others find in it


def like(folder):
    return read_stack(itk(folder / "image.nii.gz", noise()))


@pytest.mark.parametrize("ending", [".nrrd", ".seg.nrrd", ".mha", ".nii.gz"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32"])
def test_labels_as_simpleitk_finds_them(tmp_path, ending, dtype):
    image = like(tmp_path)
    path = tmp_path / f"out{ending}"
    write_labels(path, LABELS.astype(dtype), image, CLASSES)
    theirs = sitk.ReadImage(str(path))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(theirs), LABELS)
    np.testing.assert_allclose(affine_of(theirs), image.affine, **CLOSE)
    ours = read_labels(path, like=image)
    assert ours.data.dtype == dtype
    np.testing.assert_array_equal(ours.data.compute(), LABELS)
    same_place(ours, image.affine)
    assert names(tmp_path) == ["image.nii.gz", path.name]


def test_segments_as_3d_slicer_has_them(tmp_path):
    write_labels(tmp_path / "out.seg.nrrd", LABELS, like(tmp_path), CLASSES)
    theirs = slicerio.read_segmentation(str(tmp_path / "out.seg.nrrd"))
    found = [(s["labelValue"], s["name"], [round(255 * c) for c in s["color"]]) for s in theirs["segments"]]
    assert found == [(3, "anterior part", [255, 128, 0]), (7, "posterior", [0, 0, 255])]
    np.testing.assert_array_equal(theirs["voxels"], LABELS.T)
    assert read_labels(tmp_path / "out.seg.nrrd").classes == CLASSES
    slicerio.write_segmentation(str(tmp_path / "theirs.seg.nrrd"), theirs)
    again = read_labels(tmp_path / "theirs.seg.nrrd", like=like(tmp_path))
    assert again.classes == CLASSES
    np.testing.assert_array_equal(again.data.compute(), LABELS)


def test_segments_of_a_part_of_the_image_and_in_layers(tmp_path):
    image = like(tmp_path)
    whole = volume(LABELS)
    part = whole[4:20, 3:11, 1:4]
    part.SetMetaData("Segment0_ID", "Segment_1")
    part.SetMetaData("Segment0_LabelValue", "3")
    sitk.WriteImage(part, str(tmp_path / "part.seg.nrrd"))
    wanted = np.zeros_like(LABELS)
    wanted[1:4, 3:11, 4:20] = LABELS[1:4, 3:11, 4:20]
    labels = read_labels(tmp_path / "part.seg.nrrd", like=image)
    np.testing.assert_array_equal(labels.data.compute(), wanted)
    sitk.WriteImage(part, str(tmp_path / "part.mha"))
    with pytest.raises(InputError, match=r"does not lie on the voxels of .* --resample"):
        read_labels(tmp_path / "part.mha", like=image)
    fields = {f"Segment{n}_{k}": v for n in (0, 1) for k, v in (("LabelValue", "1"), ("Layer", str(n)))}
    fields |= {"Segment0_Name": "one", "Segment1_Name": "two", "kinds": ["list"] + ["domain"] * 3}
    layers = np.stack([LABELS == 3, LABELS > 0], -1).astype(np.uint8)
    nrrd.write(str(tmp_path / "layers.seg.nrrd"), layers, fields, index_order="C")
    refused(
        tmp_path / "layers.seg.nrrd", "2 layers of overlapping segments (0: one, 1: two)", read=read_labels
    )
    second = read_labels(tmp_path / "layers.seg.nrrd", series="two")
    np.testing.assert_array_equal(second.data.compute(), LABELS > 0)
    assert [info.name for info in second.classes] == ["two"]


def test_dicom_segmentations(tmp_path):
    dicoms.series(tmp_path / "d", noise(), orientation=TILTED)
    image = read_stack(tmp_path / "d")
    labels = LABELS.copy()
    labels[0] = 0
    write_labels(tmp_path / "out.dcm", labels, image, CLASSES)
    ours = read_labels(tmp_path / "out.dcm", like=image)
    np.testing.assert_array_equal(ours.data.compute(), labels)
    assert ours.classes == CLASSES
    np.testing.assert_array_equal(
        read_labels(tmp_path / "out.dcm", series="anterior").data.compute().max(), 3
    )
    theirs = dcmread(tmp_path / "out.dcm")
    assert [segment.SegmentLabel for segment in theirs.SegmentSequence] == ["anterior part", "posterior"]
    assert theirs.ReferencedSeriesSequence[0].SeriesInstanceUID == "1.2.5"
    frame = theirs.pixel_array[0]
    position = theirs.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0].ImagePositionPatient
    where = (np.linalg.inv(image.affine) @ [-position[0], -position[1], position[2], 1])[:3]
    z = round(where[0])
    np.testing.assert_allclose(where, [z, 0, 0], atol=1e-4)
    np.testing.assert_array_equal(frame, labels[z] == 3)
    refused(tmp_path / "out.dcm", "fits none", "anterior part", read=read_labels, series="x")
    with pytest.raises(InputError, match="a DICOM segmentation belongs to a DICOM image"):
        write_labels(tmp_path / "no.dcm", LABELS, like(tmp_path))
    assert "no.dcm" not in names(tmp_path)


def test_the_whole_job_on_dicom(tmp_path, monkeypatch, capsys):
    """Names of segments become those of the classes, and those segments; what is found is scored."""
    tiny.use(monkeypatch)
    image, truth = tiny.discs()
    dicoms.series(tmp_path / "d", image.astype(np.uint16), spacing=(2, 1, 1))
    stack = read_stack(tmp_path / "d")
    write_labels(tmp_path / "paint.seg.nrrd", tiny.painted(7 * truth, 1, 4), stack, CLASSES[1:])
    write_labels(tmp_path / "truth.mha", 7 * truth, stack)
    monkeypatch.chdir(tmp_path)
    out = ["--out", "a.safetensors", "--base", "tiny", "--steps", "1", "--device", "cpu"]
    assert cli.main(["train", "d", "paint.seg.nrrd", *out]) == 0
    adapter = Adapter.load("a.safetensors")
    assert adapter.classes == CLASSES[1:]
    config = ns.SegmentConfig(views=1, device="cpu", runtime="torch")
    expected = ns.segment("d", adapter, config)
    how = ["--adapter", "a.safetensors", "--views", "1", "--device", "cpu", "--runtime", "torch"]
    assert cli.main(["segment", "d", *how, "--out", "out.dcm"]) == 0
    found = read_labels("out.dcm", like=stack)
    np.testing.assert_array_equal(found.data.compute(), expected)
    assert found.classes == CLASSES[1:]
    capsys.readouterr()
    assert cli.main(["evaluate", "out.dcm", "truth.mha", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out.splitlines()[-1])["classes"]) == {"7"}
    sitk.WriteImage(volume(7 * truth, dicoms.UPRIGHT), "shifted.mha")
    assert cli.main(["evaluate", "truth.mha", "shifted.mha"]) == 2
    assert "give --resample" in capsys.readouterr().err
    assert cli.main(["evaluate", "truth.mha", "shifted.mha", "--resample"]) == 0


def test_png_and_npy_hold_values_only(tmp_path):
    flat = read_stack(save(tmp_path, noise((23, 31)), "flat.tif"))
    for values, dtype in ((LABELS[:1], "uint8"), (LABELS[:1].astype("int32") * 300, "uint16")):
        write_labels(tmp_path / "out.png", values, flat)
        theirs = np.asarray(Image.open(tmp_path / "out.png"))
        np.testing.assert_array_equal(theirs, values[0])
        assert theirs.dtype == dtype
        np.testing.assert_array_equal(read_labels(tmp_path / "out.png").data.compute(), values)
    with pytest.raises(InputError, match="up to 65535, and these reach 70000"):
        write_labels(tmp_path / "big.png", np.full((1, 23, 31), 70000, np.int32), flat)
    image = like(tmp_path)
    with pytest.raises(InputError, match=r"PNG holds one slice, and .*image\.nii\.gz has 5"):
        write_labels(tmp_path / "big.png", LABELS, image)
    with pytest.warns(UserWarning, match=r"does not keep the voxel size, position and .*write \.nii\.gz"):
        write_labels(tmp_path / "out.npy", LABELS, image)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), LABELS)
    assert names(tmp_path) == ["flat.tif", "image.nii.gz", "out.npy", "out.png"]


@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".nii.gz", ".zarr", ".tif", ".npy"])
def test_time_points_and_single_slices(tmp_path, ending):
    array = noise((3, *SHAPE), "uint8")
    series = read_stack(save(tmp_path, array, "t.ome.tif", ome=True, metadata={"axes": "TZYX"}))
    write_labels(tmp_path / f"t{ending}", array.reshape(-1, 23, 31), series)
    axes = "TZYX" if ending in (".mha", ".nii.gz", ".npy") else None
    found = read_labels(tmp_path / f"t{ending}", axes=axes)
    assert found.frames == 3
    np.testing.assert_array_equal(found.data.compute(), array.reshape(-1, 23, 31))
    one = read_stack(save(tmp_path, array[0, 0], "flat.tif"))
    write_labels(tmp_path / f"one{ending}", array[0, :1], one)
    np.testing.assert_array_equal(read_labels(tmp_path / f"one{ending}").data.compute(), array[0, :1])


def test_micrometres_stay_micrometres(tmp_path):
    """A stack in micrometres, its labels in formats that speak of mm."""
    metadata = {"axes": "ZYX", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 2.0}
    image = read_stack(save(tmp_path, noise(), ome=True, metadata=metadata))
    for ending in (".nrrd", ".mha"):
        write_labels(tmp_path / f"out{ending}", LABELS, image)
        np.testing.assert_allclose(
            sitk.ReadImage(str(tmp_path / f"out{ending}")).GetSpacing(), (25e-5, 5e-4, 2e-3)
        )
        labels = read_labels(tmp_path / f"out{ending}", like=image)
        np.testing.assert_allclose(labels.pixel_size, image.pixel_size)


# Labels and image meet in the world


@pytest.mark.parametrize(
    ("image", "labels"), [(i, k) for i in (".nrrd", ".nii.gz", "dicom") for k in (".mha", ".nrrd", ".nii")]
)
def test_labels_stored_otherwise_come_onto_the_image(tmp_path, image, labels):
    path = tmp_path / f"image{image}"
    if image == "dicom":
        dicoms.series(path, noise(dtype="int16"), orientation=TILTED)
    else:
        itk(path, noise(dtype="int16"))
    stored = sitk.PermuteAxes(volume(LABELS), (2, 0, 1))[::-1, :, ::-1]
    sitk.WriteImage(stored, str(tmp_path / f"labels{labels}"))
    stack = read_stack(path)
    found = read_labels(tmp_path / f"labels{labels}", like=stack)
    np.testing.assert_array_equal(found.data.compute(), LABELS)
    np.testing.assert_array_equal(found.affine, stack.affine)


def test_labels_on_another_grid_are_resampled_where_asked(tmp_path):
    image = like(tmp_path)
    whole = volume(LABELS)
    coarse = sitk.Resample(
        whole, (16, 12, 9), sitk.Transform(), sitk.sitkNearestNeighbor, (3.2, 4.1, 4.0), (1.4, 0.9, 1.3)
    )
    itk_back = sitk.GetArrayFromImage(
        sitk.Resample(coarse, whole, sitk.Transform(), sitk.sitkNearestNeighbor)
    )
    sitk.WriteImage(coarse, str(tmp_path / "coarse.mha"))
    with pytest.raises(InputError) as caught:
        read_labels(tmp_path / "coarse.mha", like=image)
    for words in ("coarse.mha (voxels of 1.4 x 0.9 x 1.3 mm", "image.nii.gz (voxels of 0.75 x 0.5 x 2.5 mm"):
        assert words in str(caught.value)
    found = read_labels(tmp_path / "coarse.mha", like=image, resample=True)
    np.testing.assert_array_equal(found.data.compute(), itk_back)
    np.testing.assert_array_equal(found.data[2].compute(), itk_back[2])
    assert itk_back.any()
    same = read_labels(itk(tmp_path / "same.mha", LABELS), like=image, resample=True)
    np.testing.assert_array_equal(same.data.compute(), LABELS)


def test_stacks_without_directions_are_resampled_by_their_voxel_size(tmp_path):
    size = {
        "ome": True,
        "metadata": {"axes": "ZYX", "PhysicalSizeX": 1, "PhysicalSizeY": 1, "PhysicalSizeZ": 2},
    }
    half = {
        "ome": True,
        "metadata": {"axes": "ZYX", "PhysicalSizeX": 2, "PhysicalSizeY": 2, "PhysicalSizeZ": 2},
    }
    image = read_stack(save(tmp_path, noise((4, 6, 8)), "image.tif", **size))
    coarse = save(tmp_path, noise((4, 3, 4), "uint8"), "labels.tif", **half)
    with pytest.raises(InputError, match=r"voxels of 2 x 2 x 2 um\) does not lie on .* 2 x 1 x 1 um"):
        read_labels(coarse, like=image)
    found = read_labels(coarse, like=image, resample=True).data.compute()
    np.testing.assert_array_equal(found, noise((4, 3, 4), "uint8").repeat(2, 1).repeat(2, 2))
    plain = save(tmp_path, noise((4, 3, 4), "uint8"), "plain.tif")
    with pytest.raises(InputError, match="not known in one space of both: resample it first"):
        read_labels(plain, like=image, resample=True)
