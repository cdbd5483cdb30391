"""Segmenting that is stopped and goes on: every kind of stop, every format, the same bytes in the end."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader

import tiny
from napari_salt import samples
from napari_salt.cli import main
from napari_salt.cli._outputs import Outputs
from napari_salt.cli._partial import PartialRun
from napari_salt.cli._segment import run_segmentation
from napari_salt.core.adapt.adapter import Adapter
from napari_salt.core.segment.stack import segmentation_events
from napari_salt.io import read_stack
from napari_salt.terms.config import SegmentConfig
from napari_salt.terms.errors import InputError
from stacks import multiscales, names, ome_zarr, save

IMAGE, TRUTH = tiny.discs(8)
ADAPTER = Path("a.safetensors")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A working folder with a stack and an adapter of the tiny base."""
    tiny.use(monkeypatch)
    monkeypatch.chdir(tmp_path)
    save(tmp_path, IMAGE, "image.tif")
    tiny.adapter((3, 200)).save(ADAPTER)


class Stopping:
    """A stack that sends the program a Ctrl-C, or two, when a slice is read for the second time.

    All slices are read once, for their intensities, before the first is segmented. A slice is read while
    the one before it is computed, so that one may be the last to be finished, or the first to be lost.
    """

    def __init__(self, data, index, *, at_once=True):
        self.data, self.index, self.at_once, self.reads = data, index, at_once, 0
        self.shape, self.dtype = data.shape, data.dtype

    def __len__(self):
        return len(self.data)

    def __getitem__(self, key):
        self.reads += key == self.index
        if self.reads == 2:
            noted = signal.getsignal(signal.SIGINT).__self__
            signal.raise_signal(signal.SIGINT)
            while self.at_once and not noted.requested:  # two presses without a pause would count as one
                time.sleep(0.001)
            if self.at_once:
                signal.raise_signal(signal.SIGINT)
        return self.data[key]


def run(outputs, *, stop_at=None, config=None, image="image.tif"):
    """Segment; with `stop_at`, press Ctrl-C twice when that slice's turn comes, which ends it at once."""
    stack = read_stack(image)
    if stop_at is None:
        return run_segmentation(stack, Adapter.load(ADAPTER), config or SegmentConfig(), outputs)[0]
    stack = replace(stack, data=Stopping(stack.data, stop_at))
    with pytest.raises(KeyboardInterrupt):
        run_segmentation(stack, Adapter.load(ADAPTER), config or SegmentConfig(), outputs)
    return None


def contents(*paths: Path) -> list[tuple[str, bytes]]:
    """Every file of the outputs, without their own names."""
    return [
        (str(file.relative_to(path)), file.read_bytes())
        for path in paths
        for file in sorted([path, *path.rglob("*")])
        if file.is_file()
    ]


# Going on


@pytest.mark.parametrize("suffix", [".tif", ".zarr", ".nii", ".nii.gz"])
@pytest.mark.parametrize(("dtype", "smooth"), [("float16", True), ("uint8", False)])
def test_a_resumed_run_ends_with_the_same_bytes(suffix, dtype, smooth):
    config = SegmentConfig(smooth=smooth, min_size=20)
    probabilities = ".tif" if suffix == ".tif" else ".zarr"
    whole = Outputs(Path(f"a{suffix}"), Path(f"pa{probabilities}"), dtype)
    parts = replace(whole, labels=Path(f"b{suffix}"), probabilities=Path(f"pb{probabilities}"), resume=True)
    run(whole, config=config)
    run(parts, config=config, stop_at=3)
    assert not parts.labels.exists()
    run(parts, config=config, stop_at=6)
    kept = len(list(Path(f".b{suffix}.partial").glob("*.npz")))
    assert 4 <= kept + smooth <= 7
    done = run(parts, config=config)
    assert done["slices"] == 8
    assert done["tiles"] == 8 - kept + 1  # what is missing, and one before it
    # A Zarr says its name, so these have the same.
    for output, other in ((whole.labels, parts.labels), (whole.probabilities, parts.probabilities)):
        if output.suffix == ".zarr":
            text = (other / "zarr.json").read_text().replace(f'"{other.stem}"', f'"{output.stem}"')
            (other / "zarr.json").write_text(text)
        assert contents(output) == contents(other)
    assert not [name for name in names(Path()) if name.startswith(".")]


def test_two_processes_do_not_write_one_output(capsys):
    command = ["segment", "image.tif", "--adapter", str(ADAPTER), "--out", "a.tif"]
    with PartialRun(Path("a.tif"), {}).alone():
        assert main(command) == 2
        assert "a.tif is being written by another napari-salt; wait" in capsys.readouterr().err
        assert not Path("a.tif").exists()
    assert main(command) == 0
    assert not [name for name in names(Path()) if name.startswith(".")]


