"""Options are declared once: what is set by command line, Python or panel arrives where it is used."""

import os
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import napari_salt as ns
import tiny
from napari_salt.cli import main
from napari_salt.core.adapt.adapter import Adapter
from napari_salt.core.segment import stack, whole
from napari_salt.io import read_labels
from napari_salt.terms.config import SaltConfig, SegmentConfig, TrainConfig
from napari_salt.terms.errors import InputError
from napari_salt.terms.options import changed, options_of, values_of
from stacks import save

TRAINING = {
    "base": "tiny",
    "preset": "fast",
    "minutes": 5.0,
    "steps": 2,
    "slices": (1,),
    "painted": "objects",
    "unpainted": "ignore",
    "background_label": 2,
    "class_names": {1: "disc"},
    "independent": True,
    "pixel_scale": 1.5,
    "orientation": "fixed",
    "window": "auto",
    "plane": "z",
    "seed": 7,
    "device": "cpu",
    "method": "lora",
    "rank": "auto",
    "lora_rank": 3,
    "energy": 0.8,
    "targets": ("mask_decoder",),
    "train_vectors": False,
    "learning_rate": 0.001,
    "batch_size": 2,
}
APART = {"base": "tiny", "steps": 2, "device": "cpu", "pixel_scale": 1.0, "plane": "y", "window": "lung"}
"""With options that do not go with all others."""
SEGMENTING = {
    "slices": (1, 2),
    "overlap": 16,
    "batch_size": 3,
    "device": "cpu",
    "views": 2,
    "quality": "fast",
    "min_size": 4,
    "fill_holes": True,
    "smooth": True,
    "runtime": "torch",
    "objects": True,
    "plane": "z",
}
IMAGE, TRUTH = tiny.discs(6)
PAINT = np.zeros(IMAGE.shape, np.uint8)
PAINT[[1, 4]] = np.where(TRUTH[[1, 4]], 1, 2)
HOUNSFIELD = IMAGE.astype(np.int16) - 1000
ACROSS = np.zeros(IMAGE.shape, np.uint8)
ACROSS[:, 20] = TRUTH[:, 20]


def flags(config, values):
    """How the command line is given `values`."""
    arguments = []
    for name, value in values.items():
        option = options_of(config)[name]
        if option.kind != "flag":
            arguments.append(f"{option.flag}={option.shown(value)}")
        else:
            arguments.append(option.flag if value else f"--no-{option.flag[2:]}")
    return arguments


def told(adapter):
    """Options of its training, as the file tells of them."""
    found = dict(adapter.training["options"])
    found["base"] = adapter.base_model
    found["slices"] = tuple(adapter.training["painted_slices"])
    found["class_names"] = {info.value: info.name for info in adapter.classes[:1]}
    return found | {"targets": tuple(found["targets"])}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch, tiny_base):
    monkeypatch.chdir(tmp_path)
    save(tmp_path, IMAGE, "image.tif")
    save(tmp_path, PAINT, "paint.tif")


@pytest.fixture
def used(monkeypatch):
    """Configs with which segmentations began."""
    configs, real = [], stack.segmentation_events

    def noting(image, adapter, config=None, **more):
        configs.append(config)
        return real(image, adapter, config, **more)

    for module in (stack, whole):
        monkeypatch.setattr(module, "segmentation_events", noting)
    return configs


@pytest.mark.parametrize(("config", "values"), [(TrainConfig, TRAINING), (SegmentConfig, SEGMENTING)])
def test_the_values_of_these_tests_are_all_options_and_no_defaults(config, values):
    defaults = {name: option.default for name, option in options_of(config).items()}
    assert set(values) == set(defaults)
    same = [name for name, value in values.items() if value == defaults[name]]
    assert same == (["window", "plane"] if config is TrainConfig else [])
    assert all(APART[name] != defaults[name] for name in same)


def test_training_by_command_line():
    given = flags(TrainConfig, TRAINING)
    assert main(["train", "image.tif", "paint.tif", "--out", "a.safetensors", *given]) == 0
    assert told(Adapter.load("a.safetensors")) == TRAINING


def test_training_by_python(tmp_path):
    adapter = ns.train(IMAGE, PAINT, changed(TrainConfig(), TRAINING))
    assert told(Adapter.load(adapter.save(tmp_path / "a.safetensors"))) == TRAINING


def test_an_option_apart_by_command_line(tmp_path):
    save(tmp_path, HOUNSFIELD, "ct.tif")
    save(tmp_path, ACROSS, "across.tif")
    given = flags(TrainConfig, APART)
    assert main(["train", "ct.tif", "across.tif", "--out", "a.safetensors", *given]) == 0
    assert told(Adapter.load("a.safetensors")).items() >= APART.items()


