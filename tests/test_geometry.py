"""Labels and image meet where they lie in the world, or are refused; nothing of where they lie is made up."""

import itertools

import nibabel as nib
import numpy as np
import pytest
import tifffile
import zarr
from safetensors.numpy import load_file

from napari_salt import cli
from napari_salt.io import read_labels, read_stack, write_labels
from napari_salt.terms.errors import InputError

SHAPE = (12, 30, 40)
OBLIQUE = np.array([[-1, 0, 0, 30], [0, 1, 0.1, -40], [0, -0.1, 2.5, 10], [0, 0, 0, 1.0]])
ORDERS = list(itertools.permutations(range(3)))
FLIPS = list(itertools.product((False, True), repeat=3))


def truth():
    labels = np.zeros(SHAPE, np.uint8)
    labels[1:5, 4:15, 5:20], labels[3, 7, 9] = 1, 2
    return labels


def save(path, labels, affine=OBLIQUE, *, order=(0, 1, 2), flips=(False,) * 3):
    """Write (Z, Y, X) as NIfTI, the file's axes in another order and direction, as the affine says."""
    volume, index = labels.T, np.eye(4)
    for axis, flip in enumerate(flips):
        if flip:
            volume = np.flip(volume, axis)
            mirror = np.eye(4)
            mirror[axis, axis], mirror[axis, 3] = -1, volume.shape[axis] - 1
            index = index @ mirror
    volume = volume.transpose(order)
    index = index @ np.eye(4)[:, [*order, 3]]
    nib.save(nib.Nifti1Image(np.ascontiguousarray(volume), affine @ index), path)
    return path


@pytest.mark.parametrize("flips", FLIPS, ids=str)
@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_labels_stored_otherwise_are_brought_onto_the_image(tmp_path, order, flips):
    image = read_stack(save(tmp_path / "image.nii", truth()))
    stored = save(tmp_path / "labels.nii", truth(), order=order, flips=flips)
    labels = read_labels(stored, like=image)
    assert labels.data.shape == image.data.shape
    np.testing.assert_array_equal(labels.data.compute(), truth())
    np.testing.assert_array_equal(labels.data[3, 2:9, 5:20].compute(), truth()[3, 2:9, 5:20])


def test_a_compressed_file_is_turned_as_well(tmp_path):
    image = read_stack(save(tmp_path / "image.nii.gz", truth()))
    stored = save(tmp_path / "labels.nii.gz", truth(), order=(2, 0, 1), flips=(True, False, True))
    np.testing.assert_array_equal(read_labels(stored, like=image).data.compute(), truth())


def moved(*by):
    affine = OBLIQUE.copy()
    affine[:3, 3] += by
    return affine


def turned():
    angle = np.deg2rad(3)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return turn @ OBLIQUE


@pytest.mark.parametrize(
    ("labels", "affine"),
    [
        (truth(), moved(30, 30, 30)),
        (truth(), moved(0, 0, 1)),
        (truth()[::2, ::2, ::2], OBLIQUE @ np.diag([2, 2, 2, 1])),
        (truth()[:, :, ::-1], OBLIQUE @ np.diag([-1, 1, 1, 1])),
        (truth(), turned()),
        (truth()[:-1], OBLIQUE),
    ],
    ids=["apart", "a millimetre", "coarse", "mirrored elsewhere", "oblique", "shorter"],
)
def test_labels_that_lie_elsewhere_are_refused_with_both_geometries(tmp_path, labels, affine):
    image = read_stack(save(tmp_path / "image.nii.gz", truth()))
    wrong = save(tmp_path / "labels.nii.gz", labels, affine)
    with pytest.raises(InputError) as refused:
        read_labels(wrong, like=image)
    said = str(refused.value)
    assert "labels.nii.gz (voxels of" in said
    assert "image.nii.gz (voxels of 1 x 1.005 x 2.502 mm towards LAS, the first at (30, -40, 10) mm)" in said
    assert "resample" in said
    assert "\n" not in said


def test_headers_rounded_to_32_bits_are_the_same_place(tmp_path):
    image = read_stack(save(tmp_path / "image.nii", truth()))
    near = save(tmp_path / "labels.nii", truth(), OBLIQUE * (1 + 1e-6))
    np.testing.assert_array_equal(read_labels(near, like=image).data.compute(), truth())


