"""Tables of classes and objects: against numpy, scikit-image and SimpleITK."""

import csv
import json

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from skimage.measure import label, regionprops_table

import napari_salt as ns
from napari_salt.cli import main
from napari_salt.results.measure import measure_events
from napari_salt.results.table import Table
from stacks import AFFINE, nifti, save

SPACING = (2.0, 0.5, 0.25)
REFERENCE = ("num_pixels", "centroid", "bbox", "mean_intensity", "min_intensity", "max_intensity")


def blobs(shape=(9, 20, 30), values=(1, 3), share=0.75, seed=0):
    """Random classes: many touching objects that join, part and join again from slice to slice."""
    random = np.random.default_rng(seed)
    kept = random.random(shape) > share
    return np.where(kept, random.choice(values, shape), 0).astype(np.uint8)


def light(shape, seed=1):
    return np.random.default_rng(seed).normal(100, 20, shape).astype(np.float32)


LABELS = blobs()
IMAGE = light(LABELS.shape)


def same_as_regionprops(table, numbered, image, axes="zyx", count="voxels"):
    """Whether the table has the rows of scikit-image, in the order of its labels."""
    found = regionprops_table(numbered, image, properties=REFERENCE)
    assert table[count].tolist() == found["num_pixels"].tolist()
    for name in ("mean_intensity", "min_intensity", "max_intensity"):
        np.testing.assert_allclose(table[name], found[name], rtol=1e-6)
    for number, axis in enumerate(axes):
        np.testing.assert_allclose(table[f"centroid_{axis}"], found[f"centroid-{number}"])
        assert table[f"{axis}_start"].tolist() == found[f"bbox-{number}"].tolist()
        assert table[f"{axis}_stop"].tolist() == found[f"bbox-{number + len(axes)}"].tolist()


def test_objects_of_a_volume_are_those_of_scikit_image():
    whole = label(LABELS, background=0, connectivity=3)
    table = ns.measure(LABELS, IMAGE, by="objects")
    assert len(table) > 20
    same_as_regionprops(table, whole, IMAGE)
    assert table["class"].tolist() == [LABELS[whole == n][0] for n in table["object"]]


def test_each_slice_comes_again_with_the_numbers_of_the_table():
    events = list(measure_events(LABELS, by="objects", numbered=True))
    numbers = np.stack([event.numbers for event in events if event.numbers is not None])
    np.testing.assert_array_equal(numbers, label(LABELS, background=0, connectivity=3))
    assert [event.index for event in events if event.index is not None] == list(range(len(LABELS)))
    fractions = [event.fraction for event in events]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1


def test_numbers_are_objects_even_in_pieces():
    numbers = np.zeros((4, 6, 6), np.int32)
    numbers[0, 0, 0] = numbers[3, 5, 5] = 70_000
    numbers[1] = 2
    table = ns.measure(numbers, light(numbers.shape), by="numbers", class_names={1: "cell"})
    same_as_regionprops(table, numbers, light(numbers.shape))
    assert table["object"].tolist() == [2, 70_000]
    assert table["class_name"].tolist() == ["cell", "cell"]


def test_unrelated_images_have_areas_and_their_own_objects():
    table = ns.measure(LABELS, IMAGE, by="objects", independent=True, pixel_size=(0.5, 0.25))
    for index in range(len(LABELS)):
        here = table["slice"] == index
        part = Table({name: column[here] for name, column in table.columns.items()})
        same_as_regionprops(part, label(LABELS[index], connectivity=2), IMAGE[index], "yx", "pixels")
        np.testing.assert_allclose(part["area_um2"], part["pixels"] * 0.125)
        np.testing.assert_allclose(np.pi / 4 * part["equivalent_diameter_um"] ** 2, part["area_um2"])
    assert table["object"].tolist() == list(range(1, len(table) + 1))
    one = ns.measure(LABELS[0], IMAGE[0], by="objects", pixel_size=0.5)
    assert one["pixels"].tolist() == table["pixels"][table["slice"] == 0].tolist()


def test_nothing_connects_time_points():
    table = ns.measure(LABELS, by="objects", group=3)
    assert [
        label(LABELS[3 * t : 3 * t + 3], background=0, connectivity=3).max() for t in range(3)
    ] == np.bincount(table["time"]).tolist()
    assert table["z_stop"].max() == 3
    classes = ns.measure(LABELS, group=3)
    for row in classes.rows():
        there = LABELS[3 * row["time"] : 3 * row["time"] + 3] == row["class"]
        assert (row["voxels"], row["share"]) == (there.sum(), pytest.approx(there.mean()))
    tracked = ns.measure(LABELS, by="numbers", group=3)
    assert len(tracked) == 6


