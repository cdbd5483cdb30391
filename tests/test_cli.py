"""The command line: what it does, and how it says what is wrong."""

import functools
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

import tiny
from napari_salt import samples
from napari_salt.cli import _demo, main
from napari_salt.core.adapt.adapter import Adapter
from napari_salt.core.metrics import dice
from napari_salt.core.segment.whole import segment
from napari_salt.io import read_labels, read_stack, write_labels
from napari_salt.terms.config import SegmentConfig, TrainConfig
from napari_salt.terms.preprocess import Preprocess
from stacks import names, save

IMAGE, TRUTH = tiny.discs()
PAINT = tiny.painted(7 * TRUTH, 1, 4)
TRAINING_KEYS = {
    "steps",
    "seconds",
    "best_validation_dice",
    "trainable_parameters",
    "adapter_bytes",
    "peak_memory_mb",
    "device",
    "base",
}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A working folder with a stack and its labels, and the tiny base."""
    tiny.use(monkeypatch)
    monkeypatch.chdir(tmp_path)
    save(tmp_path, IMAGE, "image.tif")
    save(tmp_path, PAINT, "labels.tif")


@pytest.fixture
def adapter():
    return str(tiny.adapter((7,)).save("a.safetensors"))


def last_line(capsys):
    """The JSON object that standard output ends with."""
    lines = capsys.readouterr().out.splitlines()
    return json.loads(lines[-1])


def training(*arguments, labels="labels.tif", image="image.tif", out="out.safetensors", steps="2"):
    return ["train", image, labels, "--out", out, "--base", "tiny", "--steps", steps, *arguments]


def segmenting(*arguments, image="image.tif", adapter="a.safetensors", out="out.tif"):
    return ["segment", image, "--adapter", adapter, "--out", out, *arguments]


# What it does


def test_train_writes_an_adapter_and_tells(capsys):
    assert main([*training("--class-names", "7=disc", "--seed", "3"), "--json"]) == 0
    told = last_line(capsys)
    assert set(told) == TRAINING_KEYS
    kept = Adapter.load("out.safetensors")
    assert (told["steps"], told["base"], told["device"]) == (2, "tiny", "cpu")
    assert told["adapter_bytes"] == Path("out.safetensors").stat().st_size
    assert told["trainable_parameters"] == kept.parameter_count
    assert [(info.value, info.name) for info in kept.classes] == [(7, "disc")]
    assert kept.training["seed"] == 3
    assert names(Path()) == ["image.tif", "labels.tif", "out.safetensors"]


@pytest.mark.parametrize("orientation", ["fixed", "any"])
def test_train_believes_what_it_is_told_of_orientation(orientation):
    assert main(training("--orientation", orientation)) == 0
    assert Adapter.load("out.safetensors").preprocess.turns == (orientation == "any")


def test_train_goes_on_from_an_adapter(adapter):
    assert main(training("--init", adapter, "--slices", "1", "--independent")) == 0
    assert Adapter.load("out.safetensors").training["painted_slices"] == [1]


def test_segment_writes_labels_and_tells(adapter, capsys):
    assert main([*segmenting("--slices", "1-2,5"), "--json"]) == 0
    told = last_line(capsys)
    assert set(told) == {"seconds", "slices", "tiles", "peak_memory_mb"}
    assert (told["slices"], told["tiles"]) == (3, 3)
    found = read_labels("out.tif").data.compute()
    assert found.shape == IMAGE.shape
    assert found.dtype == np.uint8
    config = SegmentConfig(slices=(1, 2, 5))
    np.testing.assert_array_equal(found, segment(IMAGE, Adapter.load(adapter), config))
    assert set(np.unique(found)) == {0, 7}
    assert not found[[0, 3, 4]].any()
    assert names(Path()) == ["a.safetensors", "image.tif", "labels.tif", "out.tif"]


@pytest.mark.parametrize(
    ("image", "labels", "out"), [("i.nii.gz", "l.zarr", "o.nii"), ("i.zarr", "l.nii", "o.zarr")]
)
def test_other_formats(image, labels, out):
    """The whole job on the same stack in other formats gives the same labels."""
    like = read_stack("image.tif")
    write_labels(image, IMAGE, like)
    write_labels(labels, PAINT, like)
    for source, paint, found in (("image.tif", "labels.tif", "out.tif"), (image, labels, out)):
        adapter = f"{found}.safetensors"
        assert main(training(image=source, labels=paint, out=adapter)) == 0
        assert main(segmenting(image=source, adapter=adapter, out=found)) == 0
    np.testing.assert_array_equal(read_labels(out).data.compute(), read_labels("out.tif").data.compute())
    assert main(["evaluate", out, labels]) == 0


def test_a_time_series(capsys):
    """Painted on slices of two time points, segmented in all; slices are counted through."""
    options = {"imagej": True, "metadata": {"axes": "TZYX"}}
    save(Path(), IMAGE.reshape(2, 3, 64, 64), "series.tif", **options)
    save(Path(), PAINT.reshape(2, 3, 64, 64), "paint.tif", **options)
    assert main(training(image="series.tif", labels="paint.tif", out="a.safetensors")) == 0
    trained = Adapter.load("a.safetensors").training
    assert trained["painted_slices"] == [1, 4]
    assert trained["leak_free"]
    assert main([*segmenting("--smooth", image="series.tif"), "--json"]) == 0
    assert last_line(capsys)["slices"] == 6
    found = tifffile.imread("out.tif")
    assert found.shape == (2, 3, 64, 64)
    config = SegmentConfig(smooth=True, group=3)
    expected = segment(IMAGE, Adapter.load("a.safetensors"), config)
    np.testing.assert_array_equal(found.reshape(6, 64, 64), expected)


def test_segment_tidies(adapter):
    tidy = ("--min-size", "60", "--fill-holes", "--smooth")
    for arguments, out in (((), "plain.tif"), (tidy, "tidy.tif")):
        assert main(segmenting(*arguments, out=out)) == 0
    config = SegmentConfig(min_size=60, fill_holes=True, smooth=True)
    found = read_labels("tidy.tif").data.compute()
    np.testing.assert_array_equal(found, segment(IMAGE, Adapter.load(adapter), config))
    assert (found != read_labels("plain.tif").data.compute()).any()


def test_numbers_of_objects_and_swapped_files_are_refused_in_one_line(capsys):
    rows, columns = np.mgrid[:64, :64]
    save(Path(), np.stack([(rows // 4 * 16 + columns // 4).astype(np.uint16)] * 6), "many.tif")
    for image, labels in (("image.tif", "many.tif"), ("labels.tif", "image.tif")):
        assert main(training(image=image, labels=labels)) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "numbers of objects" in line
        assert "image and labels are not swapped" in line
    assert not Path("out.safetensors").exists()


@pytest.mark.parametrize(
    ("given", "micrometres"),
    [("0.5", 0.5), ("250nm", 0.25), ("1.2 mm", 1200), ("2\u00b5m", 2), ("1e1um", 10)],
)
def test_a_pixel_size_can_be_given(given, micrometres):
    assert main(training("--pixel-size", given)) == 0
    assert Adapter.load("out.safetensors").preprocess.pixel_size == pytest.approx(micrometres)


def test_a_given_pixel_size_is_what_segmenting_goes_by(capsys, caplog):
    """It wins over the file's; without any it is said that nobody knows."""
    assert main(training("--pixel-size", "0.5")) == 0
    spacing = {"imagej": True, "resolution": (1, 1), "metadata": {"axes": "ZYX", "unit": "um"}}
    save(Path(), IMAGE, "wrong.tif", **spacing)
    found = []
    for image, arguments in (("image.tif", ()), ("wrong.tif", ()), ("wrong.tif", ("--pixel-size", "500 nm"))):
        caplog.clear()
        assert main(segmenting(*arguments, image=image, adapter="out.safetensors")) == 0
        found.append((tifffile.imread("out.tif"), caplog.text))
    (missing, of_missing), (wrong, of_wrong), (right, of_right) = found
    assert "trained on pixels of 0.5 micrometres" in of_missing
    assert "pixels are of 1 micrometres" in of_wrong
    assert "2 times its size" in of_wrong
    assert "micrometres" not in of_right
    np.testing.assert_array_equal(right, missing)
    adapter = Adapter.load("out.safetensors")
    np.testing.assert_array_equal(wrong, segment(IMAGE, adapter, pixel_size=1.0))
    np.testing.assert_array_equal(right, segment(IMAGE, adapter, pixel_size=0.5))