def test_files_that_do_not_say_where_they_lie_are_taken_as_they_are(tmp_path):
    image = read_stack(save(tmp_path / "image.nii", truth()))
    tifffile.imwrite(tmp_path / "labels.tif", truth(), photometric="minisblack")
    np.testing.assert_array_equal(read_labels(tmp_path / "labels.tif", like=image).data.compute(), truth())
    bare = nib.Nifti1Image(truth().T, None)
    nib.save(bare, tmp_path / "bare.nii")
    np.testing.assert_array_equal(read_labels(tmp_path / "bare.nii", like=image).data.compute(), truth())


def ome(path, *, z=2.0, x=0.5):
    sizes = {"PhysicalSizeX": x, "PhysicalSizeY": 0.5, **({"PhysicalSizeZ": z} if z else {})}
    tifffile.imwrite(path, truth(), ome=True, metadata={"axes": "ZYX", **sizes})
    return path


def ome_zarr(path, axes="zyx", *, scale=None, translation=None, data=None):
    group = zarr.open_group(path, mode="w", zarr_format=2)
    group.create_array("0", data=truth() if data is None else data)
    steps = [{"type": k, k: v} for k, v in (("scale", scale), ("translation", translation)) if v]
    kinds = {"t": ("time", "second")}
    entries = [
        {"name": a, "type": kinds.get(a, ("space", ""))[0], "unit": kinds.get(a, ("", "micrometer"))[1]}
        for a in axes
    ]
    dataset = {"path": "0", **({"coordinateTransformations": steps} if steps else {})}
    group.attrs["multiscales"] = [{"version": "0.4", "axes": entries, "datasets": [dataset]}]
    return path


def test_voxel_sizes_and_places_of_microscopes_are_compared(tmp_path):
    image = read_stack(ome(tmp_path / "image.ome.tif"))
    assert read_labels(ome(tmp_path / "same.ome.tif", z=2.005), like=image).spacing == (2.005, 0.5, 0.5)
    assert read_labels(ome(tmp_path / "flat.ome.tif", z=None), like=image).spacing == (None, 0.5, 0.5)
    with pytest.raises(InputError, match=r"voxels of 2 x 0.5 x 0.25 um\) .* \(voxels of 2 x 0.5 x 0.5 um"):
        read_labels(ome(tmp_path / "other.ome.tif", x=0.25), like=image)
    placed = read_stack(ome_zarr(tmp_path / "i.zarr", scale=[2, 0.5, 0.5], translation=[0, 10, 0]))
    with pytest.raises(InputError, match=r"the first at \(0, 20, 0\)"):
        read_labels(ome_zarr(tmp_path / "l.zarr", scale=[2, 0.5, 0.5], translation=[0, 20, 0]), like=placed)


def train(tmp_path, labels, base):
    out = tmp_path / f"{labels.name}.salt.safetensors"
    options = ["--out", out, "--base", base, "--steps", 1, "--device", "cpu", "--pixel-scale", 1]
    code = cli.main(["train", *map(str, [tmp_path / "image.nii.gz", labels, *options])])
    return code, out


def test_training_is_the_same_however_the_labels_are_stored(tmp_path, base, folder, capfd):
    random = np.random.default_rng(0)
    save(tmp_path / "image.nii.gz", (200 * truth() + random.integers(0, 50, SHAPE)).astype(np.int16))
    painted = truth()
    painted[[0, 2, 4]] = 0
    adapters = []
    for name, how in {
        "same": {},
        "mirrored": {"flips": (True, False, False)},
        "turned": {"order": (1, 2, 0), "flips": (False, True, False)},
    }.items():
        code, out = train(tmp_path, save(tmp_path / f"{name}.nii.gz", painted, **how), base)
        assert code == 0
        adapters.append({name: values.tobytes() for name, values in load_file(out).items()})
    assert adapters[0] == adapters[1] == adapters[2]
    code, out = train(tmp_path, save(tmp_path / "apart.nii.gz", painted, moved(30, 30, 30)), base)
    assert code == 2
    assert not out.exists()
    assert "does not lie on the voxels of" in capfd.readouterr().err


def test_evaluating_brings_truth_and_prediction_together(tmp_path, capsys):
    prediction = save(tmp_path / "prediction.nii.gz", truth(), flips=(False, False, True))
    labels = save(tmp_path / "labels.nii.gz", truth(), order=(1, 0, 2))
    assert cli.main(["evaluate", str(prediction), str(labels), "--json"]) == 0
    assert '"mean_dice": 1.0' in capsys.readouterr().out
    apart = save(tmp_path / "apart.nii.gz", truth(), moved(5, 0, 0))
    assert cli.main(["evaluate", str(prediction), str(apart)]) == 2


