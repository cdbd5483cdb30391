"""OME-Zarr and NIfTI stacks against nibabel, zarr and ome-zarr: what comes back, and what is refused."""

import json
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import zarr
from ome_zarr.writer import write_image

from napari_salt.io import read_labels, read_stack
from napari_salt.terms.errors import InputError
from stacks import AFFINE, SHAPE, multiscales, nifti, noise, ome_zarr

TYPES = ["bool", "u1", "i1", ">u2", "i2", "u4", "i4", "u8", "i8", "f2", ">f4", "f8"]
NIFTI_TYPES = ["u1", "i1", ">u2", "i2", "u4", "i4", "u8", "i8", ">f4", "f8"]


def refused(path, *words, read=read_stack, **options) -> None:
    with pytest.raises(InputError) as caught:
        read(path, **options).data.compute()
    message = str(caught.value)
    assert "\n" not in message
    for word in (*words, Path(path).name):
        assert word in message


# What comes back


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("dtype", TYPES)
def test_zarr_types(tmp_path, dtype, version):
    array = noise(dtype=dtype)
    stack = read_stack(ome_zarr(tmp_path / "a.ome.zarr", array, multiscales("zyx"), version))
    assert stack.data.dtype == array.dtype.newbyteorder("=")
    assert (stack.axes, stack.data.chunks[0]) == ("ZYX", (1,) * 5)
    np.testing.assert_array_equal(stack.data.compute(), array)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("dtype", NIFTI_TYPES)
def test_nifti_types(tmp_path, dtype, name):
    array = noise(dtype=dtype)
    stack = read_stack(nifti(tmp_path / name, array))
    assert stack.data.dtype == array.dtype.newbyteorder("=")
    assert (stack.axes, stack.data.chunks[0], stack.was_2d) == ("ZYX", (1,) * 5, False)
    for z in (3, 0):
        np.testing.assert_array_equal(np.asarray(stack.data[z]), array[z])


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_nifti_values_are_scaled(tmp_path, name):
    array = noise(dtype="int16")
    path = nifti(tmp_path / name, array, scaling=(0.5, -7))
    stack = read_stack(path)
    assert stack.data.dtype.kind == "f"
    np.testing.assert_array_equal(stack.data.compute(), nib.load(path).get_fdata().T)
    refused(path, "label value", read=read_labels)


def test_nifti_labels_may_be_scaled(tmp_path):
    labels = noise(dtype="uint8") // 60
    path = nifti(tmp_path / "a.nii.gz", labels * 85, scaling=(np.float32(1 / 85), 0))
    stack = read_labels(path)
    assert stack.data.dtype == np.int32
    np.testing.assert_array_equal(stack.data.compute(), labels)


@pytest.mark.parametrize(
    ("shape", "axes", "options", "take"),
    [
        ((23, 31), "yx", {}, lambda a: a[None]),
        ((2, *SHAPE), "czyx", {"channel": 1}, lambda a: a[1]),
        ((2, 3, *SHAPE), "tczyx", {"channel": 1}, lambda a: a[:, 1].reshape(10, 23, 31)),
        ((1, 1, *SHAPE), "tczyx", {}, lambda a: a[0, 0]),
        ((4, 23, 31), "tyx", {}, lambda a: a),
        ((3, 5, 23, 31), "czyx", {"axes": "SZYX"}, lambda a: np.moveaxis(a, 0, -1)),
    ],
)
@pytest.mark.parametrize("version", [2, 3])
def test_zarr_axes(tmp_path, shape, axes, options, take, version):
    array = noise(shape)
    stack = read_stack(ome_zarr(tmp_path / "a.zarr", array, multiscales(axes), version), **options)
    assert (stack.was_2d, stack.rgb) == ("z" not in axes, "axes" in options)
    assert stack.frames == (shape[0] if axes[0] == "t" else 1)
    np.testing.assert_array_equal(stack.data.compute(), take(array))


@pytest.mark.parametrize(
    ("shape", "options", "take"),
    [
        ((23, 31), {}, lambda a: a[None]),
        ((1, *SHAPE), {}, lambda a: a[0]),
        ((2, *SHAPE), {"axes": "TZYX"}, lambda a: a.reshape(10, 23, 31)),
        ((2, *SHAPE), {"axes": "CZYX", "channel": 1}, lambda a: a[1]),
        ((3, 1, *SHAPE), {"axes": "CTZYX", "channel": 2}, lambda a: a[2, 0]),
        ((3, *SHAPE), {"axes": "SZYX"}, lambda a: np.moveaxis(a, 0, -1)),
    ],
)
def test_nifti_axes(tmp_path, shape, options, take):
    array = noise(shape)
    stack = read_stack(nifti(tmp_path / "a.nii", array), **options)
    assert stack.was_2d == (len(shape) == 2)
    np.testing.assert_array_equal(stack.data.compute(), take(array))


