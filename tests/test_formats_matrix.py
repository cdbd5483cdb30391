"""Every format against its reference library, and every case that cannot be read by its message."""

import json
import sys

import h5py
import imagecodecs
import nibabel as nib
import nrrd
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import tifffile
import zarr
from PIL import Image
from pydicom import dcmread

import dicoms
import napari_salt as ns
from napari_salt import cli
from napari_salt.io import read_labels, read_stack, write_labels
from napari_salt.terms.errors import InputError
from stacks import SHAPE, noise
from volumes import (
    ITK,
    LABELS,
    ORIGIN,
    SPACING,
    TILTED,
    TYPES,
    affine_of,
    itk,
    refused,
    same_place,
)

# Read: what SimpleITK writes, it and we read alike


@pytest.mark.parametrize("ending", ITK)
@pytest.mark.parametrize("dtype", TYPES)
def test_volumes_as_simpleitk_reads_them(tmp_path, ending, dtype):
    array = noise(dtype=dtype)
    path = itk(tmp_path / f"a{ending}", array, compressed=dtype.startswith("u"))
    stack, theirs = read_stack(path), sitk.ReadImage(str(path))
    np.testing.assert_array_equal(stack.data.compute(), sitk.GetArrayFromImage(theirs))
    assert (stack.data.dtype, stack.axes) == (dtype, "ZYX")
    same_place(stack, affine_of(theirs))
    np.testing.assert_array_equal(stack.data[3, 2:9, 4:6].compute(), array[3, 2:9, 4:6])


def test_the_same_volume_in_all_formats_is_the_same(tmp_path):
    array = noise(dtype="int16")
    stacks = [read_stack(itk(tmp_path / f"a{ending}", array)) for ending in ITK]
    stacks.append(read_stack(dicoms.series(tmp_path / "d", array, orientation=TILTED)))
    for stack in stacks:
        np.testing.assert_array_equal(stack.data.compute(), array)
        same_place(stack, stacks[0].affine)
        assert stack.voxels.order == stacks[0].voxels.order == (0, 1, 2)


@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".mhd"])
def test_defaults_of_programs_that_know_nothing_say_nothing(tmp_path, ending):
    for shape in (SHAPE, (23, 31)):
        sitk.WriteImage(sitk.GetImageFromArray(noise(shape)), str(tmp_path / f"a{ending}"))
        stack = read_stack(tmp_path / f"a{ending}")
        assert (stack.spacing, stack.unit, stack.affine, stack.origin) == (None, None, None, None)
        np.testing.assert_array_equal(stack.data.compute(), noise(shape).reshape(-1, 23, 31))


@pytest.mark.parametrize(
    ("header", "spacing", "unit"),
    [
        ({"spacings": [0.25, 0.5, 2.0]}, (2, 0.5, 0.25), "mm"),
        ({"spacings": [0.25, 0.5, 2.0], "units": ["um"] * 3}, (2, 0.5, 0.25), "um"),
        ({"spacings": [0.25, 0.5, 2.0], "units": ["um", "um", "s"]}, None, None),
        ({"encoding": "raw"}, None, None),
        (
            {"space": "RAS", "space directions": np.diag([0.25, 0.5, 2]), "space units": ["um"] * 3},
            (2, 0.5, 0.25),
            "um",
        ),
    ],
)
def test_nrrd_sizes(tmp_path, header, spacing, unit):
    nrrd.write(str(tmp_path / "a.nrrd"), noise(), dict(header), index_order="C")
    stack = read_stack(tmp_path / "a.nrrd")
    assert (stack.spacing, stack.unit) == (spacing, unit)
    np.testing.assert_array_equal(stack.data.compute(), noise())
    if "space" in header:
        np.testing.assert_allclose(stack.affine[:3, :3] @ [1, 1, 1], [0.00025, 0.0005, 0.002])


@pytest.mark.parametrize(("space", "signs"), [("RAS", (1, 1, 1)), ("LAS", (-1, 1, 1)), ("LPS", (-1, -1, 1))])
def test_nrrd_spaces(tmp_path, space, signs):
    rows = np.array([[0.75, 0, 0.1], [0, 0.5, 0], [0, 0, 2.5]])
    header = {"space": space, "space directions": rows, "space origin": np.array(ORIGIN)}
    nrrd.write(str(tmp_path / "a.nrrd"), noise(), header, index_order="C")
    wanted = np.diag([*signs, 1.0]) @ np.vstack([np.column_stack([rows[::-1].T, ORIGIN]), [0, 0, 0, 1]])
    np.testing.assert_allclose(read_stack(tmp_path / "a.nrrd").affine, wanted)