@pytest.mark.parametrize("given", ["0", "-1", "nm", "3 px", "half"])
def test_a_pixel_size_that_is_none_is_refused(given, capsys):
    assert main(training(f"--pixel-size={given}")) == 2
    assert "--pixel-size" in capsys.readouterr().err


def test_a_segmentation_of_nothing_but_background_is_said_at_the_end(caplog):
    made = tiny.adapter((7,))
    shift = torch.zeros_like(made.tensors["class_head"])
    shift[:, -1] = 1000  # of the bias: the class everywhere, or nowhere
    for sign, text in ((1, ""), (-1, "nothing but background was found in any of the 2 slices")):
        head = made.tensors["class_head"] + sign * shift
        replace(made, tensors={**made.tensors, "class_head": head}).save("a.safetensors")
        caplog.clear()
        assert main(segmenting("--slices", "1,4")) == 0
        assert tifffile.imread("out.tif").any() == (sign == 1)
        assert [r.getMessage() for r in caplog.records if "nothing" in r.getMessage()] == (
            [next(r.getMessage() for r in caplog.records if text in r.getMessage())] if text else []
        )


def test_an_adapter_below_the_forest_is_said_at_the_end(capsys):
    assert main(training(steps="1")) == 0
    *_, line, advice, _ = capsys.readouterr().err.splitlines()
    assert advice.startswith("what would help most: train longer")
    assert "a random forest on the same paint does better than this adapter" in line
    ours = Adapter.load("out.safetensors").held_out_dice[7]
    assert f"and {ours:.2f})" in line