@pytest.mark.parametrize("smooth", [False, True])
def test_ctrl_c_keeps_the_finished_slices_in_the_outputs(smooth):
    whole, parts = Outputs(Path("a.tif"), Path("pa.tif")), Outputs(Path("b.tif"), Path("pb.tif"), resume=True)
    config = SegmentConfig(smooth=smooth)
    run(whole, config=config)
    stack = read_stack("image.tif")
    stack = replace(stack, data=Stopping(stack.data, 4, at_once=False))
    result, interrupted = run_segmentation(stack, Adapter.load(ADAPTER), config, parts)
    count = result["slices"]  # the slice at hand is finished; its neighbour was not averaged yet
    assert 4 <= count + smooth <= 5
    assert interrupted
    for whole_file, part_file in ((whole.labels, parts.labels), (whole.probabilities, parts.probabilities)):
        expected, kept = tifffile.imread(whole_file), tifffile.imread(part_file)
        np.testing.assert_array_equal(kept[..., :count, :, :], expected[..., :count, :, :])
        assert not kept[..., count:, :, :].any()
    run(parts, config=config)
    assert contents(whole.labels, whole.probabilities) == contents(parts.labels, parts.probabilities)


def test_a_torn_slice_is_done_again():
    run(Outputs(Path("a.tif")))
    parts = Outputs(Path("b.tif"), resume=True)
    run(parts, stop_at=5)
    kept = sorted(Path(".b.tif.partial").glob("*.npz"))
    assert len(kept) >= 3
    kept[2].write_bytes(kept[2].read_bytes()[:-30])
    damaged = bytearray(kept[1].read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    kept[1].write_bytes(damaged)
    kept[0].write_bytes(b"")
    assert run(parts)["slices"] == 8
    assert contents(Path("a.tif")) == contents(Path("b.tif"))


def test_a_run_that_was_hardly_begun():
    Path(".b.tif.partial").mkdir()
    for text in ("", "{"):
        Path(".b.tif.partial/run.json").write_text(text)
        assert run(Outputs(Path("b.tif"), resume=True))["tiles"] == 8
        Path(".b.tif.partial").mkdir()


def test_without_resume_it_begins_again():
    run(Outputs(Path("a.tif")), stop_at=5)
    assert run(Outputs(Path("a.tif")))["tiles"] == 8
    assert names(Path()) == ["a.safetensors", "a.tif", "image.tif"]


def test_a_stop_while_the_output_is_written_loses_nothing(monkeypatch):
    outputs = Outputs(Path("a.tif"), resume=True)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as context:
        context.setattr(tifffile.TiffWriter, "write", full)
        with pytest.raises(InputError, match="No space left"):
            run(outputs)
    assert names(Path()) == [".a.tif.partial", "a.safetensors", "image.tif"]
    assert run(outputs)["tiles"] == 0
    assert tifffile.imread("a.tif").any()


def test_bad_input_keeps_what_there_is():
    run(Outputs(Path("a.tif")), stop_at=5)
    kept = names(Path(".a.tif.partial"))
    with pytest.raises(InputError, match="slice 99"):
        run(Outputs(Path("a.tif")), config=SegmentConfig(slices=(99,)))
    assert names(Path(".a.tif.partial")) == kept != []


# Another run


def other_image():
    save(Path(), IMAGE[:, ::-1], "image.tif")


def other_adapter():
    tiny.adapter((3, 201)).save(ADAPTER)


@pytest.mark.parametrize(
    ("change", "options", "what"),
    [
        (other_image, {}, "image"),
        (other_adapter, {}, "adapter"),
        (None, {"config": SegmentConfig(views=2)}, "views"),
        (None, {"config": SegmentConfig(views=2, overlap=3)}, "overlap, views"),
        (None, {"config": SegmentConfig(slices=(1, 2))}, "slices"),
    ],
)
def test_another_run_is_not_gone_on_with(change, options, what):
    outputs = Outputs(Path("a.tif"), resume=True)
    run(outputs, stop_at=5)
    if change:
        change()
    with pytest.raises(InputError, match=f"differs in {what}: .* --resume"):
        run(outputs, **options)
    with pytest.raises(InputError, match="probabilities"):
        run(replace(outputs, probabilities=Path("p.tif")), **options)


@pytest.fixture
def damaged(tmp_path):
    """How to segment 40 slices of which slice 20 cannot be read; intensities are not measured on that."""
    many = np.concatenate([IMAGE] * 5)
    path = ome_zarr(tmp_path / "many.zarr", many, multiscales("zyx"), chunks=(1, 64, 64))
    chunk = path / "0" / "c" / "20" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:-9])
    return ["segment", "many.zarr", "--adapter", str(ADAPTER), "--out", "out.tif"]


def test_a_failure_says_what_is_kept_and_how_to_go_on(damaged, capsys, caplog):
    for options in ([], ["--resume"]):
        assert main([*damaged, *options]) == 2
        told = capsys.readouterr().err
        assert "many.zarr: the slice Z=20 cannot be read" in told
        assert "the 20 finished slices are kept, and --resume goes on" in told
        assert "--unreadable skip leaves such slices out" in told
    assert main([*damaged, "--resume", "--unreadable", "skip"]) == 3
    assert "the slice Z=20 cannot be read" in caplog.messages[-1]
    assert "39 slices is in out.tif, without those that cannot be read (20)" in capsys.readouterr().err
    found = tifffile.imread("out.tif")
    assert [index for index in range(40) if not found[index].any()] == [20]
    assert not [name for name in names(Path()) if name.startswith(".")]