def test_zarr_without_metadata(tmp_path):
    for shape in (SHAPE, (23, 31)):
        array = noise(shape)
        zarr.save_array(tmp_path / "a.zarr", array, mode="w")
        stack = read_stack(tmp_path / "a.zarr")
        assert (stack.spacing, stack.unit, stack.was_2d) == (None, None, len(shape) == 2)
        np.testing.assert_array_equal(stack.data.compute(), array.reshape(-1, 23, 31))
    array = noise((2, *SHAPE))
    zarr.save_array(tmp_path / "b.zarr", array)
    refused(tmp_path / "b.zarr", "QQYX of 2x5x23x31", "--axes")
    found = read_stack(tmp_path / "b.zarr", axes="CZYX", channel=1).data
    np.testing.assert_array_equal(found.compute(), array[1])


def test_what_another_program_writes(tmp_path):
    array = noise()
    write_image(array, str(tmp_path / "a.zarr"), axes="zyx", scale_factors=())
    np.testing.assert_array_equal(read_stack(tmp_path / "a.zarr").data.compute(), array)


def test_one_image_inside_is_the_image(tmp_path):
    """As bioformats2raw lays them out; labels lie deeper in the same way."""
    array = noise()
    zarr.create_group(tmp_path / "a.zarr")
    ome_zarr(tmp_path / "a.zarr" / "0", array, multiscales("zyx"))
    np.testing.assert_array_equal(read_stack(tmp_path / "a.zarr").data.compute(), array)
    np.testing.assert_array_equal(read_stack(tmp_path / "a.zarr" / "0" / "0").data.compute(), array)
    ome_zarr(tmp_path / "a.zarr" / "1", array, multiscales("zyx"))
    refused(tmp_path / "a.zarr", "holds 2 images (0: 0, 1: 1)", "--series")
    np.testing.assert_array_equal(read_stack(tmp_path / "a.zarr", series=1).data.compute(), array)


# Only what is asked for is read


def test_zarr_reads_the_chunks_of_the_slice(tmp_path):
    """All other chunks are damaged, which does no harm to the slice."""
    array = noise()
    path = ome_zarr(tmp_path / "a.zarr", array, multiscales("zyx"), chunks=(1, 16, 16))
    for chunk in (path / "0" / "c").glob("[!3]/*/*"):
        chunk.write_bytes(b"damaged")
    stack = read_stack(path)
    np.testing.assert_array_equal(np.asarray(stack.data[3]), array[3])
    with pytest.raises(InputError, match=r"a\.zarr: the slice Z=2 cannot be read .* damaged"):
        stack.data[2].compute()


@pytest.mark.skipif(sys.platform == "win32", reason="needs a sparse file")
def test_nifti_reads_the_slice(tmp_path):
    """One slice of a file larger than memory."""
    path = tmp_path / "large.nii"
    header = nib.Nifti1Header()
    header.set_data_shape((4000, 4000, 4000))
    header.set_data_dtype(np.float64)
    with path.open("wb") as file:
        header.write_to(file)
        file.seek(352 + 8 * (2000 * 4000**2 + 5))
        file.write(np.float64(7).tobytes())
        file.truncate(352 + 8 * 4000**3)
    stack = read_stack(path)
    assert stack.data.shape == (4000, 4000, 4000)
    plane = np.asarray(stack.data[2000])
    assert plane[0, 5] == plane.sum() == 7


# Geometry


@pytest.mark.parametrize("version", [2, 3])
def test_zarr_geometry(tmp_path, version):
    array = noise((2, 2, *SHAPE))
    images = multiscales(
        "tczyx",
        [1, 1, 2, 0.5, 0.25],
        whole=[9, 1, 2, 2, 2],
        translation=[0, 0, 10, 20, 30],
        units=("micrometer",) * 3,
    )
    stack = read_stack(ome_zarr(tmp_path / "a.zarr", array, images, version), channel=0)
    assert (stack.spacing, stack.unit, stack.origin) == ((4, 1, 0.5), "um", (20, 40, 60))