def test_classes_are_counted_as_numpy_counts_them():
    table = ns.measure(
        LABELS, IMAGE, pixel_size=SPACING, class_names={3: "nucleus", 2: "not there", 1: "wall"}
    )
    assert table["class"].tolist() == [1, 2, 3]
    assert table["class_name"].tolist() == ["wall", "not there", "nucleus"]
    for row in table.rows():
        there = row["class"] == LABELS
        assert row["voxels"] == there.sum()
        assert row["slices"] == there.any(axis=(1, 2)).sum()
        assert row["share"] == pytest.approx(there.mean())
        assert row["volume_um3"] == pytest.approx(there.sum() * 0.25)
        assert row["mean_intensity"] == (pytest.approx(IMAGE[there].mean()) if there.any() else None)


def test_volumes_and_places_are_those_of_simpleitk():
    image = SimpleITK.GetImageFromArray(label(LABELS, background=0, connectivity=3).astype(np.uint32))
    image.SetSpacing(SPACING[::-1])
    image.SetOrigin((7.0, 8.0, 9.0))
    reference = SimpleITK.LabelShapeStatisticsImageFilter()
    reference.Execute(image)
    world = np.diag([*SPACING, 1.0])
    world[:3, 3] = 9, 8, 7
    table = ns.measure(LABELS, by="objects", pixel_size=SPACING, unit="mm", to_world=world)
    for row in table.rows():
        assert row["volume_mm3"] == pytest.approx(reference.GetPhysicalSize(row["object"]))
        assert row["volume_ml"] == pytest.approx(row["volume_mm3"] / 1000)
        assert row["equivalent_diameter_mm"] == pytest.approx(
            2 * reference.GetEquivalentSphericalRadius(row["object"])
        )
        place = [row[f"world_{axis}_mm"] for axis in "xyz"]
        assert place == pytest.approx(reference.GetCentroid(row["object"]))


@pytest.mark.parametrize(
    ("unit", "size", "column"),
    [
        ("nm", 500, "volume_um3"),
        ("um", 0.5, "volume_um3"),
        ("mm", 0.5, "volume_mm3"),
        ("cm", 0.05, "volume_mm3"),
    ],
)
def test_tables_are_in_micrometres_or_millimetres(unit, size, column):
    table = ns.measure(LABELS, pixel_size=(size,) * 3, unit=unit)
    np.testing.assert_allclose(table[column], table["voxels"] / 8)


def test_what_is_not_a_number_does_not_count():
    image = np.full((1, 2, 2), np.nan, np.float32)
    image[0, 0] = 5, np.inf
    (row,) = ns.measure(np.ones((1, 2, 2), np.uint8), image, by="objects").rows()
    assert [row[f"{kind}_intensity"] for kind in ("mean", "min", "max")] == [5, 5, 5]
    (nothing,) = ns.measure(np.eye(2, dtype=np.uint8)[None, :1], image[:, 1:], by="objects").rows()
    assert [nothing[f"{kind}_intensity"] for kind in ("mean", "min", "max")] == [None, None, None]


def test_an_empty_segmentation_has_an_empty_table():
    nothing = np.zeros((3, 4, 5), np.uint8)
    for by in ("classes", "objects", "numbers"):
        assert len(ns.measure(nothing, light(nothing.shape), by=by, pixel_size=SPACING)) == 0


def test_colour_counts_with_the_mean_of_its_channels():
    colour = light((*LABELS.shape, 3))
    table = ns.measure(LABELS, colour)
    expected = ns.measure(LABELS, colour.mean(axis=-1))
    np.testing.assert_allclose(table["mean_intensity"], expected["mean_intensity"], rtol=1e-6)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"image": IMAGE[1:]}, r"the image has shape \(8, 20, 30\)"),
        ({"by": "cells"}, "by is 'cells'"),
        ({"pixel_size": 0.5}, "volumes need the distance"),
        ({"pixel_size": (0.5, 1)}, "volumes need the distance"),
        ({"pixel_size": (2, 0, 1)}, r"\(2, 0, 1\); give numbers above 0"),
        ({"unit": "parsec"}, "'parsec'"),
        ({"to_world": np.eye(3)}, r"\(3, 3\); give \(4, 4\)"),
    ],
)
def test_what_does_not_fit_is_told(given, told):
    with pytest.raises(ns.SaltError, match=told):
        ns.measure(LABELS, **{"by": "objects", **given})