def test_suggest_tells(capsys):
    assert main(training("--seed", "3")) == 0
    capsys.readouterr()
    assert main(["suggest", "image.tif", "--adapter", "out.safetensors", "--json"]) == 0
    told = last_line(capsys)
    assert set(told) == {"slices", "seconds"}
    assert sorted(row["slice"] for row in told["slices"]) == [0, 2, 3, 5]
    assert main(["suggest", "image.tif", "--adapter", "out.safetensors"]) == 0
    best = told["slices"][0]
    first = capsys.readouterr().out.splitlines()[0]
    assert first == f"slice {best['slice']}: uncertainty {best['uncertainty']:.3f}"


def test_evaluate_tells(capsys):
    save(Path(), 7 * TRUTH, "truth.tif")
    assert main(["evaluate", "labels.tif", "truth.tif", "--slices", "1,4", "--json"]) == 0
    told = last_line(capsys)
    assert told == {"classes": {"7": {"dice": 1, "iou": 1, "hd95": 0}}, "mean_dice": 1}
    assert main(["evaluate", "labels.tif", "truth.tif", "--json"]) == 0
    assert 0 < last_line(capsys)["mean_dice"] < 1
    assert main(["evaluate", "labels.tif", "truth.tif"]) == 0
    assert "class 7: dice" in capsys.readouterr().out


def test_info_tells(adapter, capsys):
    assert main(["info", adapter, "--json"]) == 0
    told = last_line(capsys)
    assert told["base_model"] == "tiny"
    assert told["classes"] == [{"value": 7, "name": "class 7", "color": "#e6194b"}]
    assert told["bytes"] == Path(adapter).stat().st_size
    assert main(["info", adapter]) == 0
    assert "description: what it finds" in capsys.readouterr().out


def test_bases_tells(capsys):
    assert main(["bases", "--json"]) == 0
    (row,) = (row for row in last_line(capsys)["bases"] if row["name"] == "lite-medsam")
    assert row["state"] == "bundled"
    assert main(["bases"]) == 0
    assert "Apache-2.0" in capsys.readouterr().out


def test_a_dry_run_of_training_tells_and_writes_nothing(capsys):
    before = names(Path())
    assert main([*training("--minutes", "90s", "--class-names", "7=disc"), "--dry-run", "--json"]) == 0
    told = last_line(capsys)
    assert told["painted_slices"] == "1, 4"
    assert told["classes"] == ["7: disc"]
    assert told["time"] == "1:30 min or 2 steps"
    assert told["held_out"]
    assert names(Path()) == before
    assert main([*training(labels="image.tif"), "--dry-run"]) == 2


