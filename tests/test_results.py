"""Measuring and saving in the session, without a window: tables, features of layers, and files."""

import nibabel as nib
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Labels
from skimage.measure import label

import headless
import napari_salt as ns
from napari_salt.io import read_labels
from napari_salt.session._autosave import Autosave
from napari_salt.session._colors import colormap_of
from napari_salt.session._layers import CLASSES, FILE, Output
from napari_salt.terms.card import ClassInfo
from stacks import nifti
from test_measure import IMAGE, LABELS

CLASS_INFOS = (ClassInfo(1, "wall", "#ff0000"), ClassInfo(3, "nucleus", "#00ff00"))
PLACED = {"scale": (2, 0.5, 0.25), "units": ("um", "um", "um"), "translate": (10, 20, 30)}
WHOLE = label(LABELS, background=0, connectivity=3)


@pytest.fixture
def loop():
    return headless.Loop()


@pytest.fixture
def session(loop, tmp_path, engine):
    made = headless.session(ViewerModel(), loop, Autosave(tmp_path / "autosave"), engine)
    made.problems = []
    made.problem.connect(lambda text, control: made.problems.append((control, text)))
    made.set_image(made.viewer.add_image(IMAGE, name="cells", **PLACED))
    yield made
    made.close()


def result(session):
    """The layer that a segmentation has made."""
    colors = colormap_of(CLASS_INFOS)
    return Output(
        session.viewer, session.source, "found", LABELS, CLASS_INFOS, colors, named=CLASS_INFOS
    ).layer


def ended(session, loop):
    """What is told as a problem until no job runs."""
    loop.run(lambda: not session.job)
    return session.problems


def test_a_result_names_its_classes(session):
    layer = result(session)
    assert list(layer.features["class"]) == ["wall", "nucleus"]
    place = np.argwhere(LABELS == 3)[0]
    session.viewer.dims.current_step = tuple(place)
    assert "class: nucleus" in str(layer.get_status(layer.data_to_world(place), world=True))
    assert layer.get_color(3)[:3].tolist() == [0, 1, 0]


def test_classes_and_objects_of_a_result(session, loop):
    layer = result(session)
    session.measuring.start("classes")
    assert not ended(session, loop)
    expected = ns.measure(LABELS, IMAGE, pixel_size=(2, 0.5, 0.25), class_names={1: "wall", 3: "nucleus"})
    assert list(session.measuring.classes.rows()) == list(expected.rows())
    assert layer.features["volume_um3"].tolist() == pytest.approx(expected["volume_um3"].tolist())
    session.measuring.start("objects")
    assert not ended(session, loop)
    numbered = session.viewer.layers["found objects"]
    np.testing.assert_array_equal(numbered.data, WHOLE)
    assert numbered.extent.world.tolist() == layer.extent.world.tolist()
    table = session.measuring.objects
    assert (
        numbered.features["index"].tolist()
        == numbered.features["object"].tolist()
        == [*range(1, len(table) + 1)]
    )
    z, y, x = np.nonzero(WHOLE == 5)
    centre = layer.data_to_world((z.mean(), y.mean(), x.mean()))
    assert [table[f"world_{axis}_um"][4] for axis in "zyx"] == pytest.approx(centre)
    assert session.measuring.words[0].startswith(f"{len(table)} objects (")
    assert session.measuring.classes is not None


def test_numbers_of_objects_are_taken_as_they_are(session, loop):
    layer = session.viewer.add_labels(WHOLE.astype(np.int32), name="cells by Cellpose", **PLACED)
    session.measuring.choose(layer)
    session.measuring.take_as_numbers(True)
    assert "objects" in session.measuring.cannot_classes
    session.measuring.start("objects")
    assert not ended(session, loop)
    assert len(session.measuring.objects) == WHOLE.max() == len(layer.features)
    assert [each.name for each in session.viewer.layers] == ["cells", "cells by Cellpose"]


def test_features_of_the_user_stay(session, loop):
    own = {"index": [1, 3], "mine": ["a", "b"]}
    layer = session.viewer.add_labels(LABELS, features=own, **PLACED)
    session.measuring.start("classes")
    assert not ended(session, loop)
    assert list(layer.features.columns) == ["index", "mine"]


def test_larger_results_have_a_table_alone(session, loop):
    result(session)
    session.options.memory_limit = LABELS.size
    session.measuring.start("objects")
    assert not ended(session, loop)
    assert len(session.measuring.objects) == WHOLE.max()
    assert len(session.viewer.layers) == 2
    assert "memory" in session.measuring.warnings[0]


def test_what_cannot_be_measured_is_told(session, loop):
    session.measuring.start("classes")
    assert session.problems.pop()[1].startswith("segment the stack, or choose a labels layer")
    layer = session.viewer.add_labels(LABELS, name="elsewhere", **{**PLACED, "translate": (0, 0, 0)})
    session.measuring.start("classes")
    assert "does not lie on image layer" in session.problems.pop()[1]
    session.viewer.layers.remove(layer)
    session.viewer.add_labels(np.where(LABELS == 1, np.int16(-1), LABELS), **PLACED)
    session.measuring.start("classes")
    ((control, text),) = ended(session, loop)
    assert (control, "label value -1" in text) == ("measure", True)
    assert session.measuring.classes is None