@pytest.mark.parametrize(
    ("units", "spacing", "unit"),
    [
        (("nanometer",) * 3, (2, 3, 4), "nm"),
        (("angstrom",) * 3, pytest.approx((0.2, 0.3, 0.4)), "nm"),
        (("micrometer", "nanometer", "nanometer"), pytest.approx((2, 0.003, 0.004)), "um"),
        (("meter",) * 3, (2000, 3000, 4000), "mm"),
        (("parsec",) * 3, (2, 3, 4), None),
        ((), (2, 3, 4), None),
    ],
)
def test_zarr_units(tmp_path, units, spacing, unit):
    path = ome_zarr(tmp_path / "a.zarr", noise(), multiscales("zyx", [2, 3, 4], units=units))
    assert (read_stack(path).spacing, read_stack(path).unit) == (spacing, unit)


def test_zarr_that_knows_no_size(tmp_path):
    path = ome_zarr(tmp_path / "a.zarr", noise(), multiscales("zyx", units=()))
    stack = read_stack(path)
    assert (stack.spacing, stack.unit, stack.origin) == (None, None, None)


@pytest.mark.parametrize(
    ("unit", "spacing", "expected"),
    [
        ("mm", (2, 0.5, 0.25), "mm"),
        ("unknown", (2, 0.5, 0.25), "mm"),
        ("unknown", (1, 1, 1), "mm"),
        ("micron", (2, 0.5, 0.25), "um"),
        ("meter", (2, 0.5, 0.25), "mm"),
    ],
)
def test_nifti_spacing(tmp_path, unit, spacing, expected):
    path = nifti(tmp_path / "a.nii", noise(), unit=unit, affine=np.diag([*spacing[::-1], 1]))
    stack = read_stack(path)
    factor = 1000 if unit == "meter" else 1
    assert stack.spacing == pytest.approx([factor * size for size in spacing])
    assert stack.unit == expected


def test_nifti_is_never_reoriented(tmp_path):
    array = noise()
    upside_down = AFFINE[[2, 0, 1, 3]] * [[-1], [1], [-1], [1]]
    stack = read_stack(nifti(tmp_path / "a.nii.gz", array, affine=upside_down))
    np.testing.assert_array_equal(stack.data.compute(), array)


# What is refused


def test_no_zarr(tmp_path):
    refused(tmp_path, "folder but no Zarr")
    (tmp_path / "a.zarr").write_text("text")
    refused(tmp_path / "a.zarr", "file but no Zarr")
    zarr.create_group(tmp_path / "b.zarr")
    refused(tmp_path / "b.zarr", "holds 0 OME-Zarr images", "name an array")
    zarr.save_array(tmp_path / "c.zarr", noise((0, 4, 4)))
    refused(tmp_path / "c.zarr", "is empty")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda image: image.pop("datasets"), "damaged"),
        (lambda image: image["datasets"][0].pop("path"), "damaged"),
        (lambda image: image["datasets"][0].update(path="7"), "damaged"),
        (lambda image: image["axes"].pop(), "names 2 axes, but has 3"),
        (lambda image: image["datasets"][0]["coordinateTransformations"][0].update(scale=[2.0]), "damaged"),
    ],
)
def test_zarr_metadata_that_is_wrong(tmp_path, change, words):
    images = multiscales("zyx")
    change(images[0])
    refused(ome_zarr(tmp_path / "a.zarr", noise(), images), words)


def test_zarr_with_broken_json(tmp_path):
    path = ome_zarr(tmp_path / "a.zarr", noise(), multiscales("zyx"))
    whole = json.loads((path / "zarr.json").read_text())
    for text in ("{", "[]", json.dumps({**whole, "attributes": {"ome": 3}})):
        (path / "zarr.json").write_text(text)
        refused(path, "damaged")


def test_channels_and_time_are_not_guessed(tmp_path):
    array = noise((2, *SHAPE))
    refused(nifti(tmp_path / "a.nii", array), "QQYX of 2x5x23x31", "--axes")
    refused(ome_zarr(tmp_path / "a.zarr", array, multiscales("czyx")), "2 channels", "--channel", "S if")
    refused(ome_zarr(tmp_path / "a.zarr", array, multiscales("czyx")), "names 3 axes", axes="ZYX")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_nifti_cut_short(tmp_path, name):
    path = nifti(tmp_path / name, noise())
    whole = path.read_bytes()
    for end in range(0, len(whole), max(1, len(whole) // 20)):
        path.write_bytes(whole[:end])
        refused(path)
    refused(nifti(tmp_path / "b.nii", noise(dtype="complex64")), "complex64")