def test_a_dry_run_of_segmenting_counts_the_tiles_that_it_takes(adapter, capsys):
    before = names(Path())
    asked = segmenting("--slices", "1-2,5", "--views", "2", "--probabilities", "p.zarr")
    assert main([*asked, "--dry-run", "--json"]) == 0
    told = last_line(capsys)
    assert names(Path()) == before
    assert told["output_size_bytes"] == IMAGE.size * (1 + 2 * 2)  # labels uint8, two maps of float16
    assert main([*segmenting("--slices", "1-2,5", "--views", "2"), "--json"]) == 0
    done = last_line(capsys)
    assert (told["slices"], told["tiles"]) == (done["slices"], done["tiles"])
    assert main([*asked, "--dry-run"]) == 0
    assert "slices: 3\n" in capsys.readouterr().out


@pytest.mark.parametrize(("quality", "views"), [("best", 4), ("fast", 2)])
def test_a_dry_run_counts_the_views_of_the_quality(quality, views, capsys):
    tiny.adapter(preprocess=Preprocess(turns=True)).save("turned.safetensors")
    asked = [*segmenting("--quality", quality, adapter="turned.safetensors"), "--json"]
    assert main([*asked, "--dry-run"]) == 0
    told = last_line(capsys)
    assert told["views"] == views
    assert main(asked) == 0
    assert told["tiles"] == last_line(capsys)["tiles"]


def test_quiet_tells_warnings_only_and_verbose_more(adapter, capsys):
    said = {}
    for amount in ("--quiet", "--no-more", "--verbose"):
        flags = [] if amount == "--no-more" else [amount]
        assert main([*segmenting(), *flags]) == 0
        said[amount] = capsys.readouterr()
    assert said["--quiet"] == ("", "")
    assert "segmenting: 100 %" in said["--no-more"].err
    assert main([*segmenting(), "--quiet", "--verbose"]) == 2
    assert "not allowed with" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "minutes"), [("3", 3), ("90s", 1.5), ("5m", 5), ("1.5 h", 90), ("2min", 2)]
)
def test_a_time_may_have_a_unit(given, minutes):
    from napari_salt.terms.options import options_of

    assert options_of(TrainConfig)["minutes"].parse(given) == pytest.approx(minutes)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_what_it_needs_to_complete(shell, capsys):
    assert main(["completion", shell]) == 0
    assert "napari-salt" in capsys.readouterr().out


@pytest.mark.skipif(os.name == "nt", reason="the shells ask over file descriptor 8")
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("napari-salt tr", {"train"}),
        ("napari-salt train --preset b", {"balanced"}),
        ("napari-salt train --base sam-v", {"sam-vit-b", "sam-vit-l", "sam-vit-h"}),
    ],
)
def test_a_shell_that_asks_gets_words(line, words, tmp_path):
    answer = tmp_path / "answer"
    asks = {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_STDOUT_FILENAME": str(answer), "_ARGCOMPLETE_IFS": "\n"}
    environment = {**os.environ, **asks, "COMP_LINE": line, "COMP_POINT": str(len(line)), "COMP_TYPE": "9"}
    code = "from napari_salt.cli import main; main()"
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True)
    assert {word.strip() for word in answer.read_text().split("\n")} == words


