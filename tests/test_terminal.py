"""What the commands say on a terminal and in a pipe; what Python's interface takes and refuses."""

import os
import re
import signal
import struct
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import tifffile
import torch

import napari_salt as ns
import tiny
from napari_salt.terms.errors import InputError


@pytest.fixture(scope="module")
def files(tmp_path_factory, base):
    """An image, labels and an adapter trained on them, in one folder."""
    folder = tmp_path_factory.mktemp("files")
    image, truth = tiny.discs(12)
    tifffile.imwrite(folder / "image.tif", image, photometric="minisblack")
    tifffile.imwrite(folder / "labels.tif", tiny.painted(truth, 1, 4), photometric="minisblack")
    done = in_a_pipe(folder, *train(base, 12))
    assert done.returncode == 0, done.stderr
    (folder / "train.txt").write_text(done.stderr)
    return folder


def train(base, steps):
    options = ("--base", base, "--steps", steps, "--device", "cpu", "--pixel-scale", 1)
    return ("train", "image.tif", "labels.tif", "--out", "a.salt.safetensors", *options)


def command(*arguments):
    code = "import sys; from napari_salt.cli import main; sys.exit(main())"
    return [sys.executable, "-c", code, *map(str, arguments)]


def in_a_pipe(folder, *arguments):
    return subprocess.run(command(*arguments), cwd=folder, capture_output=True, text=True, check=False)


def on_a_terminal(folder, *arguments):
    """What a terminal of 100 columns gets."""
    import fcntl
    import termios

    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    process = subprocess.Popen(command(*arguments), cwd=folder, stdout=theirs, stderr=theirs, stdin=theirs)
    os.close(theirs)
    text = b""
    while True:
        try:
            more = os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
        if not more:
            break
        text += more
    os.close(ours)
    assert process.wait() == 0, text
    return text.decode()


def test_training_in_a_pipe_gives_lines_and_says_where_the_adapter_is(files):
    said = (files / "train.txt").read_text()
    assert "\r" not in said
    assert "\x1b" not in said
    tenths = re.findall(r"^training: (\d+) %$", said, re.MULTILINE)
    assert 3 <= len(tenths) <= 11
    assert tenths[-1] == "100"
    last = said.splitlines()[-1]
    assert re.fullmatch(r"the adapter is in a.salt.safetensors \(\d+ kB\): 12 steps, .* s in all", last)


def test_segmenting_in_a_pipe_gives_a_line_every_tenth_and_says_where_the_labels_are(files, base):
    done = in_a_pipe(
        files, "segment", "image.tif", "--adapter", "a.salt.safetensors", "--out", "out.tif", "--base", base
    )
    assert done.returncode == 0
    assert "\r" not in done.stderr
    tenths = re.findall(r"^segmenting: (\d+) %$", done.stderr, re.MULTILINE)
    assert len(tenths) == len(set(tenths)) <= 11
    assert tenths[-1] == "100"
    assert re.fullmatch(
        r"the segmentation of 12 slices is in out.tif: .* s in all", done.stderr.splitlines()[-1]
    )


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="Windows has no such terminals")
def test_a_terminal_gets_a_bar(files, base):
    said = on_a_terminal(
        files, "segment", "image.tif", "--adapter", "a.salt.safetensors", "--out", "o.tif", "--base", base
    )
    assert "segmenting: 100%" in said
    assert said.count("\r") > 2
    assert "the segmentation of 12 slices is in o.tif" in said


def test_looking_gives_a_line_every_tenth_and_says_how_far_it_came(files):
    done = in_a_pipe(files, "suggest", "image.tif", "--adapter", "a.salt.safetensors")
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^looking: (\d+) %$", done.stderr, re.MULTILINE)[-1] == "100"
    assert re.fullmatch(r"looked at 10 of 10 slices: .* s in all", done.stderr.splitlines()[-1])
    assert len(done.stdout.splitlines()) == 10


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_a_stopped_search_says_how_far_it_came(files):
    """Ctrl-C while it looks; the ranking so far is still printed."""
    tifffile.imwrite(files / "large.tif", tiny.discs(10, 512)[0], photometric="minisblack")
    process = subprocess.Popen(
        command("suggest", "large.tif", "--adapter", "a.salt.safetensors"),
        cwd=files,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stderr:
        if line.startswith("looking: "):
            process.send_signal(signal.SIGINT)
            break
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert re.fullmatch(r"stopped early; looked at \d+ of 10 slices: .* s in all", err.splitlines()[-1])
    assert "Traceback" not in err
    assert out.startswith("slice ")


def test_an_output_that_nobody_reads_is_no_failure(files):
    """As with ``| head``: the pipe is closed before anything is written."""
    process = subprocess.Popen(
        command("bases"), cwd=files, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait() == 141


def test_letters_that_the_terminal_lacks_are_escaped(files, tmp_path):
    path = replace(tiny.adapter(), name="\u7d30\u80de \xb5").save(tmp_path / "a.safetensors")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command("info", path), env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "name: \\u7d30\\u80de \\xb5" in done.stdout


def test_scores_are_told_in_four_digits(files):
    done = in_a_pipe(files, "evaluate", "labels.tif", "labels.tif")
    assert done.stdout.splitlines()[-1] == "mean Dice 1.0000"
    assert done.stderr == ""


def arrays():
    return tiny.discs(4)


@pytest.mark.usefixtures("tiny_base")
def test_lists_and_tensors_are_as_good_as_arrays():
    image, truth = arrays()
    paint = tiny.painted(truth, 0, 2)
    config = tiny.QUICK
    expected = ns.train(image, paint, config)
    for kind in (lambda a: a.tolist(), lambda a: torch.from_numpy(a.astype(np.int32))):
        adapter = ns.train(kind(image), kind(paint), config)
        for name, tensor in expected.tensors.items():
            torch.testing.assert_close(adapter.tensors[name], tensor)
        found = ns.segment(kind(image), adapter, ns.SegmentConfig(device="cpu", views=1))
        np.testing.assert_array_equal(
            found, ns.segment(image, adapter, ns.SegmentConfig(device="cpu", views=1))
        )
        assert ns.evaluate(kind(truth), kind(truth)).mean_dice == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"a": 1}, "is a dict; give an array of numbers"),
        (None, "is a NoneType; give an array of numbers"),
    ],
)
def test_what_is_no_stack_is_refused_in_one_line(given, said):
    image, truth = arrays()
    for call in (
        lambda: ns.train(given, truth),
        lambda: ns.train(image, given),
        lambda: ns.segment(given, tiny.adapter()),
        lambda: ns.suggest(given, tiny.adapter()),
        lambda: ns.evaluate(given, truth),
        lambda: ns.evaluate(truth, given),
    ):
        with pytest.raises(InputError) as refused:
            call()
        assert said in str(refused.value)
        assert "\n" not in str(refused.value)


