"""Labels and probabilities in every format, as independent readers find them."""

import logging
from pathlib import Path

import dask.array as da
import nibabel as nib
import numpy as np
import pytest
import SimpleITK
import tifffile
import zarr
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader
from scipy.spatial.transform import Rotation

from napari_salt.io import Stack, read_labels, read_stack, write_labels
from napari_salt.terms.errors import InputError
from stacks import AFFINE, SHAPE, imagej, multiscales, names, nifti, noise, ome_zarr, save

FORMATS = (".tif", ".zarr", ".nii", ".nii.gz")
INPUTS = ("image.tif", "image.zarr", "image.nii", "image.nii.gz")


def image(folder: Path, name: str = "image.tif", array=None) -> Stack:
    """A stack of some format with voxels of 2 x 0.5 x 0.25 micrometres."""
    array = noise() if array is None else array
    if name == "image.tif":
        return read_stack(save(folder, array, name, **imagej(unit="um", spacing=2.0)))
    if name == "image.zarr":
        return read_stack(ome_zarr(folder / name, array, multiscales("zyx", [2, 0.5, 0.25])))
    return read_stack(nifti(folder / name, array, unit="micron", affine=np.diag([0.25, 0.5, 2, 1])))


def found(path: Path) -> np.ndarray:
    """The (..., Z, Y, X) array as a reader that is not ours gives it."""
    if path.suffix == ".tif":
        return tifffile.imread(path)
    if path.suffix == ".zarr":
        (node,) = Reader(parse_url(path))()
        return node.data[0].compute()
    return np.asarray(nib.load(path).dataobj).T


@pytest.fixture(autouse=True)
def _quiet():
    logging.getLogger("ome_zarr").setLevel(logging.ERROR)  # labels without an image make it warn


@pytest.mark.filterwarnings("ignore:.* keeps the voxel size, but not the position")
@pytest.mark.parametrize("source", INPUTS)
@pytest.mark.parametrize("suffix", FORMATS)
def test_from_every_format_to_every_other(tmp_path, source, suffix):
    like = image(tmp_path, source)
    labels = noise(dtype="uint8")
    out = tmp_path / f"out{suffix}"
    write_labels(out, labels, like)
    np.testing.assert_array_equal(found(out), labels)
    back = read_labels(out)
    np.testing.assert_array_equal(back.data.compute(), labels)
    assert back.data.dtype == np.uint8
    assert (back.spacing, back.unit, back.was_2d) == ((2, 0.5, 0.25), "um", False)
    assert names(tmp_path) == sorted([source, out.name])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "int32"])
@pytest.mark.parametrize("suffix", FORMATS)
def test_label_types(tmp_path, suffix, dtype):
    labels = noise(dtype=dtype) * (1000 if dtype.endswith("32") else 1)
    write_labels(tmp_path / f"out{suffix}", da.from_array(labels), image(tmp_path))
    assert found(tmp_path / f"out{suffix}").dtype == dtype
    np.testing.assert_array_equal(found(tmp_path / f"out{suffix}"), labels)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("axes", ["YX", "TYX", "TZYX", "TCZYX"])
def test_the_shape_of_the_image_comes_back(tmp_path, suffix, axes):
    sizes = {"T": 3, "C": 2, "Z": 5, "Y": 23, "X": 31}
    path = save(tmp_path, noise([sizes[axis] for axis in axes]))
    like = read_stack(path, axes=axes, channel=1 if "C" in axes else None)
    labels = noise(like.data.shape, "uint8")
    write_labels(tmp_path / f"out{suffix}", labels, like)
    spatial = axes.replace("C", "")
    if suffix.startswith(".nii") and "T" in axes:  # time is the fourth axis, also of planes
        spatial, sizes["Z"] = "TZYX", sizes["Z"] if "Z" in axes else 1
    array = found(tmp_path / f"out{suffix}")
    np.testing.assert_array_equal(array, labels.reshape([sizes[axis] for axis in spatial]))
    ambiguous = suffix.startswith(".nii") and len(spatial) == 4
    back = read_labels(tmp_path / f"out{suffix}", axes="TZYX" if ambiguous else None)
    assert back.frames == like.frames or suffix.startswith(".nii")
    np.testing.assert_array_equal(back.data.compute(), labels)


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_same_labels_are_the_same_bytes(tmp_path, suffix):
    contents = []
    for name in ("a", "b"):
        out = tmp_path / name / f"out{suffix}"
        out.parent.mkdir()
        write_labels(out, noise(dtype="uint8"), image(tmp_path))
        files = sorted(file for file in [out, *out.rglob("*")] if file.is_file())
        contents.append([(str(file.relative_to(out.parent)), file.read_bytes()) for file in files])
    assert contents[0] == contents[1]


