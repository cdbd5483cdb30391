"""Planes across the stored slices: painted, learnt from, segmented, averaged."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from safetensors import safe_open

import napari_salt as ns
import tiny
from napari_salt.core.paint.plane_view import PlaneView, pixel_size_along, view_along
from napari_salt.core.segment.stack import segmentation_events
from napari_salt.io import read_stack
from napari_salt.terms.errors import InputError
from napari_salt.terms.planes import NOTHING_KNOWN, Voxels, cut_of

AXES = ("z", "y", "x")
ENOUGH = replace(tiny.QUICK, steps=40)


@pytest.fixture(scope="module")
def cylinders():
    """Bright bars along y on dark noise: discs on planes of y; image and truth, 24 x 48 x 64."""
    image, truth = tiny.discs(1, 64)
    image, truth = (np.repeat(plane[0][::2][None], 48, 0).swapaxes(0, 1)[:24] for plane in (image, truth))
    noise = np.random.default_rng(0).integers(0, 40, image.shape)
    return (image + noise).astype(np.uint16), truth


def painted(truth, axis, *places):
    """The truth on some planes that follow `axis`, 0 elsewhere."""
    labels = np.zeros_like(truth)
    number = AXES.index(axis)
    np.moveaxis(labels, number, 0)[list(places)] = np.moveaxis(truth, number, 0)[list(places)]
    return labels


def view(volume, plane, spacing=None, **kwargs):
    return PlaneView(volume, cut_of(plane, NOTHING_KNOWN), spacing, **kwargs)


def dice(found, truth):
    return 2 * np.count_nonzero((found > 0) & (truth > 0)) / (np.count_nonzero(found) + truth.sum())


@pytest.mark.parametrize(("axis", "rows", "columns"), [("z", 3, 4), ("y", 10, 4), ("x", 10, 3)])
def test_pixels_of_a_view_are_square(axis, rows, columns):
    volume = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    cut = view(volume, axis, (5.0, 1.0, 1.0))
    assert cut.shape == (volume.shape[AXES.index(axis)], rows, columns)
    plane = np.take(volume, 1, AXES.index(axis))
    assert cut.own_shape == plane.shape
    found = cut[1]
    assert found.dtype == np.uint8
    assert found.shape == (rows, columns)
    if axis != "z":
        np.testing.assert_array_equal(found[[0, -1]], plane[[0, -1]])
        assert (np.diff(found.astype(int), axis=0) >= 0).all(), "between the slices it is interpolated"


def test_labels_of_a_view_are_never_mixed():
    labels = np.zeros((2, 3, 4), np.uint8)
    labels[1, 1] = 200
    found = view(labels, "y", (2.5, 1.0, 1.0), labels=True)[1]
    np.testing.assert_array_equal(found[:, 0], [0, 0, 200, 200, 200])


def test_colours_and_wide_values_survive_a_view():
    colours = np.random.default_rng(0).integers(0, 255, (3, 4, 5, 3)).astype(np.uint8)
    assert view(colours, "x", (2, 1, 1))[0].shape == (6, 4, 3)
    np.testing.assert_array_equal(view(colours, "x")[2], colours[:, :, 2])
    wide = np.full((2, 3, 4), 2**31 - 1, np.int32)
    np.testing.assert_array_equal(view(wide, "y", (2, 1, 1))[0], np.full((4, 4), 2**31 - 1))


@pytest.mark.parametrize(
    ("plane", "spacing", "size"),
    [("y", (2, 0.5, 0.5), 0.5), ("y", (0.1, 0.5, 0.5), 0.1), ("z", (0.1, 0.5, 0.5), 0.5), ("x", None, 0.5)],
)
def test_the_pixel_size_is_that_of_the_finer_side(plane, spacing, size):
    voxels = Voxels(spacing)
    assert pixel_size_along(cut_of(plane, voxels), 0.5, voxels) == pytest.approx(size)
    assert pixel_size_along(cut_of(plane, voxels), None, voxels) is None


def test_a_single_image_has_no_other_plane():
    with pytest.raises(InputError, match="single slice and has no plane x"):
        view_along(np.zeros((1, 4, 5)), cut_of("x", NOTHING_KNOWN), NOTHING_KNOWN)


@pytest.mark.parametrize("voxels", [(1, 2), (1, 0, 1), (1, 2, float("nan")), "big", 3])
def test_what_is_no_size_of_a_voxel_is_refused(voxels, along_y, cylinders):
    with pytest.raises(InputError, match="size of a voxel"):
        ns.segment(cylinders[0], along_y, voxels=voxels)


@pytest.fixture(scope="module")
def along_y(cylinders):
    """An adapter trained on two planes of y."""
    image, truth = cylinders
    with pytest.MonkeyPatch.context() as patch:
        tiny.use(patch)
        config = replace(ENOUGH, plane="y")
        return ns.train(image, painted(truth, "y", 5, 40), config, voxels=(2.0, 1.0, 1.0))


def test_what_is_painted_on_planes_of_y_is_found_in_the_volume(along_y, cylinders, tiny_base):
    image, truth = cylinders
    assert along_y.preprocess.plane == "y"
    assert along_y.training["painted_slices"] == [5, 40]
    assert along_y.training["data_shape"] == [48, 48, 64], "24 slices, twice as far apart as pixels"
    found = ns.segment(image, along_y, ns.SegmentConfig(device="cpu"), voxels=(2.0, 1.0, 1.0))
    assert found.shape == image.shape
    assert dice(found, truth) > 0.7
    part = ns.SegmentConfig(device="cpu", slices=(7, 30))
    some = ns.segment(image, along_y, part, voxels=(2.0, 1.0, 1.0))
    np.testing.assert_array_equal(some[:, [7, 30]], found[:, [7, 30]])
    assert not np.delete(some, [7, 30], 1).any()


def test_all_three_planes_are_averaged(along_y, cylinders, tiny_base):
    image, _ = cylinders
    sums = 0
    for axis in AXES:
        config = ns.SegmentConfig(device="cpu", plane=axis, views=1)
        results = [r for r in segmentation_events(image, along_y, config) if r.done is None]
        assert [result.index for result in results] == list(range(len(image)))
        sums = sums + np.stack([result.probabilities for result in results])
    config = ns.SegmentConfig(device="cpu", plane="all", views=1)
    events = list(segmentation_events(image, along_y, config))
    told = [result.done for result in events if result.done]
    assert told == [(done, 24 + 48 + 64) for done in range(1, 24 + 48 + 65)]
    averaged = np.stack([result.probabilities for result in events if result.done is None])
    # Each axis measures its intensities by itself; together they have those of the first.
    assert np.abs(averaged - sums / 3).mean() < 0.01
    np.testing.assert_allclose(averaged.sum(1), 1, atol=1e-3)


def test_an_adapter_of_a_plane_comes_back_from_its_file(along_y, tmp_path):
    along_y.save(tmp_path / "a.safetensors")
    assert ns.Adapter.load(tmp_path / "a.safetensors").preprocess == along_y.preprocess


def test_a_file_of_plane_z_is_read_by_versions_that_knew_no_other(along_y, tmp_path):
    for name, adapter in (("z", tiny.adapter()), ("y", along_y)):
        adapter.save(tmp_path / name)
        with safe_open(tmp_path / name, "np") as file:
            assert ("plane" in file.metadata()["preprocess"]) == (name == "y")


def test_paint_on_other_planes_than_those_named_is_refused(cylinders, tiny_base):
    image, truth = cylinders
    for plane, painted_on in (("y", "z"), ("x", "z"), ("y", "x"), ("z", "y")):
        place = int(np.moveaxis(truth, AXES.index(painted_on), 0).sum((1, 2)).argmax())
        labels = painted(truth, painted_on, place)
        with pytest.raises(
            InputError, match=f"{painted_on} = {place} is one pixel wide.*--plane {painted_on}"
        ):
            ns.train(image, labels, replace(ENOUGH, plane=plane), voxels=(2, 1, 1))


def test_slices_are_suggested_of_the_adapters_plane(along_y, cylinders, tiny_base):
    image, _ = cylinders
    found = ns.suggest(image, along_y, ns.SegmentConfig(device="cpu"), voxels=(2.0, 1.0, 1.0), count=3)
    assert len(found) == 3
    assert not {5, 40} & set(found), "painted"
    assert max(found) > len(image), "of 48 planes of y, spread over all"


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"plane": "coronal"}, "how the patient lies"),
        ({"plane": "all", "slices": (3,)}, "leave out the slices"),
        ({"plane": "x", "group": 6}, "time series"),
        ({"plane": "w"}, "plane is 'w'"),
    ],
)
def test_what_no_plane_can_do_is_refused(config, words, along_y, cylinders):
    with pytest.raises(InputError, match=words):
        ns.segment(cylinders[0], along_y, ns.SegmentConfig(**config))


def test_objects_are_those_of_the_volume(along_y, cylinders, tiny_base):
    image, truth = cylinders
    config = ns.SegmentConfig(device="cpu", objects=True)
    found = ns.segment(image, along_y, config, voxels=(2.0, 1.0, 1.0))
    assert found.dtype == np.int32
    assert found.max() >= 1
    assert dice(found, truth) > 0.7


def write(path, data, turned=(0, 1, 2), flipped=()):
    """A NIfTI of voxels of 1 x 1 x 2 mm; `data` (right, front, head) is stored in another order."""
    affine = np.diag([1.0, 1.0, 2.0, 1.0])[:, [*turned, 3]]
    stored = np.flip(data.transpose(turned), flipped)
    for axis in flipped:
        affine[:, 3] += affine[:, axis] * (stored.shape[axis] - 1)
        affine[:, axis] *= -1
    image = nib.Nifti1Image(np.ascontiguousarray(stored), affine)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)
    return path


TURNS = ((0, 1, 2), ()), ((1, 2, 0), ()), ((2, 0, 1), (0, 2)), ((0, 1, 2), (0, 1, 2)), ((1, 0, 2), (1,))


@pytest.mark.parametrize(("turned", "flipped"), TURNS)
@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_planes_of_anatomy_look_alike_however_they_are_stored(plane, turned, flipped, tmp_path):
    body = np.arange(4 * 5 * 6, dtype=np.uint8).reshape(4, 5, 6)  # right, front, head
    stack = read_stack(write(tmp_path / "a.nii", body, turned, flipped))
    cut = cut_of(plane, stack.voxels)
    number = ("sagittal", "coronal", "axial").index(plane)
    found = cut.of(np.asarray(stack.data))
    wanted = np.moveaxis(body, number, 0).swapaxes(1, 2)  # rows towards the head, or to the front
    if not np.array_equal(found, wanted):  # the order of slices is that of the file
        np.testing.assert_array_equal(found[::-1], wanted)
    assert cut.sides(stack.voxels.spacing) == ((1, 1) if plane == "axial" else (2, 1))


def test_a_coronal_adapter_is_used_on_a_file_that_lies_otherwise(cylinders, tmp_path, capsys, tiny_base):
    from napari_salt.cli import main

    image, truth = cylinders
    labels = painted(truth, "y", 5, 40)
    files = []
    for name, data in (("image", image), ("labels", labels)):
        files.append(str(write(tmp_path / f"{name}.nii.gz", data.astype(np.int16).T)))
    out = str(tmp_path / "a.safetensors")
    quick = ["--base", "tiny", "--steps", "40", "--learning-rate", "0.01", "--device", "cpu"]
    quick += ["--lora-rank", "2", "--pixel-scale", "1"]
    assert main(["train", *files, "--out", out, "--plane", "coronal", *quick]) == 0
    segment = ["--adapter", out, "--device", "cpu"]
    assert main(["segment", files[0], *segment, "--out", str(tmp_path / "found.nii.gz")]) == 0
    found = np.asarray(nib.load(tmp_path / "found.nii.gz").dataobj)
    assert found.shape == image.T.shape
    assert dice(found.T, truth) > 0.7
    # The same patient, stored with its axes in another order.
    other = write(tmp_path / "other.nii.gz", image.astype(np.int16).T, (1, 2, 0), (0, 2))
    assert main(["segment", str(other), *segment, "--out", str(tmp_path / "again.nii.gz")]) == 0
    again = np.flip(np.asarray(nib.load(tmp_path / "again.nii.gz").dataobj), (0, 2)).transpose(2, 0, 1)
    assert (again == found).mean() > 0.999, "smallest differences of intensity windows"
    capsys.readouterr()
    assert main(["suggest", files[0], *segment]) == 0
    assert "slice" in capsys.readouterr().out
    assert main(["segment", files[0], *segment, "--out", str(tmp_path / "b.nii.gz"), "--resume"]) == 2
    assert "in one run; leave out --resume" in capsys.readouterr().err


def test_a_file_without_distances_is_told_of(cylinders, tmp_path, capsys, caplog, tiny_base):
    import tifffile

    from napari_salt.cli import main

    image, truth = cylinders
    tifffile.imwrite(tmp_path / "i.tif", image, photometric="minisblack")
    tifffile.imwrite(tmp_path / "l.tif", painted(truth, "x", 20), photometric="minisblack")
    files = [str(tmp_path / "i.tif"), str(tmp_path / "l.tif")]
    train = ["--out", str(tmp_path / "a.safetensors"), "--base", "tiny", "--steps", "2", "--device", "cpu"]
    assert main(["train", *files, *train]) == 2
    assert "x = 20" in (err := capsys.readouterr().err)
    assert "--plane x" in err
    assert main(["train", *files, *train, "--plane", "x"]) == 0
    assert "voxels are taken for cubes" in caplog.text
    capsys.readouterr()
    assert main(["train", *files, *train, "--plane", "sagittal"]) == 2
    assert "name the axis" in capsys.readouterr().err