def test_help_loads_nothing_heavy():
    code = (
        "import sys, contextlib; from napari_salt.cli import main\n"
        "with contextlib.suppress(SystemExit): main(['train', '--help'])\n"
        "print({'torch', 'dask', 'napari'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout.endswith("set()\n")
    assert "--unpainted" in done.stdout


# What is wrong


def tif(array, name):
    return lambda: save(Path(), np.asarray(array), name)


def cut_short():
    path = save(Path(), IMAGE, "cut.tif")
    path.write_bytes(path.read_bytes()[:-3000])


def text(name):
    return lambda: Path(name).write_text("not what its name says")


def colourful(name, array):
    return lambda: save(Path(), np.stack([array] * 3, -1), name, photometric="rgb")


def changed_adapter():
    content = Path(tiny.adapter((7,)).save("bad.safetensors")).read_bytes()
    Path("bad.safetensors").write_bytes(content[:-200])


def foreign_adapter():
    from dataclasses import replace

    adapter = replace(tiny.adapter((7,)), base_sha256="0" * 64, weights_sha256="1" * 64)
    adapter.save("foreign.safetensors")


def good_adapter():
    tiny.adapter((7,)).save("a.safetensors")


def nothing():
    pass


NEGATIVE = PAINT.astype(np.int16)
NEGATIVE[1, 0, 0] = -4
FRACTIONAL = PAINT.astype(np.float32)
FRACTIONAL[1, 0, 0] = 1.5
NAN = np.full(IMAGE.shape, np.nan, np.float32)

BAD = {
    # arguments
    "a path that is not there": (nothing, ["nowhere.tif"], "neither a command"),
    "an unknown verb": (nothing, ["tarin"], "neither a command"),
    "an unknown option": (nothing, training("--nonsense"), "unrecognized arguments: --nonsense"),
    "a missing argument": (nothing, ["train", "image.tif"], "required"),
    "no such choice": (nothing, training("--preset", "lazy"), "lazy"),
    "negative minutes": (nothing, training("--minutes", "-1"), "-1 is not a number of minutes above 0"),
    "a unit that is no time": (
        nothing,
        training("--minutes", "3kg"),
        "3kg is not a number of minutes above 0",
    ),
    "minutes in words": (nothing, training("--minutes", "two"), "two is not a number of minutes above 0"),
    "minutes without end": (nothing, training("--minutes", "inf"), "inf is not a number of minutes above 0"),
    "zero steps": (nothing, training(steps="0"), "--steps: 0 is not a whole number from 1"),
    "negative steps": (nothing, training(steps="-5"), "--steps: -5 is not a whole number from 1"),
    "negative seed": (nothing, training("--seed", "-1"), "--seed: -1 is not a whole number from 0"),
    "slices in words": (nothing, training("--slices", "all"), "not a list"),
    "slices backwards": (nothing, training("--slices", "4-1"), "4-1"),
    "names without values": (nothing, training("--class-names", "disc"), "not a list"),
    "background of painted slices": (nothing, training("--background-label", "2"), "unpainted"),
    "suggest without an adapter": (nothing, ["suggest", "image.tif"], "--adapter"),
    "suggest with no such adapter": (nothing, ["suggest", "image.tif", "--adapter", "a"], "no adapter at a"),
    "suggest for a constant image": (
        lambda: (good_adapter(), tif(0 * IMAGE, "odd.tif")()),
        ["suggest", "odd.tif", "--adapter", "a.safetensors"],
        "only the value 0",
    ),
    # images and labels
    "no image": (nothing, training(image="no.tif"), "no.tif does not exist"),
    "no labels": (nothing, training(labels="no.tif"), "no.tif does not exist"),
    "a folder of stacks": (nothing, training(image="."), "and not one slice"),
    "not an image": (text("text.tif"), training(image="text.tif"), "text.tif is not a TIFF"),
    "a truncated image": (cut_short, training(image="cut.tif"), "cut.tif"),
    "no Zarr": (text("a.zarr"), training(image="a.zarr"), "a.zarr is a file but no Zarr"),
    "no NIfTI": (text("a.nii.gz"), training(image="a.nii.gz"), "a.nii.gz is not a NIfTI file"),
    "another shape": (tif(PAINT[:, 1:], "odd.tif"), training(labels="odd.tif"), "shape"),
    "fewer slices": (tif(PAINT[1:], "odd.tif"), training(labels="odd.tif"), "shape"),
    "negative labels": (tif(NEGATIVE, "odd.tif"), training(labels="odd.tif"), "-4"),
    "fractional labels": (tif(FRACTIONAL, "odd.tif"), training(labels="odd.tif"), "1.5"),
    "labels in colour": (colourful("odd.tif", PAINT), training(labels="odd.tif"), "colour"),
    "no paint": (tif(0 * PAINT, "odd.tif"), training(labels="odd.tif"), "nothing is painted"),
    "one class everywhere": (tif(0 * PAINT + 3, "odd.tif"), training(labels="odd.tif"), "label 3 covers all"),
    "no background painted": (nothing, training("--unpainted", "ignore"), "background label 1 is not"),
    "not that background": (
        nothing,
        training("--unpainted", "ignore", "--background-label", "7"),
        "only background",
    ),
    "no such slice": (nothing, training("--slices", "1,6"), "slice 6 is out of range"),
    "no finite pixel": (tif(NAN, "odd.tif"), training(image="odd.tif"), "no finite value"),
    "a constant image": (tif(0 * IMAGE + 9, "odd.tif"), training(image="odd.tif"), "only the value 9"),
    "no such channel": (nothing, training("--channel", "1"), "channel"),
    "no such axes": (nothing, training("--axes", "QQ"), "axes"),
    # base models and devices
    "an unknown base": (nothing, training("--base", "sam-9"), "unknown base model 'sam-9'"),
    "no such GPU": (nothing, training("--device", "cuda:99"), "not available"),
    "no such device": (nothing, training("--device", "toaster"), "unknown device"),
    # where to write
    "no such folder": (nothing, training(out="no/out.safetensors"), "folder no does not exist"),
    "a file for a folder": (text("no"), training(out="no/out.safetensors"), "folder no does not exist"),
    "a folder as a file": (
        lambda: Path("x.safetensors").mkdir(),
        training(out="x.safetensors"),
        "is a folder",
    ),
    "another suffix": (nothing, training(out="out.pth"), "safetensors"),
    "segment to nowhere": (good_adapter, segmenting(out="no/out.tif"), "folder no does not exist"),
    "segment to its input": (good_adapter, segmenting(out="image.tif"), "is the input image"),
    "segment to a PNG": (good_adapter, segmenting(out="out.png"), "PNG holds one slice"),
    "segment to a GIF": (good_adapter, segmenting(out="out.gif"), "let it end with .tif, .zarr, .nii"),
    # adapters
    "no adapter": (nothing, segmenting(), "no adapter at a.safetensors"),
    "no adapter to go on from": (nothing, training("--init", "a.safetensors"), "no adapter at"),
    "a damaged adapter": (changed_adapter, segmenting(adapter="bad.safetensors"), "not a readable adapter"),
    "info of a damaged adapter": (changed_adapter, ["info", "bad.safetensors"], "not a readable adapter"),
    "info of something else": (
        text("bad.safetensors"),
        ["info", "bad.safetensors"],
        "not a readable adapter",
    ),
    "an adapter of another base": (foreign_adapter, segmenting(adapter="foreign.safetensors"), "'tiny'"),
    "going on with another base": (foreign_adapter, training("--init", "foreign.safetensors"), "'tiny'"),
    "colour for a grey adapter": (
        lambda: (good_adapter(), colourful("odd.tif", IMAGE)()),
        segmenting(image="odd.tif"),
        "trained on grey",
    ),
    "no such slice to segment": (good_adapter, segmenting("--slices", "6"), "slice 6 is out of range"),
    "a negative size": (
        good_adapter,
        segmenting("--min-size", "-1"),
        "--min-size: -1 is not a whole number of pixels from 0",
    ),
    "no such GPU to segment": (good_adapter, segmenting("--device", "cuda:99"), "not available"),
    "a constant image to segment": (
        lambda: (good_adapter(), tif(0 * IMAGE, "odd.tif")()),
        segmenting(image="odd.tif"),
        "only the value 0",
    ),
    "TIFF on a cluster": (good_adapter, segmenting("--dask", "here:1"), "workers read OME-Zarr"),
    "probabilities as NIfTI": (good_adapter, segmenting("--probabilities", "p.nii"), "as .tif or .zarr"),
    "probabilities over labels": (good_adapter, segmenting("--probabilities", "out.tif"), "different names"),
    "probabilities over the image": (
        good_adapter,
        segmenting("--probabilities", "image.tif"),
        "is the input image",
    ),
    # scores
    "scores of other shapes": (tif(PAINT[1:], "odd.tif"), ["evaluate", "odd.tif", "labels.tif"], "shape"),
    "scores of no such slice": (
        nothing,
        ["evaluate", "labels.tif", "labels.tif", "--slices", "9"],
        "slice 9 is out of range",
    ),
    # the demo
    "a demo in a file": (text("no"), ["demo", "--out", "no"], "folder no cannot be made"),
}


@pytest.mark.parametrize(("prepare", "arguments", "words"), BAD.values(), ids=BAD)
def test_bad_input_is_told_in_one_line(prepare, arguments, words, capsys):
    prepare()
    before = {path: path.read_bytes() for path in Path().iterdir() if path.is_file()}
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("napari-salt: ")
    assert words in line
    assert before == {path: path.read_bytes() for path in Path().iterdir() if path.is_file()}


def test_bad_input_leaves_what_was_there(adapter):
    tifffile.imwrite("out.tif", PAINT)
    before = Path("out.tif").read_bytes()
    assert main(segmenting("--slices", "99")) == 2
    assert Path("out.tif").read_bytes() == before
    assert main(training("--slices", "99", out=adapter)) == 2
    assert Adapter.load(adapter).name == "a name"


# Ctrl-C and the real base


def start(*arguments):
    code = "import sys; from napari_salt.cli import main; sys.exit(main())"
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )


