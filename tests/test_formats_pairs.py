"""Each pair of a format and reading or writing, against another library: values, size, origin, direction.

A format that is added without its pair here fails.
"""

import functools

import h5py
import highdicom as hd
import imagecodecs
import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import slicerio
import tifffile
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader
from PIL import Image

import dicoms
from napari_salt.io import read_labels, read_stack, write_labels
from napari_salt.io._table import FORMATS, offered
from stacks import multiscales, noise, ome_zarr, save
from volumes import CLASSES, LABELS, SPACING, TILTED, affine_of, itk

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
UM = {"axes": "ZYX", "PhysicalSizeZ": 2.5, "PhysicalSizeY": 0.5, "PhysicalSizeX": 0.75}
UNKNOWN = None
LPS = np.diag([-1, -1, 1, 1])

# Read: what the other library finds is (values, voxel size (z, y, x), affine); what it does not say is None.


def by_itk(path):
    image = sitk.ReadImage(str(path))
    return sitk.GetArrayFromImage(image), image.GetSpacing()[::-1], affine_of(image)


def volume_file(folder, name):
    path = itk(folder / name, noise(dtype="int16") - 70)
    return path, by_itk(path)


def segments(folder):
    path = itk(folder / "a.seg.nrrd", LABELS)
    theirs = slicerio.read_segmentation(str(path))
    affine = LPS @ np.asarray(theirs["ijkToLPS"])
    return path, (theirs["voxels"].T, np.linalg.norm(affine[:3, 2::-1], axis=0), affine[:, [2, 1, 0, 3]])


def tiff(folder):
    path = save(folder, noise(), "a.ome.tif", ome=True, metadata=UM)
    with tifffile.TiffFile(path) as tif:
        pixels = tifffile.xml2dict(tif.ome_metadata)["OME"]["Image"]["Pixels"]
        return path, (tif.asarray(), [pixels[f"PhysicalSize{axis}"] for axis in "ZYX"], UNKNOWN)


def by_ome_zarr(path):
    (node, *_) = Reader(parse_url(path))()
    scale = node.metadata["coordinateTransformations"][0][0]["scale"]
    return np.asarray(node.data[0]), scale, UNKNOWN


def zarr_group(folder):
    path = ome_zarr(folder / "a.zarr", noise(), multiscales("zyx", list(SPACING)))
    return path, by_ome_zarr(path)


def analyze(folder):
    image = nib.AnalyzeImage(noise(dtype="int16").T, None)
    image.header.set_zooms(SPACING[::-1])
    nib.save(image, folder / "a.img")
    theirs = nib.load(folder / "a.img")
    return folder / "a.img", (np.asarray(theirs.dataobj).T, theirs.header.get_zooms()[::-1], UNKNOWN)


def picture(folder, name):
    Image.fromarray(noise((23, 31), "uint8")).save(folder / name)
    with Image.open(folder / name) as theirs:
        return folder / name, (np.asarray(theirs)[None], UNKNOWN, UNKNOWN)


def numpy_file(folder):
    np.save(folder / "a.npy", noise())
    return folder / "a.npy", (np.load(folder / "a.npy"), UNKNOWN, UNKNOWN)


def hdf5(folder):
    with h5py.File(folder / "a.h5", "w") as file:
        file["raw"] = noise()
        file["raw"].attrs["element_size_um"] = SPACING
    with h5py.File(folder / "a.h5") as theirs:
        return folder / "a.h5", (theirs["raw"][:], theirs["raw"].attrs["element_size_um"], UNKNOWN)


def microscope(folder):
    pytest.importorskip("bioio_czi", reason="needs bioio-czi")
    from bioio import BioImage

    library = pytest.importorskip("pylibCZIrw.czi", reason="needs pylibCZIrw, which writes CZI")
    with library.create_czi(str(folder / "a.czi")) as file:
        for z, plane in enumerate(noise()):
            file.write(plane[..., None], plane={"C": 0, "Z": z})
        sizes = {f"scale_{axis}": size * 1e-6 for axis, size in zip("zyx", SPACING, strict=True)}
        file.write_metadata("stack", **{**sizes, "scale_x": sizes["scale_y"]})
    theirs = BioImage(folder / "a.czi")
    return folder / "a.czi", (theirs.get_image_data("ZYX"), theirs.physical_pixel_sizes, UNKNOWN)


def dicom_frames(folder):
    path = dicoms.multiframe(folder / "a.dcm", noise())
    theirs = hd.imread(path).get_volume(apply_real_world_transform=False).flip_spatial(0)  # as ITK has it
    return path, (theirs.array, theirs.spacing, LPS @ theirs.affine)


def dicom_series(folder):
    dicoms.series(folder / "d", noise(dtype="int16") - 70, orientation=TILTED)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder / "d")))
    theirs = reader.Execute()
    return folder / "d", (sitk.GetArrayFromImage(theirs), theirs.GetSpacing()[::-1], affine_of(theirs))


