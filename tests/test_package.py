"""The package as users meet it: a cheap import, the public names, the bundled sample."""

import subprocess
import sys
from importlib.metadata import metadata, version
from pathlib import Path

import numpy as np
import pytest
import yaml

import napari_salt
from napari_salt import samples
from napari_salt.io import read_labels, read_stack

ROOT = Path(__file__).parents[1]


def modules_after(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter has after an import."""
    code = f"{statement}; import sys; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    return set(done.stdout.split())


def test_importing_it_loads_nothing_heavy():
    assert not {"dask", "napari", "numpy", "qtpy", "scipy", "torch"} & modules_after("import napari_salt")


def test_configs_and_events_need_no_torch():
    names = "SaltConfig, SegmentConfig, TrainConfig, SliceResult, SliceUncertainty, TrainingEvent, SaltError"
    loaded = modules_after(f"from napari_salt import {names}; import napari_salt.terms.prompt_set")
    assert "numpy" in loaded
    assert "torch" not in loaded


def test_bases_are_listed_and_downloaded_without_torch():
    assert "torch" not in modules_after("import napari_salt.terms.registry, napari_salt.core.bases.download")


@pytest.mark.parametrize("name", napari_salt.__all__)
def test_public_names_are_there(name):
    assert name in dir(napari_salt)
    assert getattr(napari_salt, name).__name__ == name


def test_other_names_are_not():
    with pytest.raises(AttributeError, match="nonsense"):
        _ = napari_salt.nonsense
    assert napari_salt.__version__ == version("napari-salt")


def test_samples_are_stacks():
    image = read_stack(samples.nuclei3d_image())
    labels = read_labels(samples.nuclei3d_labels()).data.compute()
    instances = read_labels(samples.nuclei3d_instances()).data.compute()
    assert image.data.shape == labels.shape == (31, 61, 57)
    np.testing.assert_array_equal(instances > 0, labels == 1)


def test_sample_layers():
    from napari_salt.gui._sample_data import full_labels, two_painted_slices

    (image, _, kind), (labels, _, labels_kind) = full_labels()
    assert (image.shape, kind, labels_kind) == (labels.shape, "image", "labels")
    painted = two_painted_slices()[1][0]
    assert tuple(np.flatnonzero(painted.any(axis=(1, 2)))) == samples.PAINTED_SLICES
    np.testing.assert_array_equal(painted[8], labels[8])


@pytest.mark.parametrize(
    ("name", "shape", "painted", "classes", "unit"),
    [
        ("cells", (32, 256, 256), samples.CELLS3D_PAINTED, samples.CELLS3D_CLASSES, "um"),
        ("brain", (56, 192, 158), samples.BRAIN_PAINTED, samples.BRAIN_CLASSES, "mm"),
    ],
)
def test_samples_of_napari_name_their_classes_and_know_their_size(name, shape, painted, classes, unit):
    from napari.layers import Image, Labels

    from napari_salt.gui import _sample_data
    from napari_salt.session._layers import names_in

    (image, about, _), (labels, about_labels, _) = getattr(_sample_data, name)()
    image, labels = Image(image, **about), Labels(labels, **about_labels)
    assert image.data.shape == labels.data.shape == shape
    assert tuple(np.flatnonzero(labels.data.any(axis=(1, 2)))) == painted
    assert set(np.unique(labels.data)) == {0, *classes}
    assert names_in(labels) == classes
    assert str(image.units[2]).startswith({"um": "micro", "mm": "milli"}[unit])
    np.testing.assert_array_equal(image.scale, labels.scale)


def test_what_is_cited_is_this_version():
    about = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert about["version"] == napari_salt.__version__
    assert about["license"] == metadata("napari-salt")["License-Expression"]


def test_the_page_of_the_window_has_all_keys():
    from napari_salt.gui._keys import KEYS

    page = (ROOT / "docs" / "window.md").read_text("utf-8")
    table = page[page.index("## Keys") :]
    assert [key for key in KEYS if key not in table] == []