def interrupted_at(process, sign: bytes) -> tuple[int, str]:
    """Press Ctrl-C once `sign` shows on stderr; exit code and the rest of stderr."""
    shown = b""
    while sign not in shown:
        byte = process.stderr.read1(200)
        assert byte, shown.decode()
        shown += byte
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=120)
    return process.returncode, (shown + rest).decode()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
def test_ctrl_c_keeps_what_there_is():
    image, labels = samples.nuclei3d_image(), samples.nuclei3d_labels()
    process = start("train", image, labels, "--out", "a.safetensors", "--slices", "8,22", "--minutes", "1.5")
    code, err = interrupted_at(process, b": held-out Dice")
    assert code == 130
    assert "Traceback" not in err
    kept = Adapter.load("a.safetensors")
    # The latest step is kept until one is measured, as a slow machine does after its first.
    assert kept.training["steps"] >= (1 if "held-out Dice" in err else 2)
    assert kept.base_model == "lite-medsam"

    process = start("segment", image, "--adapter", "a.safetensors", "--out", "out.tif", "--views", "1")
    code, err = interrupted_at(process, b"segmenting: 10 %")
    assert code == 130
    assert "Traceback" not in err
    assert "--resume" in err
    assert read_labels("out.tif").data.shape == (31, 61, 57)
    assert names(Path()) == [".out.tif.partial", "a.safetensors", "image.tif", "labels.tif", "out.tif"]