def test_labels_are_saved_where_the_image_lies(session, loop, tmp_path):
    layer = result(session)
    for suffix in (".tif", ".zarr", ".nii.gz"):
        path = tmp_path / f"found{suffix}"
        session.saving.start(layer, path)
        assert not ended(session, loop)
        stack = read_labels(path)
        np.testing.assert_array_equal(stack.data, LABELS)
        assert (stack.unit, stack.spacing) == ("um", pytest.approx((2, 0.5, 0.25)))
        assert session.saving.words == [f"saved: {path}"]
        if suffix != ".tif":
            place = stack.origin or tuple(1000 * stack.affine[[2, 1, 0], 3])
            assert place == pytest.approx((10, 20, 30))
        if suffix == ".zarr":
            assert stack.classes == CLASS_INFOS


def test_labels_of_a_nifti_lie_as_it_does(session, loop, tmp_path):
    image = nifti(tmp_path / "image.nii", IMAGE)
    sizes = nib.load(image).header.get_zooms()[::-1]
    opened = session.viewer.add_image(IMAGE, scale=sizes, units=("mm",) * 3, metadata={FILE: str(image)})
    session.set_image(opened)
    layer = result(session)
    session.saving.start(layer, tmp_path / "found.nii.gz")
    assert not ended(session, loop)
    np.testing.assert_array_equal(nib.load(tmp_path / "found.nii.gz").affine, nib.load(image).affine)
    session.saving.start(layer, tmp_path / "found.tif")
    assert not ended(session, loop)
    assert "not the position and orientation" in session.saving.words[1]
    session.saving.start(layer, image)
    assert "is the input image" in session.problems.pop()[1]
    opened.scale = (1, 1, 1)  # the user knows better than the file
    session.set_image(opened)
    session.saving.start(result(session), tmp_path / "other.nii.gz")
    assert not ended(session, loop)
    assert nib.load(tmp_path / "other.nii.gz").header.get_zooms() == (1, 1, 1)


def test_a_turned_layer_stays_turned_where_the_format_can_say_so(session, loop, tmp_path):
    turned = {**PLACED, "rotate": (0, 0, 30)}
    session.set_image(session.viewer.add_image(IMAGE, **turned))
    layer = result(session)
    session.saving.start(layer, tmp_path / "found.nii.gz")
    assert not ended(session, loop)
    corner = nib.affines.apply_affine(nib.load(tmp_path / "found.nii.gz").affine, (29, 19, 8))
    assert 1000 * corner[::-1] == pytest.approx(layer.data_to_world((8, 19, 29)))
    session.saving.start(layer, tmp_path / "found.zarr")
    assert not ended(session, loop)
    assert "not how the layer is turned" in session.saving.words[1]


def test_what_cannot_be_saved_leaves_nothing(session, loop, tmp_path):
    layer = session.viewer.add_labels(np.where(LABELS == 3, np.int64(2**40), LABELS), **PLACED)
    assert isinstance(layer, Labels)
    assert CLASSES not in layer.metadata
    (tmp_path / "found.tif").write_text("precious")
    session.saving.start(layer, tmp_path / "found.tif")
    ((control, text),) = ended(session, loop)
    assert (control, "1099511627776" in text) == ("write", True)
    assert (tmp_path / "found.tif").read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["found.tif"]
    session.saving.start(layer, tmp_path / "found.txt")
    assert "the name tells the format" in session.problems.pop()[1]


def test_where_two_results_differ(session):
    session.comparing.start()
    assert session.problems.pop() == ("compare", session.comparing.cannot)
    other = np.where(LABELS == 3, 0, LABELS)
    other[0, 0, :4] = 1, 1, 3, 0
    first = result(session)
    second = session.viewer.add_labels(other, name="base", **PLACED)
    session.measuring.choose(first)
    session.comparing.start()
    assert not session.problems
    layer = session.viewer.layers["difference"]
    found = np.asarray(layer.data)
    assert not found[other == LABELS].any()
    assert (found[(LABELS != 0) & (other == 0)] == 1).all()
    assert (found[(LABELS == 0) & (other != 0)] == 2).all()
    assert (found[(LABELS != 0) & (other != 0) & (other != LABELS)] == 3).all()
    assert list(layer.features["difference"]) == ["only in found", "only in base", "another class"]
    assert layer.extent.world.tolist() == first.extent.world.tolist()
    assert layer not in session.measuring.layers
    second.data[:] = first.data
    session.comparing.start()
    assert not np.asarray(session.viewer.layers["difference"].data).any()
    assert [each.name for each in session.viewer.layers].count("difference") == 1