def test_an_option_apart_by_python():
    assert told(ns.train(HOUNSFIELD, ACROSS, changed(TrainConfig(), APART))).items() >= APART.items()


def test_segmenting_by_command_line(used):
    tiny.adapter((1,)).save("a.safetensors")
    given = flags(SegmentConfig, SEGMENTING)
    assert main(["segment", "image.tif", "--adapter", "a.safetensors", "--out", "out.tif", *given]) == 0
    assert [values_of(config) for config in used] == [SEGMENTING]
    assert read_labels("out.tif").data.shape == IMAGE.shape


def test_segmenting_by_python(used):
    ns.segment(IMAGE, tiny.adapter((1,)), SegmentConfig(**SEGMENTING))
    assert [values_of(config) for config in used] == [SEGMENTING]


@pytest.mark.parametrize(("config", "values"), [(TrainConfig(), TRAINING), (SegmentConfig(), SEGMENTING)])
def test_texts_are_read_as_they_are_shown(config, values):
    for name, value in values.items():
        option = options_of(type(config))[name]
        if option.kind != "flag":
            assert option.parse(option.shown(value)) == value


@pytest.mark.parametrize(
    ("config", "values", "words"),
    [
        (TrainConfig, {"minutes": 0}, "minutes is 0; give a number of minutes above 0"),
        (TrainConfig, {"steps": 1.5}, "steps is 1.5; give a whole number from 1"),
        (TrainConfig, {"steps": True}, "steps is True; give a whole number"),
        (TrainConfig, {"preset": "slow"}, "preset is 'slow'; give fast, balanced or thorough"),
        (TrainConfig, {"learning_rate": float("nan")}, "learning_rate is nan; give a number above 0"),
        (TrainConfig, {"independent": 1}, "independent is 1; give True or False"),
        (TrainConfig, {"slices": "3"}, "slices is '3'; give slices such as 3,12 or 0-9"),
        (TrainConfig, {"class_names": ["a"]}, "give names such as 1=nucleus,2=membrane"),
        (SaltConfig, {"rank": 1.5}, "rank is 1.5; give a whole number from 0, a share"),
        (SaltConfig, {"energy": 0}, "energy is 0; give a number above 0 and up to 1"),
        (SaltConfig, {"targets": "mask_decoder"}, "targets is 'mask_decoder'; give names"),
        (SegmentConfig, {"views": 5}, "views is 5; give a whole number from 1 to 4"),
        (SegmentConfig, {"overlap": None}, "overlap is None; give a whole number of pixels from 0"),
    ],
)
def test_what_an_option_cannot_be_is_refused(config, values, words):
    with pytest.raises(InputError) as error:
        config(**values)
    assert words in str(error.value)


def test_numbers_of_numpy_are_numbers():
    config = TrainConfig(steps=np.int64(3), minutes=np.float32(0.5), slices=tuple(np.arange(2)))
    assert (config.steps, config.slices) == (3, (0, 1))


def test_a_change_of_what_is_no_option_is_a_mistake():
    with pytest.raises(TypeError, match="SegmentConfig has no option rank"):
        changed(SegmentConfig(), {"rank": 3})
    assert changed(TrainConfig(), {"rank": 3}) == replace(TrainConfig(), salt=SaltConfig(rank=3))


def test_help_of_python_tells_all():
    for config in (TrainConfig, SegmentConfig, SaltConfig):
        for name, option in options_of(config).items():
            own = name in config.__dataclass_fields__
            assert (f"\n{name}\n" in config.__doc__) >= own, name
            assert not own or option.text[:20] in config.__doc__
    assert "\ngroup\n" in TrainConfig.__doc__


def test_the_reference_page_is_of_today():
    script = Path(__file__).parents[1] / "docs" / "options.py"
    made = runpy.run_path(str(script))
    assert made["PAGE"].read_text(encoding="utf-8") == made["page"]()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["train", "--help"],
        ["info", "a.safetensors"],
        ["bases"],
        ["train", "nowhere.tif", "paint.tif", "--out", "b.safetensors"],
        ["train", "image.tif", "paint.tif", "--out", "b.safetensors", "--steps", "0"],
        ["segment", "nowhere.tif", "--adapter", "a.safetensors", "--out", "o.tif"],
        ["segment", "image.tif", "--adapter", "nowhere.safetensors", "--out", "o.tif"],
    ],
)
def test_what_needs_no_torch_does_not_load_it(arguments):
    tiny.adapter((1,)).save("a.safetensors")
    code = "import sys, atexit; from napari_salt.cli import main\n"
    code += "atexit.register(lambda: print('torch' in sys.modules)); main()"
    run = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=os.environ, check=False
    )
    assert run.stdout.splitlines()[-1] == "False", run.stderr