def test_ctrl_c_while_the_demo_compares_says_what_is_there(monkeypatch, capsys):
    def pressed(*_):
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(_demo, "_forest", pressed)
    monkeypatch.setattr(_demo, "TrainConfig", functools.partial(TrainConfig, base="tiny"))
    assert main(["demo", "--out", "here", "--minutes", "0.001"]) == 130
    err = capsys.readouterr().err
    assert err.splitlines()[-1].startswith("interrupted; the adapter is here")
    assert "train longer: " in err  # few steps are not to be taken for a bad method
    assert "nothing was written" not in err
    assert read_labels("here/segmentation.tif").data.shape == (31, 61, 57)


def test_the_main_job_with_the_bundled_base(capsys):
    """Two painted slices, a few steps, two slices that were not painted."""
    truth = tifffile.imread(samples.nuclei3d_labels())
    save(Path(), 5 * tiny.painted(truth, *samples.PAINTED_SLICES), "paint.tif")
    save(Path(), 5 * truth, "truth.tif")
    image = str(samples.nuclei3d_image())
    train = ["train", image, "paint.tif", "--out", "real.safetensors", "--steps", "8", "--device", "cpu"]
    assert main([*train, "--json"]) == 0
    told = last_line(capsys)
    assert set(told) == TRAINING_KEYS
    assert told["adapter_bytes"] == Path("real.safetensors").stat().st_size <= 1_000_000
    assert told["base"] == "lite-medsam"
    assert main(segmenting("--slices", "12,18", "--views", "1", image=image, adapter="real.safetensors")) == 0
    capsys.readouterr()
    found = read_labels("out.tif").data.compute()
    assert set(np.unique(found)) == {0, 5}
    assert main(["evaluate", "out.tif", "truth.tif", "--slices", "12,18", "--json"]) == 0
    scores = last_line(capsys)
    assert set(scores["classes"]) == {"5"}
    assert scores["mean_dice"] > 0.5, scores


# The demo


def test_the_demo_leaves_what_it_names(capsys, monkeypatch):
    monkeypatch.setattr("napari_salt.cli._demo.TrainConfig", functools.partial(TrainConfig, base="tiny"))
    assert main(["demo", "--out", "here", "--minutes", "0.02", "--json"]) == 0
    result = last_line(capsys)
    found = read_labels(result["segmentation"]).data.compute() > 0
    truth = read_labels(samples.nuclei3d_labels()).data.compute() > 0
    scored = [index for index in range(len(truth)) if index not in samples.PAINTED_SLICES]
    assert result["mean_dice"] == pytest.approx(dice(found[scored], truth[scored]), abs=1e-4)
    assert 0.6 < result["forest_dice"] < 0.9
    assert Adapter.load(result["adapter"]).classes[0].name == "nucleus"
    assert read_labels(result["segmentation"]).data.shape == (31, 61, 57)
    assert Path(result["overlay"]).stat().st_size > 10_000