# Time and size


def test_the_time_step_is_kept(tmp_path):
    series = np.stack([truth()] * 3)
    path = ome_zarr(tmp_path / "t.zarr", "tzyx", scale=[2.5, 0.5, 0.2, 0.2], data=series)
    image = read_stack(path)
    assert (image.time_step, image.time_unit, image.spacing) == (2.5, "second", (0.5, 0.2, 0.2))
    for name in ("out.zarr", "out.tif", "out.nii"):
        write_labels(tmp_path / name, series.reshape(-1, *SHAPE[1:]), image)
        back = read_labels(tmp_path / name, axes="TZYX")
        assert back.frames == 3
        assert (back.time_step, back.time_unit) == (2.5, "second"), name
    scale = zarr.open_group(tmp_path / "out.zarr")["0"].metadata
    assert scale.dimension_names == ("t", "z", "y", "x")
    assert nib.load(tmp_path / "out.nii").header.get_zooms()[3] == 2.5


def test_time_is_no_third_axis_of_a_nifti(tmp_path):
    series = ome_zarr(tmp_path / "t.zarr", "tyx", scale=[2.5, 0.2, 0.2])
    write_labels(tmp_path / "out.nii.gz", truth(), read_stack(series))
    written = nib.load(tmp_path / "out.nii.gz")
    assert written.shape == (40, 30, 1, 12)
    assert written.header.get_xyzt_units() == ("micron", "sec")
    np.testing.assert_array_equal(read_labels(tmp_path / "out.nii.gz", axes="TZYX").data.compute(), truth())


def test_a_size_that_no_file_gives_is_not_made_up(tmp_path):
    image = read_stack(ome_zarr(tmp_path / "n.zarr"))
    assert (image.spacing, image.unit) == (None, None)
    for name in ("out.zarr", "out.tif", "out.nii.gz"):
        write_labels(tmp_path / name, truth(), image)
        assert read_labels(tmp_path / name).spacing is None
        assert read_labels(tmp_path / name).affine is None
    assert "unit" not in zarr.open_group(tmp_path / "out.zarr").attrs["ome"]["multiscales"][0]["axes"][0]


def test_the_size_in_the_plane_is_kept_without_the_distance_of_slices(tmp_path):
    image = read_stack(ome(tmp_path / "image.ome.tif", z=None))
    for name in ("out.ome.tif", "out.zarr"):
        write_labels(tmp_path / name, truth(), image)
        assert read_labels(tmp_path / name).spacing == (None, 0.5, 0.5)
    with pytest.warns(UserWarning, match="must name a distance between slices"):
        write_labels(tmp_path / "out.nii.gz", truth(), image)
    assert read_labels(tmp_path / "out.nii.gz").spacing[1:] == pytest.approx((0.5, 0.5))


def test_what_a_format_cannot_hold_is_said_once(tmp_path):
    from napari_salt.io._keeping import not_kept

    image = read_stack(save(tmp_path / "i.nii.gz", truth()))
    for name in ("out.tif", "out.zarr"):
        said = not_kept(tmp_path / name, image)
        assert "not the position and orientation" in said
        assert "towards LAS" in said
        assert ".nii.gz" in said
    assert not not_kept(tmp_path / "out.nii", image)
    placed = read_stack(ome_zarr(tmp_path / "i.zarr", scale=[2, 0.5, 0.5], translation=[0, 10, 0]))
    assert "not the position of" in not_kept(tmp_path / "out.tif", placed)
    assert not not_kept(tmp_path / "out.zarr", placed)
    assert not not_kept(tmp_path / "out.tif", read_stack(ome(tmp_path / "i.ome.tif")))
    flat = read_stack(ome(tmp_path / "flat.ome.tif", z=None))
    assert "must name a distance between slices" in not_kept(tmp_path / "out.nii", flat)
    assert "it says 1 um; write .tif" in not_kept(tmp_path / "out.nii", flat)
    for name in ("out.tif", "out.zarr"):
        assert not not_kept(tmp_path / name, flat)
    with pytest.warns(UserWarning, match="not the position and orientation"):
        write_labels(tmp_path / "out.tif", truth(), image)