def test_a_zarr_image_that_changed_is_noticed():
    zarr.save_array("image.zarr", IMAGE)
    outputs = Outputs(Path("a.zarr"), resume=True)
    run(outputs, stop_at=5, image="image.zarr")
    zarr.open_array("image.zarr", mode="r+")[7] = 0
    with pytest.raises(InputError, match="differs in image"):
        run(outputs, image="image.zarr")


# Probabilities


@pytest.mark.parametrize("dtype", ["float16", "uint8"])
@pytest.mark.parametrize("name", ["p.tif", "p.zarr"])
def test_probabilities(name, dtype):
    arguments = ["segment", "image.tif", "--adapter", str(ADAPTER), "--out", "out.tif", "--slices", "2,5"]
    assert main([*arguments, "--probabilities", name, "--probabilities-dtype", dtype]) == 0
    if name == "p.zarr":
        (node,) = Reader(parse_url("p.zarr"))()
        found, channels = node.data[0].compute(), node.metadata["channel_names"]
        assert [axis["name"] for axis in node.metadata["axes"]] == list("czyx")
    else:
        with tifffile.TiffFile("p.tif") as tif:
            found = tif.asarray()
            assert tif.series[0].axes == "CZYX"
            channels = (
                [c["Name"] for c in tifffile.xml2dict(tif.ome_metadata)["OME"]["Image"]["Pixels"]["Channel"]]
                if tif.is_ome
                else tif.shaped_metadata[0]["Channel"]["Name"]
            )
    assert channels == ["background", "class 3", "class 200"]
    assert (found.shape, found.dtype) == ((3, *IMAGE.shape), dtype)
    largest = 255 if dtype == "uint8" else 1
    adapter = Adapter.load(ADAPTER)
    for result in segmentation_events(IMAGE, adapter, SegmentConfig(slices=(2, 5))):
        np.testing.assert_allclose(found[:, result.index] / largest, result.probabilities, atol=0.51 / 255)
    assert not found[:, [0, 1, 3, 4, 6, 7]].any()


def test_probabilities_of_a_time_series():
    save(Path(), IMAGE.reshape(2, 4, 64, 64), "series.tif", imagej=True, metadata={"axes": "TZYX"})
    run(Outputs(Path("a.zarr"), Path("p.zarr")), image="series.tif")
    run(Outputs(Path("b.zarr"), Path("q.zarr")))
    labels, probabilities, flat_labels, flat = (
        zarr.open(name, mode="r")["0"][:] for name in ("a.zarr", "p.zarr", "b.zarr", "q.zarr")
    )
    assert (labels.shape, probabilities.shape) == ((2, 4, 64, 64), (2, 3, 4, 64, 64))
    np.testing.assert_array_equal(labels.reshape(8, 64, 64), flat_labels)
    np.testing.assert_array_equal(np.concatenate(probabilities, axis=1), flat)


# The real thing


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """Four real slices, and an adapter that was trained on them for a step."""
    folder = tmp_path_factory.mktemp("real")
    save(folder, tifffile.imread(samples.nuclei3d_image())[8:12], "image.tif")
    save(folder, tifffile.imread(samples.nuclei3d_labels())[8:12], "labels.tif")
    image, labels, adapter = (str(folder / name) for name in ("image.tif", "labels.tif", "a.safetensors"))
    assert main(["train", image, labels, "--out", adapter, "--steps", "1", "--slices", "0"]) == 0
    return folder


def segmenting(folder, out, *options):
    code = "import sys; from napari_salt.cli import main; sys.exit(main())"
    files = [str(folder / "image.tif"), "--adapter", str(folder / "a.safetensors"), "--out", out]
    command = [sys.executable, "-c", code, "segment", *files, "--views", "1", *options]
    return subprocess.Popen(command, stderr=subprocess.PIPE)


@pytest.mark.skipif(os.name == "nt", reason="Windows kills otherwise")
def test_kill_9(real):
    whole = segmenting(real, "a.zarr", "--probabilities", "pa.tif")
    assert (whole.wait(), whole.stderr.close()) == (0, None)
    process = segmenting(real, "b.zarr", "--probabilities", "pb.tif")
    shown = b""
    while b"segmenting: 50 %" not in shown:
        shown += process.stderr.read1(200)
        assert process.poll() is None, shown.decode()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not Path("b.zarr").exists()
    kept = list(Path(".b.zarr.partial").glob("*.npz"))
    assert 2 <= len(kept) < 4
    process = segmenting(real, "b.zarr", "--probabilities", "pb.tif", "--resume")
    _, told = process.communicate()
    assert process.returncode == 0, told.decode()
    shutil.move("a.zarr/0", "a")
    shutil.move("b.zarr/0", "b")
    assert contents(Path("a"), Path("pa.tif")) == contents(Path("b"), Path("pb.tif"))
    assert not [name for name in names(Path()) if name.startswith(".")]