# NIfTI


@pytest.mark.parametrize("unit", ["mm", "unknown"])
@pytest.mark.parametrize("codes", [(1, 0), (0, 2), (1, 4)])
def test_nifti_keeps_where_it_lies(tmp_path, unit, codes):
    """Whatever of the two affines an image has, its labels have, to the last bit."""
    source = tmp_path / "image.nii.gz"
    before = nib.Nifti1Image(noise().T, None)
    before.header.set_xyzt_units(unit)
    before.set_qform(AFFINE[[1, 0, 2, 3]], codes[0], strip_shears=True)
    before.set_sform(AFFINE, codes[1])
    before.header["cal_max"] = 180
    before.header.set_slope_inter(0.5, 7)
    before.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"whose image it is"))
    nib.save(before, source)
    write_labels(tmp_path / "out.nii.gz", noise(dtype="uint8"), read_stack(source))
    original, after = nib.load(source).header, nib.load(tmp_path / "out.nii.gz").header
    geometry = ["dim", "pixdim", "xyzt_units", "qform_code", "sform_code"]
    geometry += ["quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"]
    geometry += ["srow_x", "srow_y", "srow_z"]
    for name in geometry:
        np.testing.assert_array_equal(after[name], original[name], name)
    assert after["cal_max"] == 0
    assert not after.extensions
    np.testing.assert_array_equal(found(tmp_path / "out.nii.gz"), noise(dtype="uint8"))


def test_nifti_overlays_in_itk(tmp_path):
    turned = np.eye(4)
    turned[:3, :3] = Rotation.from_euler("xyz", (20, -10, 170), degrees=True).as_matrix() * (0.25, 0.5, 2)
    like = read_stack(nifti(tmp_path / "i.nii", noise(), affine=turned))
    write_labels(tmp_path / "out.nii.gz", noise(dtype="uint8"), like)
    before, after = (SimpleITK.ReadImage(str(tmp_path / name)) for name in ("i.nii", "out.nii.gz"))
    for geometry in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(after, geometry)() == getattr(before, geometry)()
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(after), noise(dtype="uint8"))


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_nifti_of_another_byte_order_or_version(tmp_path, kind):
    header = kind(noise().T, AFFINE).header.as_byteswapped(">")
    nib.save(kind(noise(dtype=">u2").T, AFFINE, header), tmp_path / "image.nii")
    write_labels(tmp_path / "out.nii", noise(dtype="uint16"), read_stack(tmp_path / "image.nii"))
    after = nib.load(tmp_path / "out.nii")
    assert isinstance(after, kind)
    np.testing.assert_array_equal(after.affine, nib.load(tmp_path / "image.nii").affine)
    np.testing.assert_array_equal(np.asarray(after.dataobj).T, noise())


@pytest.mark.parametrize("axes", ["ZYX", "YXZ", "YZX", "XYZ", "XZY"])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_labels_of_turned_axes_lie_where_the_image_lies(tmp_path, axes, suffix):
    source = nifti(tmp_path / f"image{suffix}", noise())
    like = read_stack(source, axes=axes)
    write_labels(tmp_path / f"out{suffix}", like.data.astype("int32"), like)
    before, after = nib.load(source), nib.load(tmp_path / f"out{suffix}")
    places = np.argwhere(np.asarray(after.dataobj) >= 0)
    there = nib.affines.apply_affine(np.linalg.inv(before.affine) @ after.affine, places)
    np.testing.assert_allclose(there, np.rint(there), atol=1e-3)
    np.testing.assert_array_equal(
        np.asarray(after.dataobj)[tuple(places.T)],
        np.asarray(before.dataobj)[tuple(np.rint(there).astype(int).T)],
    )


def test_nifti_from_another_format(tmp_path):
    images = multiscales("zyx", [40, 5, 4], translation=[100, 20, 10], units=["nanometer"] * 3)
    write_labels(
        tmp_path / "a.nii", noise(dtype="uint8"), read_stack(ome_zarr(tmp_path / "i.zarr", noise(), images))
    )
    header = nib.load(tmp_path / "a.nii").header
    assert header.get_xyzt_units()[0] == "micron"
    expected = np.diag([0.004, 0.005, 0.04, 1])
    expected[:3, 3] = 0.01, 0.02, 0.1
    for affine in (header.get_sform(), header.get_qform()):
        np.testing.assert_allclose(affine, expected, rtol=1e-6)
    write_labels(tmp_path / "b.nii", noise(dtype="uint8"), read_stack(save(tmp_path, noise())))
    header = nib.load(tmp_path / "b.nii").header
    np.testing.assert_array_equal(header.get_sform(), np.eye(4))
    assert header.get_xyzt_units()[0] == "unknown"