def test_labels_that_are_none_are_told():
    with pytest.raises(ns.SaltError, match="slice 2 has the label value -4"):
        ns.measure(np.where(np.arange(9)[:, None, None] == 2, -4, LABELS.astype(int)))
    with pytest.raises(ns.SaltError, match="float32; give whole numbers"):
        ns.measure(IMAGE)


def test_the_table_is_saved_as_csv(tmp_path):
    names = {1: '=HYPERLINK("http://x")', 3: "größer, \u03b2"}
    table = ns.measure(LABELS, IMAGE, class_names=names)
    path = table.save(tmp_path / "table.csv")
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["class_name"] for row in rows] == ["'" + names[1], names[3]]
    for row, expected in zip(rows, table.rows(), strict=True):
        assert int(row["voxels"]) == expected["voxels"]
        assert float(row["mean_intensity"]) == pytest.approx(expected["mean_intensity"], rel=1e-8)
    with pytest.raises(ns.SaltError, match="nowhere"):
        table.save(tmp_path / "nowhere" / "table.csv")


def run(capsys, *arguments):
    """What the command prints as JSON, and what it says beside."""
    code = main(["measure", *map(str, arguments), "--json"])
    said = capsys.readouterr()
    return (json.loads(said.out.splitlines()[-1])["rows"] if code == 0 else code), said.err


def test_the_command_measures_a_nifti_where_it_lies(tmp_path, capsys):
    image = nifti(tmp_path / "image.nii.gz", IMAGE)
    labels = nifti(tmp_path / "labels.nii.gz", LABELS)
    out = tmp_path / "table.csv"
    options = ["--image", image, "--by", "objects", "-o", out, "--class-names", "1=wall,3=nucleus"]
    rows, said = run(capsys, labels, *options)
    z, y, x = np.nonzero(label(LABELS, background=0, connectivity=3) == 4)
    assert rows[3]["volume_mm3"] == pytest.approx(len(z) * abs(np.linalg.det(AFFINE[:3, :3])), rel=1e-2)
    place = nib.affines.apply_affine(nib.load(labels).affine, (x.mean(), y.mean(), z.mean()))
    assert [rows[3][f"world_{axis}_mm"] for axis in "xyz"] == pytest.approx(place)
    assert out.read_text("utf-8-sig").count("\n") == len(rows) + 1
    assert f"a table of {len(rows)} objects" in said
    assert " nucleus" in said


def test_the_command_takes_the_pixel_size_from_either_file_or_from_its_user(tmp_path, capsys, caplog):
    kept = {"ome": True, "metadata": {"axes": "ZYX", "PhysicalSizeX": 250, "PhysicalSizeY": 500}}
    kept["metadata"] |= {f"PhysicalSize{axis}Unit": "nm" for axis in "XYZ"} | {"PhysicalSizeZ": 2000}
    image, labels = save(tmp_path, IMAGE, "i.ome.tif", **kept), save(tmp_path, LABELS, "l.tif")
    rows, _ = run(capsys, labels, "--image", image)
    assert [row["volume_um3"] for row in rows] == pytest.approx([row["voxels"] / 4 for row in rows])
    rows, _ = run(capsys, labels)
    assert "volume_um3" not in rows[0]
    assert "does not tell its pixel size" in caplog.text
    rows, _ = run(capsys, labels, "--pixel-size", "1mm,500um,0.5mm", "--unit", "mm")
    assert [row["volume_mm3"] for row in rows] == pytest.approx([row["voxels"] / 4 for row in rows])
    rows, _ = run(capsys, labels, "--pixel-size", "0.5", "--independent", "--by", "numbers")
    assert [row["area_um2"] for row in rows] == pytest.approx([row["pixels"] / 4 for row in rows])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--pixel-size", "0.5"], "(z, y, x)"),
        (["--pixel-size", "1,2,3,4"], "more than three lengths"),
        (["-o", "table.txt"], "end with .csv"),
        (["-o", "nowhere/table.csv"], "does not exist"),
        (["--channel", "1"], "--image"),
    ],
)
def test_the_command_tells_what_is_wrong(tmp_path, capsys, monkeypatch, arguments, told):
    monkeypatch.chdir(tmp_path)
    code, said = run(capsys, save(tmp_path, LABELS, "l.tif"), *arguments)
    assert code == 2
    assert told in said