@pytest.mark.usefixtures("tiny_base")
def test_paths_are_scored_and_looked_at_as_arrays_are(tmp_path):
    image, truth = arrays()
    found = np.roll(truth, 3, axis=1)
    pixels = {"resolution": (2, 2), "imagej": True, "metadata": {"axes": "ZYX", "spacing": 2, "unit": "um"}}
    paths = {}
    for name, array in (("image", image), ("truth", truth), ("found", found), ("mask", truth > 0)):
        paths[name] = tmp_path / f"{name}.tif"
        tifffile.imwrite(paths[name], array.astype(np.uint16), **pixels)
    assert ns.suggest(str(paths["image"]), tiny.adapter()) == ns.suggest(image, tiny.adapter())
    expected = ns.evaluate(found, truth, spacing=(2, 0.5, 0.5), mask=truth > 0)
    assert ns.evaluate(paths["found"], paths["truth"], mask=paths["mask"]) == expected
    assert ns.evaluate(found, ns.read_labels(paths["truth"]), mask=truth > 0) == expected
    in_pixels = ns.evaluate(found, truth)
    assert ns.evaluate(paths["found"], truth, spacing=(1, 1, 1)) == in_pixels
    assert in_pixels != ns.evaluate(paths["found"], truth)


def test_a_path_that_is_not_there_or_not_read_is_named():
    image, truth = arrays()
    for call, said in (
        (lambda: ns.train("no.nrrd", truth), "no.nrrd does not exist: check the path"),
        (lambda: ns.train(image, "no.nrrd"), "no.nrrd does not exist: check the path"),
        (lambda: ns.segment("no.nrrd", tiny.adapter()), "no.nrrd does not exist: check the path"),
        (lambda: ns.suggest("a.tif", tiny.adapter()), "a.tif does not exist: check the path"),
        (lambda: ns.evaluate("a.tif", truth), "a.tif does not exist: check the path"),
        (lambda: ns.evaluate(truth, "a.tif"), "a.tif does not exist: check the path"),
    ):
        with pytest.raises(InputError) as refused:
            call()
        assert said in str(refused.value)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda i, t, a: ns.train([[1, 2], [3]], t), "the image is no array of numbers"),
        (lambda i, t, a: ns.segment(torch.zeros(2, 8, 8, dtype=torch.bfloat16), a), "BFloat16"),
        (lambda i, t, a: ns.segment(i, "a.safetensors"), "adapter is of type str; give an Adapter"),
        (lambda i, t, a: ns.suggest(i, None), "adapter is of type NoneType; give an Adapter"),
        (
            lambda i, t, a: ns.train(i, t, init="a.safetensors"),
            "to go on from is of type str; give an Adapter",
        ),
        (lambda i, t, a: ns.train(i, t, {"minutes": 3}), "config is of type dict; give a TrainConfig"),
        (lambda i, t, a: ns.segment(i, a, tiny.QUICK), "of type TrainConfig; give a SegmentConfig"),
        (lambda i, t, a: ns.segment(i, a, pixel_size="0.5"), "pixel_size is '0.5'; give micrometres"),
        (lambda i, t, a: ns.train(i, t, pixel_size=float("nan")), "pixel_size is nan; give micrometres"),
    ],
)
def test_arguments_of_another_type_are_refused_by_their_name(call, said):
    image, truth = arrays()
    with pytest.raises(InputError) as refused:
        call(image, tiny.painted(truth, 0), tiny.adapter())
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