@pytest.mark.parametrize(
    ("kinds", "axes", "options"),
    [
        (["vector", "domain", "domain", "domain"], "ZYXC", {"channel": 1}),
        (["RGB-color", "domain", "domain", "domain"], "ZYXS", {}),
        (["domain", "domain", "domain", "list"], "CZYX", {"channel": 2}),
        (["domain", "domain", "domain", "time"], "TZYX", {}),
        (["domain", "domain", "domain", "domain"], "TZYX", {"axes": "TZYX"}),
    ],
)
def test_nrrd_kinds_of_axes(tmp_path, kinds, axes, options):
    array = noise((3, 4, 5, 6) if axes[0] != "Z" else (4, 5, 6, 3), "uint8")
    nrrd.write(str(tmp_path / "a.nrrd"), array, {"kinds": kinds}, index_order="C")
    stack = read_stack(tmp_path / "a.nrrd", **options)
    assert stack.axes == axes
    wanted = {"ZYXC": array[..., 1], "ZYXS": array, "CZYX": array[2], "TZYX": array.reshape(12, 5, 6)}[axes]
    np.testing.assert_array_equal(stack.data.compute(), wanted)


def test_colour_metaimage(tmp_path):
    array = noise((*SHAPE, 3), "uint8")
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=True), str(tmp_path / "a.mha"))
    refused(tmp_path / "a.mha", "3 channels", "S if it is red")
    np.testing.assert_array_equal(read_stack(tmp_path / "a.mha", axes="ZYXS").data.compute(), array)
    picked = read_stack(tmp_path / "a.mha", axes="ZYXC", channel=2)
    np.testing.assert_array_equal(picked.data.compute(), array[..., 2])


def test_analyze_pairs(tmp_path):
    image = nib.AnalyzeImage(noise(dtype="int16").T, None)
    image.header.set_zooms((0.75, 0.5, 2.5))
    nib.save(image, tmp_path / "a.img")
    nib.save(nib.Nifti1Pair(noise().T, np.diag([0.75, 0.5, 2.5, 1])), tmp_path / "b.img")
    for name in ("a.img", "a.hdr", "b.hdr"):
        stack = read_stack(tmp_path / name)
        np.testing.assert_array_equal(stack.data.compute(), noise())
        assert (stack.spacing, stack.unit) == (SPACING, "mm")
        assert (stack.affine is None) == name.startswith("a")


# Read: single pictures, arrays and folders


@pytest.mark.parametrize(
    ("mode", "dtype"),
    [("L", "uint8"), ("I;16", "uint16"), ("1", "bool"), ("RGB", "uint8"), ("RGBA", "uint8")],
)
def test_png(tmp_path, mode, dtype):
    array = noise((23, 31, len(mode)) if mode.startswith("RGB") else (23, 31), dtype)
    Image.fromarray(array).save(tmp_path / "a.png")
    stack = read_stack(tmp_path / "a.png")
    np.testing.assert_array_equal(
        stack.data.compute(), array[None, ..., :3] if array.ndim == 3 else array[None]
    )
    assert (stack.was_2d, stack.rgb, stack.spacing) == (True, array.ndim == 3, None)