def single_slices(folder):
    (folder / "s").mkdir()
    for index, plane in enumerate(noise()):
        (folder / "s" / f"s{index}.png").write_bytes(imagecodecs.png_encode(plane))
    paths = sorted((folder / "s").iterdir())
    return folder / "s", (
        np.stack([imagecodecs.png_decode(path.read_bytes()) for path in paths]),
        UNKNOWN,
        UNKNOWN,
    )


READ = {
    "TIFF": tiff,
    "OME-Zarr": zarr_group,
    "NIfTI": functools.partial(volume_file, name="a.nii.gz"),
    "3D Slicer's segmentation": segments,
    "NRRD": functools.partial(volume_file, name="a.nrrd"),
    "MetaImage": functools.partial(volume_file, name="a.mha"),
    "Analyze": analyze,
    "PNG": functools.partial(picture, name="a.png"),
    "JPEG": functools.partial(picture, name="a.jpg"),
    "BMP": functools.partial(picture, name="a.bmp"),
    "NumPy": numpy_file,
    "HDF5": hdf5,
    "CZI/LIF/ND2": microscope,
    "DICOM": dicom_frames,
    "DICOM series": dicom_series,
    "images of single slices": single_slices,
}


def test_each_format_is_read_here():
    assert set(READ) == set(FORMATS)


@pytest.mark.parametrize("name", READ)
def test_read_as_another_library_reads(tmp_path, name):
    path, (values, spacing, affine) = READ[name](tmp_path)
    stack = read_stack(path)
    np.testing.assert_array_equal(stack.data.compute(), values)
    for ours, theirs in ((stack.spacing, spacing), (stack.affine, affine)):
        if theirs is UNKNOWN:
            assert ours is None
        else:
            np.testing.assert_allclose(np.asarray(ours, float), np.asarray(theirs, float), **CLOSE)


# Written: what the other library finds in it


def of_nifti(path):
    theirs = nib.load(path)
    return np.asarray(theirs.dataobj).T, theirs.header.get_zooms()[::-1], theirs.affine[:, [2, 1, 0, 3]]


def of_segments(path):
    theirs = slicerio.read_segmentation(str(path))
    affine = (LPS @ np.asarray(theirs["ijkToLPS"]))[:, [2, 1, 0, 3]]
    return theirs["voxels"].T, np.linalg.norm(affine[:3, :3], axis=0), affine


def of_tiff(path):
    with tifffile.TiffFile(path) as tif:
        pixels = tifffile.xml2dict(tif.ome_metadata)["OME"]["Image"]["Pixels"]
        return tif.asarray(), [pixels[f"PhysicalSize{axis}"] for axis in "ZYX"], UNKNOWN


def of_png(path):
    return np.asarray(Image.open(path))[None], UNKNOWN, UNKNOWN


def of_npy(path):
    return np.load(path), UNKNOWN, UNKNOWN


def of_dicom(path):
    theirs = hd.seg.segread(path)
    found = theirs.get_volume(combine_segments=True).flip_spatial(0)  # as ITK has it
    numbers = {segment.SegmentLabel: segment.SegmentNumber for segment in theirs.SegmentSequence}
    values = sum(info.value * (found.array == numbers[info.name]) for info in CLASSES)
    return values, found.spacing, LPS @ found.affine


WRITTEN = {
    ".tif": of_tiff,
    ".zarr": by_ome_zarr,
    ".nii": of_nifti,
    ".nii.gz": of_nifti,
    ".seg.nrrd": of_segments,
    ".nrrd": by_itk,
    ".mha": by_itk,
    ".png": of_png,
    ".npy": of_npy,
    ".dcm": of_dicom,
}


def test_each_format_that_can_be_written_is_written_here():
    assert set(WRITTEN) == set(offered())


@pytest.mark.filterwarnings("ignore:.*(does not keep|keeps the voxel size, but not)")
@pytest.mark.parametrize("ending", WRITTEN)
def test_written_as_another_library_reads(tmp_path, ending):
    image = read_stack(dicoms.series(tmp_path / "d", noise(), orientation=TILTED))
    labels = LABELS
    if ending == ".png":
        image, labels = read_stack(save(tmp_path, noise((23, 31)), "flat.tif")), LABELS[:1]
    path = tmp_path / f"out{ending}"
    write_labels(path, labels, image, CLASSES)
    values, spacing, affine = WRITTEN[ending](path)
    np.testing.assert_array_equal(values, labels)
    if spacing is not UNKNOWN:
        np.testing.assert_allclose(np.asarray(spacing, float), image.spacing, **CLOSE)
    if affine is not UNKNOWN:
        np.testing.assert_allclose(affine, image.affine, **CLOSE)
    np.testing.assert_array_equal(read_labels(path, like=image).data.compute(), labels)