# OME-Zarr


def test_zarr_is_an_ome_zarr_of_labels(tmp_path):
    images = multiscales("zyx", [40, 5, 4], translation=[100, 20, 10], units=["nanometer"] * 3)
    like = read_stack(ome_zarr(tmp_path / "image.zarr", noise(), images))
    write_labels(tmp_path / "out.zarr", noise(dtype="uint8"), like)
    (node,) = Reader(parse_url(tmp_path / "out.zarr"))()
    assert [type(spec).__name__ for spec in node.specs] == ["Label", "Multiscales"]
    assert [(axis["name"], axis["unit"]) for axis in node.metadata["axes"]] == [
        (name, "nanometer") for name in "zyx"
    ]
    assert node.metadata["coordinateTransformations"] == [
        [{"type": "scale", "scale": [40, 5, 4]}, {"type": "translation", "translation": [100, 20, 10]}]
    ]
    array = zarr.open(tmp_path / "out.zarr", mode="r")["0"]
    assert (array.chunks, array.metadata.dimension_names) == ((1, 23, 31), ("z", "y", "x"))


def test_zarr_takes_the_place_of_a_zarr_only(tmp_path):
    like = image(tmp_path)
    for value in (1, 2):
        write_labels(tmp_path / "out.zarr", np.full(SHAPE, value, "uint8"), like)
    assert (found(tmp_path / "out.zarr") == 2).all()
    (tmp_path / "thesis.zarr").mkdir()
    (tmp_path / "thesis.zarr" / "chapter1.txt").write_text("years of work")
    (tmp_path / "file.zarr").write_text("something else")
    inside = read_stack(ome_zarr(tmp_path / "image.zarr", noise(), multiscales("zyx")) / "0")
    places = {"thesis.zarr": "is a folder", "file.zarr": "is a file", "image.zarr": "is the input image"}
    for name, word in places.items():
        with pytest.raises(InputError, match=word):
            write_labels(tmp_path / name, noise(dtype="uint8"), inside)
    expected = ["file.zarr", "image.tif", "image.zarr", "out.zarr", "thesis.zarr"]
    assert names(tmp_path) == expected


def test_pixels_of_known_size_on_slices_of_unknown_distance_come_back(tmp_path):
    metadata = {"axes": "ZYX", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5}
    like = read_stack(save(tmp_path, noise(), ome=True, metadata=metadata))
    for name in ("out.tif", "out.zarr"):
        write_labels(tmp_path / name, noise(dtype="uint8"), like)
        back = read_stack(tmp_path / name)
        assert (back.spacing, back.unit) == ((None, 0.5, 0.25), "um")


def test_another_angle_is_named(tmp_path):
    """Of voxels of one size at one place, the message tells the angle."""
    c, s = np.cos(np.radians(10)), np.sin(np.radians(10))
    turn = np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    image = read_stack(nifti(tmp_path / "image.nii", noise(), affine=np.diag([1, 1, 2, 1])))
    path = nifti(tmp_path / "labels.nii", noise(dtype="uint8"), affine=turn @ np.diag([1, 1, 2, 1]))
    with pytest.raises(
        InputError, match=r"towards RAS with x along \(0\.9848, 0\.1736, 0\).*towards RAS, the"
    ):
        read_labels(path, like=image)


@pytest.mark.parametrize("name", ["image.nii", "image.tif"])
def test_labels_that_name_no_unit_have_that_of_the_image(tmp_path, name):
    """nibabel writes no unit unless it is told one."""
    like = image(tmp_path, name)
    path = nifti(tmp_path / "l.nii", noise(dtype="uint8"), unit="unknown", affine=np.diag([0.25, 0.5, 2, 1]))
    np.testing.assert_array_equal(read_labels(path, like=like).data.compute(), noise(dtype="uint8"))
    path = nifti(tmp_path / "l.nii", noise(dtype="uint8"), unit="mm", affine=np.diag([0.25, 0.5, 2, 1]))
    with pytest.raises(InputError, match="does not lie on the voxels"):
        read_labels(path, like=like)