def test_pictures_as_they_are_in_the_wild(tmp_path):
    deep = noise((23, 31, 3), "uint16") * 300
    (tmp_path / "deep.png").write_bytes(imagecodecs.png_encode(deep))
    np.testing.assert_array_equal(read_stack(tmp_path / "deep.png").data[0].compute(), deep)
    grey = noise((23, 31), "uint8")
    Image.fromarray(grey).save(tmp_path / "a.bmp")
    np.testing.assert_array_equal(read_stack(tmp_path / "a.bmp").data[0].compute(), grey)
    Image.fromarray(grey).save(tmp_path / "a.JPG")
    with Image.open(tmp_path / "a.JPG") as theirs:
        np.testing.assert_array_equal(read_stack(tmp_path / "a.JPG").data[0].compute(), np.asarray(theirs))
    refused(tmp_path / "a.JPG", "changes label values", "PNG", read=read_labels)
    palette = Image.fromarray(grey // 50).convert("P")
    palette.putpalette([0, 0, 0, 200, 0, 0, 0, 200, 0, 0, 0, 200])
    palette.save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "mask.png").data[0].compute(), np.asarray(palette))
    assert read_stack(tmp_path / "mask.png").rgb
    Image.fromarray(grey).save(
        tmp_path / "film.png", save_all=True, append_images=[Image.fromarray(grey // 2)]
    )
    refused(tmp_path / "film.png", "2 frames", "save one")
    whole = (tmp_path / "a.bmp").read_bytes()
    (tmp_path / "a.bmp").write_bytes(whole[: len(whole) // 2])
    refused(tmp_path / "a.bmp", "is not a BMP, or is damaged")


def test_npy(tmp_path):
    for shape in (SHAPE, (23, 31)):
        np.save(tmp_path / "a.npy", noise(shape))
        np.testing.assert_array_equal(
            read_stack(tmp_path / "a.npy").data.compute(), noise(shape).reshape(-1, 23, 31)
        )
    np.save(tmp_path / "b.npy", noise((23, 31, 3)))
    refused(tmp_path / "b.npy", "shape 23x31x3", "--axes YXS", "--axes ZYX")
    assert read_stack(tmp_path / "b.npy", axes="YXS").rgb
    assert read_labels(tmp_path / "b.npy").data.shape == (23, 31, 3)
    np.save(tmp_path / "c.npy", noise((2, *SHAPE)))
    refused(tmp_path / "c.npy", "QQYX of 2x5x23x31", "--axes")
    np.save(tmp_path / "d.npy", np.array([{}]), allow_pickle=True)
    refused(tmp_path / "d.npy", "is not a NumPy file of numbers")
    refused(tmp_path / "c.npy", "one image (NumPy)", "--series", series=1)


def axistags(keys):
    return json.dumps({"axes": [{"key": key, "typeFlags": 2, "resolution": 0} for key in keys]})


@pytest.mark.parametrize(
    ("keys", "axes", "order"),
    [
        ("zyx", "ZYX", (0, 1, 2)),
        ("xyz", "XYZ", (2, 1, 0)),
        ("zyxc", "ZYXC", (0, 1, 2)),
        ("tyx", "TYX", (0, 1, 2)),
    ],
)
def test_hdf5_with_ilastiks_axes(tmp_path, keys, axes, order):
    array = noise((*SHAPE, 1) if "c" in keys else SHAPE)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("volume/raw", data=array, chunks=True, compression="gzip")
        data.attrs["axistags"] = axistags(keys)
        data.attrs["element_size_um"] = [2.0, 0.5, 0.25]
    for path in ("a.h5", "a.h5:/volume/raw", "a.h5:volume/raw", "a.h5/volume/raw"):
        stack = read_stack(tmp_path / path)
        assert (stack.axes, stack.unit) == (axes, "um")
        assert stack.spacing == (2 if "z" in keys else 1, 0.5, 0.25)
        np.testing.assert_array_equal(stack.data.compute(), array.reshape(SHAPE).transpose(order))
    np.testing.assert_array_equal(read_labels(tmp_path / "a.h5").data[2].compute(), stack.data[2].compute())


def test_hdf5_that_is_not_clear(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a/raw"], file["labels"], file["note"] = noise(), noise(), "text"
    refused(tmp_path / "a.h5", "holds 2 datasets (/a/raw of 5x23x31, /labels of 5x23x31)", "a.h5:/a/raw")
    refused(tmp_path / "a.h5:/a", "/a is a group", "/a/raw of")
    refused(tmp_path / "a.h5:/b", "/b is not there", "/a/raw of")
    np.testing.assert_array_equal(read_stack(tmp_path / "a.h5:/labels").data.compute(), noise())
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["empty"] = 3
    refused(tmp_path / "b.h5", "no dataset of two axes")
    refused(tmp_path / "c.h5:/x", "does not exist")
    (tmp_path / "d.h5").write_bytes(b"text")
    refused(tmp_path / "d.h5", "cannot be read")


@pytest.mark.parametrize("ending", ["png", "tif", "bmp"])
def test_folders_of_slices_in_natural_order(tmp_path, ending):
    array = noise((12, 23, 31), "uint8")
    (tmp_path / "s").mkdir()
    for index, plane in enumerate(array):
        name = tmp_path / "s" / f"slice{index}.{ending}"
        tifffile.imwrite(name, plane) if ending == "tif" else Image.fromarray(plane).save(name)
    (tmp_path / "s" / ".hidden.png").write_bytes(b"")
    (tmp_path / "s" / "notes.txt").write_text("")
    for path in ("s", f"s/*.{ending}", f"*/slice*.{ending}"):
        stack = read_stack(tmp_path / path)
        assert (stack.axes, stack.was_2d, stack.spacing) == ("ZYX", False, None)
        np.testing.assert_array_equal(stack.data.compute(), array)
    np.testing.assert_array_equal(read_labels(tmp_path / "s").data[11].compute(), array[11])
    assert len(read_stack(tmp_path / f"s/slice1?.{ending}").data) == 2
    refused(tmp_path / f"s/x*.{ending}", "matches no file")


def test_folders_that_are_no_stack(tmp_path):
    for index, shape in enumerate([(8, 9), (8, 9), (8, 7)]):
        Image.fromarray(noise(shape, "uint8")).save(tmp_path / f"s{index}.png")
    with pytest.raises(InputError, match=r"s2\.png is 8x7 L, .*s0\.png is 8x9 L: .*pattern"):
        read_stack(tmp_path)
    tifffile.imwrite(tmp_path / "t.tif", noise((8, 9), "uint8"))
    refused(tmp_path, "several types (3 .png, 1 .tif)", "/*.png")
    (tmp_path / "v").mkdir()
    tifffile.imwrite(tmp_path / "v" / "v.tif", noise(dtype="uint8"), photometric="minisblack")
    with pytest.raises(InputError, match=r"v\.tif holds 5x23x31 values .* and not one slice"):
        read_stack(tmp_path / "v")
    stack = read_stack(tmp_path / "s[01].png")
    (tmp_path / "s1.png").write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"s1\.png is not a PNG"):
        stack.data[1].compute()


# Read: series of files for each slice


@pytest.mark.parametrize("orientation", [dicoms.UPRIGHT, TILTED, (0, 1, 0, 0, 0, -1), (0.6, 0.8, 0, 0, 0, 1)])
def test_dicom_series_as_simpleitk_reads_them(tmp_path, orientation):
    array = noise(dtype="int16") - 50
    folder = dicoms.series(tmp_path / "d", array, orientation=orientation)
    (folder / "readme.txt").write_text("no DICOM")
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    theirs = reader.Execute()
    stack = read_stack(folder)
    np.testing.assert_array_equal(stack.data.compute(), sitk.GetArrayFromImage(theirs))
    np.testing.assert_array_equal(stack.data.compute(), array)
    same_place(stack, affine_of(theirs))


@pytest.mark.parametrize(
    ("slope", "intercept", "dtype"),
    [(1, -1024, "int32"), (1, 0, "uint16"), (2, 0, "int32"), (0.5, 3, "float32"), (1, 0.25, "float32")],
)
def test_dicom_values_are_rescaled(tmp_path, slope, intercept, dtype):
    folder = dicoms.series(tmp_path, noise(), RescaleSlope=slope, RescaleIntercept=intercept)
    stack = read_stack(folder)
    np.testing.assert_array_equal(stack.data.compute(), noise().astype(float) * slope + intercept)
    assert stack.data.dtype == dtype


def test_dicom_in_one_file_and_compressed(tmp_path):
    path = dicoms.multiframe(tmp_path / "a.dcm", noise(), orders=(3, 1, 0, 4, 2))
    stack = read_stack(path)
    shift = np.arange(5)[:, None, None] - 100
    np.testing.assert_array_equal(stack.data.compute(), 2 * noise().astype(int) + shift)
    assert (stack.spacing, stack.unit) == (SPACING, "mm")
    np.testing.assert_allclose(stack.affine[:3, 3], [-3, -4, 5])
    folder = dicoms.series(tmp_path / "d", noise())
    for file in folder.iterdir():
        whole = dcmread(file)
        whole.compress("1.2.840.10008.1.2.4.80")  # JPEG-LS
        whole.save_as(file)
    np.testing.assert_array_equal(read_stack(folder).data.compute(), noise())
    single = read_stack(next(iter(sorted(folder.iterdir()))))
    assert (len(single.data), single.spacing) == (1, SPACING)


def test_dicom_files_as_archives_have_them(tmp_path):
    """Names without an ending, a slice twice, no positions: slices go by positions, else by numbers."""
    folder = dicoms.series(tmp_path / "d", noise())
    (folder / "copy.dcm").write_bytes((folder / "003.dcm").read_bytes())
    np.testing.assert_array_equal(read_stack(folder).data.compute(), noise())
    for file in sorted(folder.iterdir()):
        file.rename(folder / f"IM_{file.stem}")
    np.testing.assert_array_equal(read_stack(folder).data.compute(), noise())
    np.testing.assert_array_equal(read_stack(folder / "IM_001").data[0].compute(), noise()[4])
    for file in folder.iterdir():
        header = dcmread(file)
        del header.ImagePositionPatient
        header.save_as(file)
    stack = read_stack(folder)
    np.testing.assert_array_equal(stack.data.compute(), noise()[::-1])
    assert (stack.affine, stack.spacing, stack.unit) == (None, SPACING, "mm")


def test_films_colours_and_localizers(tmp_path):
    film = dicoms.header(NumberOfFrames=5, FrameTime="33.3")
    dicoms.pixels(film, noise()).save_as(tmp_path / "film.dcm", enforce_file_format=True)
    stack = read_stack(tmp_path / "film.dcm")
    assert (stack.axes, stack.frames) == ("TYX", 5)
    np.testing.assert_array_equal(stack.data.compute(), noise())
    colours = noise((23, 31, 3), "uint8")
    picture = dicoms.pixels(dicoms.header(PlanarConfiguration=0), noise((23, 31)))
    picture.SamplesPerPixel, picture.PhotometricInterpretation = 3, "RGB"
    picture.BitsAllocated = picture.BitsStored = 8
    picture.HighBit, picture.PixelData = 7, colours.tobytes() + b"\0" * (colours.size % 2)
    picture.save_as(tmp_path / "rgb.dcm", enforce_file_format=True)
    np.testing.assert_array_equal(read_stack(tmp_path / "rgb.dcm").data[0].compute(), colours)
    picture.PhotometricInterpretation = "PALETTE COLOR"
    picture.save_as(tmp_path / "palette.dcm", enforce_file_format=True)
    refused(tmp_path / "palette.dcm", "PALETTE COLOR", "save it in RGB")
    for name, orientation in (("a", dicoms.UPRIGHT), ("b", (0, 1, 0, 0, 0, -1))):
        dicoms.series(tmp_path / "d" / name, noise(), orientation=orientation)
    refused(tmp_path / "d", "2 series or volumes (0: MR 5x23x31, 1: MR 5x23x31)")
    assert len(read_stack(tmp_path / "d", series=1).data) == 5


def test_several_series_are_named_and_chosen(tmp_path, capsys):
    dicoms.series(tmp_path / "d/a", noise(), SeriesDescription="T1 tra")
    small = noise((3, 9, 8))
    dicoms.series(tmp_path / "d/b", small, SeriesDescription="T2", SeriesInstanceUID="1.9", SeriesNumber=2)
    refused(tmp_path / "d", "2 series or volumes (0: T1 tra 5x23x31, 1: T2 3x9x8)", "--series")
    for series in (1, "1", "t2"):
        np.testing.assert_array_equal(read_stack(tmp_path / "d", series=series).data.compute(), small)
    refused(tmp_path / "d", "--series t fits 2 of the 2", series="t")
    refused(tmp_path / "d", "--series 7 fits none", series="7")
    segment = ["segment", str(tmp_path / "d"), "--adapter", "no", "--out", str(tmp_path / "o.tif")]
    assert cli.main(segment) == 2
    assert "choose one with --series" in capsys.readouterr().err
    assert cli.main([*segment, "--series", "5"]) == 2
    assert "--series 5 fits none" in capsys.readouterr().err


def test_volumes_in_the_same_places_are_named_and_chosen(tmp_path):
    for time in range(2):
        dicoms.series(tmp_path / "d", noise() + time, first=5 * time, AcquisitionNumber=time)
    refused(tmp_path / "d", "0: MR volume 0 5x23x31, 1: MR volume 1 5x23x31")
    np.testing.assert_array_equal(read_stack(tmp_path / "d", series=1).data.compute(), noise() + 1)
    stack = read_stack(tmp_path / "d", axes="TZYX")
    assert stack.frames == 2
    np.testing.assert_array_equal(stack.data.compute(), np.concatenate([noise(), noise() + 1]))


def test_dicom_with_a_slice_missing(tmp_path):
    folder = dicoms.series(tmp_path / "d", noise())
    (folder / "003.dcm").unlink()
    refused(
        folder, "004.dcm and 002.dcm are 5 mm apart, other slices 2.5 mm", "copy the missing", "--axes ZYX"
    )
    stack = read_stack(folder, axes="ZYX")
    assert (len(stack.data), stack.spacing, stack.affine) == (4, (None, 0.5, 0.75), None)
    for file in folder.iterdir():
        file.write_bytes(b"text")
    refused(folder, "holds no DICOM image", "name the folder")


# Several images in a file


def test_images_of_a_tiff_and_volumes_of_a_nifti_are_chosen(tmp_path):
    with tifffile.TiffWriter(tmp_path / "two.tif") as file:
        file.write(noise(), photometric="minisblack", metadata={"axes": "ZYX"})
        file.write(noise((3, 9, 8)), photometric="minisblack", metadata={"axes": "ZYX"})
    np.testing.assert_array_equal(read_stack(tmp_path / "two.tif", series=1).data.compute(), noise((3, 9, 8)))
    with tifffile.TiffWriter(tmp_path / "two.ome.tif", ome=True) as file:
        for name, size in (("first", 0.5), ("second", 0.25)):
            metadata = {"axes": "ZYX", "Name": name, "PhysicalSizeX": size, "PhysicalSizeY": size}
            file.write(noise(), photometric="minisblack", metadata=metadata)
    refused(tmp_path / "two.ome.tif", "0: first 5x23x31, 1: second 5x23x31")
    assert read_stack(tmp_path / "two.ome.tif", series="second").spacing == (None, 0.25, 0.25)
    array = noise((3, *SHAPE))
    nib.save(nib.Nifti1Image(array.T, np.diag([2, 2, 3, 1])), tmp_path / "a.nii.gz")
    refused(tmp_path / "a.nii.gz", "--axes", "one volume with --series")
    stack = read_stack(tmp_path / "a.nii.gz", series=2)
    np.testing.assert_array_equal(stack.data.compute(), array[2])
    assert (stack.frames, stack.axes, stack.spacing) == (1, "ZYX", (3, 2, 2))
    write_labels(tmp_path / "out.nii.gz", LABELS, stack)
    np.testing.assert_array_equal(nib.load(tmp_path / "out.nii.gz").dataobj, LABELS.T)
    refused(tmp_path / "a.nii.gz", "--series 3 fits none of the 3 volumes", series=3)


# Damaged, and without the library


@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".mhd", ".npy", ".h5"])
def test_files_cut_short_are_refused(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    if ending == ".npy":
        np.save(path, noise())
    elif ending == ".h5":
        with h5py.File(path, "w") as file:
            file["raw"] = noise()
    else:
        itk(path, noise(), compressed=ending == ".mha")
    cut = path.with_suffix(".raw") if ending == ".mhd" else path
    whole = cut.read_bytes()
    for share in (0.0, 0.1, 0.5, 0.97):
        cut.write_bytes(whole[: int(share * len(whole))])
        refused(path)


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [
        ("a.mha", "_metaimage", "itk"),
        ("a.h5", "_hdf5", "hdf5"),
        ("d", "_dicom", "dicom"),
        ("a.czi", "_bioio", "microscopes"),
    ],
)
def test_the_error_names_the_extra(tmp_path, monkeypatch, name, module, extra):
    library = {"itk": "SimpleITK", "hdf5": "h5py", "dicom": "pydicom", "microscopes": "bioio"}[extra]
    if name == "d":
        dicoms.series(tmp_path / "d", noise())
    else:
        (tmp_path / name).write_bytes(b"")
    for loaded in [*sys.modules]:
        if loaded.split(".")[0] == library or loaded.startswith(f"napari_salt.io.{module}"):
            monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, library, None)
    refused(tmp_path / name, f'pip install "napari-salt[{extra}]"', library)


def test_paths_are_taken_in_python(tmp_path):
    with pytest.raises(InputError, match="nothing is painted"):
        ns.train(
            itk(tmp_path / "i.mha", noise()), itk(tmp_path / "l.nrrd", 0 * LABELS), ns.TrainConfig(steps=1)
        )
    with pytest.raises(InputError, match="does not lie on the voxels"):
        ns.train(
            itk(tmp_path / "i.mha", noise()), itk(tmp_path / "m.nrrd", LABELS, orientation=dicoms.UPRIGHT)
        )


def test_a_zarr_is_known_by_its_content(tmp_path):
    zarr.save_array(tmp_path / "plain", noise())
    np.testing.assert_array_equal(read_stack(tmp_path / "plain").data.compute(), noise())
