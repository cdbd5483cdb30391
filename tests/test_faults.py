"""Faults of the machine: full disks, folders that are gone, processes that are killed."""

import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import psutil
import pytest

import tiny
from loop import Loop
from napari_salt.cli import main
from napari_salt.cli._partial import PartialRun
from napari_salt.core.adapt.adapter import Adapter
from napari_salt.core.train import run
from napari_salt.engine._client import ENGINE, EngineProcess
from napari_salt.session._autosave import KEPT, Autosave
from napari_salt.session._flat_stack import PaintSnapshot
from stacks import names, save

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals and limits are of another kind on Windows")
HERE = Path(__file__).parent


def python(code, *arguments, **options):
    """A process that runs `code` with the tests' modules at hand."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


FULL = """
import logging, os, resource, sys
from pathlib import Path
import numpy as np, torch, tiny
from napari_salt.core.adapt import svd
from napari_salt.session._autosave import Autosave
from napari_salt.session._flat_stack import PaintSnapshot
from napari_salt.io import read_stack, write_labels
from napari_salt.terms.errors import SaltError
logging.basicConfig(format="warning: %(message)s", stream=sys.stdout)
folder, autosave, adapter = Path(sys.argv[1]), Autosave(Path(sys.argv[1]) / "autosave"), tiny.adapter()
stack, labels = read_stack(folder / "image.tif"), np.random.default_rng(0).integers(0, 9, (6, 64, 64), "u1")
weight, svd.WORTH_KEEPING = torch.randn(64, 64), 1
if sys.argv[2] == "limit": resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
else: os.environ["NAPARI_SALT_CACHE"] = str(folder / "cache")
def told(what, act):
    try: act(); print(what, "done")
    except SaltError as error: print(what, error)
told("adapter", lambda: adapter.save(folder / "a.safetensors"))
told("labels", lambda: write_labels(folder / "out.tif", labels, like=stack))
told("paint", lambda: autosave.paint(PaintSnapshot(labels.shape, dict(enumerate(labels))), "image"))
told("autosave", lambda: autosave.adapter(adapter.to_bytes(), "image"))
told("svd", lambda: svd.remembered_svd(weight))
"""


def prepare(folder):
    """An image, and files that are to be replaced."""
    save(folder, tiny.discs()[0], "image.tif")
    for name in ("a.safetensors", "out.tif"):
        (folder / name).write_bytes(b"from before")


def check_told(out, reason):
    """Each thing that could not be written is told in a line, with the reason; the rest went on."""
    for line in (
        f"a.safetensors cannot be written: {reason}; make room, or choose another place",
        f"out.tif cannot be written: {reason}",
        "the paint cannot be autosaved to ",
        "warning: cannot keep a decomposition for the next time: ",
        "svd done",
    ):
        assert line in out


def test_a_full_disk_is_told_and_harms_no_file(tmp_path, folder):
    """Files of more than 4000 bytes cannot be written, as on a disk that is full."""
    prepare(tmp_path)
    process = python(FULL, tmp_path, "limit")
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    check_told(out, "File too large")
    assert names(tmp_path / "autosave") == []
    assert [name for name in names(tmp_path) if name.startswith(".")] == []
    assert {(tmp_path / name).read_bytes() for name in ("a.safetensors", "out.tif")} == {b"from before"}
    assert not list(folder.rglob("*.safetensors"))


SMALL_DISK = ("unshare", "--map-root-user", "--mount", "sh", "-ec")
"""Runs a shell in which disks can be made that nobody else sees."""
FILLED = """
mount -t tmpfs -o size=64k tmpfs "$1"; cp "$2"/* "$1"
"$3" -c "$4" "$1" disk
cd "$1"; find . -type f | sort; cat a.safetensors out.tif
"""


def test_a_disk_without_room_is_told_and_harms_no_file(tmp_path):
    """The same on a disk of 64 kB of which an image takes 50."""
    disk, files = tmp_path / "disk", tmp_path / "files"
    disk.mkdir()
    files.mkdir()
    if not shutil.which("unshare") or subprocess.call([*SMALL_DISK, "mount -t tmpfs x /mnt"]):
        pytest.skip("no disk can be made here")
    prepare(files)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}
    command = [*SMALL_DISK, FILLED, "sh", str(disk), str(files), sys.executable, FULL]
    told = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300, env=environment)
    assert told.returncode == 0, told.stderr
    check_told(told.stdout, "No space left on device")
    assert told.stdout.endswith("./a.safetensors\n./image.tif\n./out.tif\nfrom beforefrom before")


def test_a_clock_that_is_set_back_does_not_make_new_paint_the_oldest(tmp_path, monkeypatch):
    class Later(datetime):
        """A clock that is a year ahead."""

        @classmethod
        def now(cls, tz=None):
            return super().now(tz) + timedelta(days=365)

    autosave = Autosave(tmp_path)
    planes = {0: np.ones((4, 4), np.uint8)}
    with monkeypatch.context() as ahead:
        ahead.setattr("napari_salt.session._autosave.datetime", Later)
        for _ in range(KEPT):
            autosave.paint(PaintSnapshot((1, 4, 4), planes), "before")
    path = autosave.paint(PaintSnapshot((1, 4, 4), planes), "after")
    saved = autosave.entries()
    assert len(saved) == KEPT
    assert (saved[0].path, saved[0].image) == (path, "after")


COMMAND = """
import sys, pytest, tiny
from napari_salt.cli import main
tiny.use(pytest.MonkeyPatch())
sys.exit(main(sys.argv[1:]))
"""
"""A command of the command line, with the tiny base."""


def test_folders_that_cannot_be_written_to_do_not_stop_the_work(tmp_path, monkeypatch):
    save(tmp_path, tiny.discs()[0], "image.tif")
    tiny.adapter().save(tmp_path / "a.safetensors")
    for name in ("HOME", "TMPDIR", "NAPARI_SALT_CACHE", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "image.tif" / "nowhere"))
    command = ("segment", "image.tif", "--adapter", "a.safetensors", "--out", "out.tif")
    process = python(COMMAND, *command, cwd=tmp_path)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert (tmp_path / "out.tif").exists()
    assert "Traceback" not in errors


def test_a_kill_at_any_moment_of_saving_leaves_a_whole_file():
    """Three moments of each kind of file; without arguments the program tries sixty."""
    command = [sys.executable, str(HERE / "fuzz" / "kills.py"), "--moments", "3"]
    told = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    assert told.returncode == 0, told.stdout + told.stderr
    assert told.stdout.count("whole after 3 kills") == 9


PARENT = """
import subprocess, sys, time
process = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
print(process.pid, flush=True)
time.sleep(300)
"""


def test_the_engine_ends_when_napari_is_killed():
    parent = python(PARENT, *ENGINE)
    engine = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.communicate()
    end = time.monotonic() + 60
    while engine.is_running() and engine.status() != psutil.STATUS_ZOMBIE and time.monotonic() < end:
        time.sleep(0.05)
    assert not engine.is_running() or engine.status() == psutil.STATUS_ZOMBIE


@pytest.fixture
def painted_files(tmp_path, monkeypatch, folder):
    """An image and its labels in the working folder, and the tiny base."""
    tiny.use(monkeypatch)
    monkeypatch.chdir(tmp_path)
    image, truth = tiny.discs()
    save(tmp_path, image, "image.tif")
    save(tmp_path, tiny.painted(truth, 1, 4), "labels.tif")
    return ["train", "image.tif", "labels.tif", "--base", "tiny", "--seed", "0"]


def test_sigterm_does_what_ctrl_c_does(painted_files, monkeypatch, capsys):
    """The best adapter so far is kept, and the exit code is that of an interruption."""
    events = []
    show = "napari_salt.cli._train._show"

    def shown(event, _bar):
        events.append(event)
        if event.adapter is not None:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(show, shown)
    before = signal.getsignal(signal.SIGTERM)
    assert main([*painted_files, "--out", "a.safetensors", "--steps", "100000"]) == 130
    assert "stopping after this step" in capsys.readouterr().err
    assert events[-1].phase != "done"
    assert Adapter.load("a.safetensors").values == (1,)
    assert signal.getsignal(signal.SIGTERM) == before


UNPLUGGED = "CUDA error: unspecified launch failure\nCUDA kernel errors might be asynchronously reported"


def test_a_gpu_that_disappears_is_one_line_and_the_best_adapter_is_kept(painted_files, monkeypatch, capsys):
    honest, calls = run.loss_and_gradients, []

    def unplugged(model, batch):
        calls.append(model)
        if len(calls) == 3:
            raise RuntimeError(UNPLUGGED)
        return honest(model, batch)

    monkeypatch.setattr(run, "loss_and_gradients", unplugged)
    assert main([*painted_files, "--out", "a.safetensors", "--steps", "8"]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("napari-salt: ")]
    assert "the GPU has stopped working (CUDA error: unspecified launch failure); try again" in line
    assert "the best adapter so far is in a.safetensors" in line
    assert Adapter.load("a.safetensors").values == (1,)


LOSING = """
import pickle, sys
from napari_salt.engine._news import Failed
pickle.load(sys.stdin.buffer)
pickle.dump(Failed(request="Look", message="the GPU has stopped working", lost=True), sys.stdout.buffer)
sys.stdout.flush()
sys.stdin.read()
"""


def test_an_engine_whose_gpu_disappears_is_replaced_also_if_a_preview_noticed_it_first():
    loop, told = Loop(), []
    engine = EngineProcess(loop, [sys.executable, "-c", LOSING])
    engine.message.connect(told.append)
    for number in (1, 2):
        engine.start("a job")
        process = psutil.Process(engine._process.pid)
        loop.run(lambda number=number: len(told) == number)
        assert told[-1].request == ""
        assert not engine.working
        process.wait(60)
    engine.close()


def test_sigterm_before_there_is_anything_to_keep(painted_files, monkeypatch, capsys):
    def read(*_arguments):
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr("napari_salt.cli._train._read_pairs", read)
    assert main([*painted_files, "--out", "a.safetensors"]) == 130
    assert "interrupted; nothing was written" in capsys.readouterr().err


def test_an_adapter_whose_folder_is_gone_is_kept_elsewhere(painted_files, monkeypatch, capsys, folder):
    (Path("out")).mkdir()

    def shown(_event, _bar):
        shutil.rmtree("out", ignore_errors=True)

    monkeypatch.setattr("napari_salt.cli._train._show", shown)
    assert main([*painted_files, "--out", "out/a.safetensors", "--steps", "2"]) == 2
    told = capsys.readouterr().err
    assert "cannot write to out: No such file or directory" in told
    kept = Path(told.split("the adapter is kept as ")[1].strip())
    assert kept.parent == folder / "rescued"
    assert Adapter.load(kept).training["steps"] == 2


def test_a_kill_while_training_leaves_the_adapter_from_before_or_a_later_one(painted_files):
    before = tiny.adapter((7,)).save("a.safetensors").read_bytes()
    process = python(COMMAND, *painted_files, "--out", "a.safetensors", "--steps", "60")
    while Path("a.safetensors").read_bytes() == before:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert Adapter.load("a.safetensors").values == (1,)


@pytest.fixture
def segmenting(painted_files):
    """How to segment six slices with an adapter of the tiny base."""
    tiny.adapter().save("a.safetensors")
    return ["segment", "image.tif", "--adapter", "a.safetensors"]


def when_slice_is_kept(monkeypatch, wanted, act):
    """Do `act` before this slice is kept."""
    honest = PartialRun.add

    def add(partial, index, arrays):
        if index == wanted:
            act()
        honest(partial, index, arrays)

    monkeypatch.setattr(PartialRun, "add", add)


def test_sigterm_while_segmenting_keeps_the_finished_slices(segmenting, monkeypatch, capsys):
    assert main([*segmenting, "--out", "whole.tif"]) == 0
    with monkeypatch.context() as context:
        when_slice_is_kept(context, 2, lambda: signal.raise_signal(signal.SIGTERM))
        assert main([*segmenting, "--out", "out.tif"]) == 130
    assert "--resume does the rest" in capsys.readouterr().err
    assert main([*segmenting, "--out", "out.tif", "--resume"]) == 0
    assert Path("out.tif").read_bytes() == Path("whole.tif").read_bytes()


def test_a_folder_that_is_gone_while_segmenting_is_one_line(segmenting, monkeypatch, capsys):
    Path("out").mkdir()
    when_slice_is_kept(monkeypatch, 2, lambda: shutil.rmtree("out"))
    assert main([*segmenting, "--out", "out/out.tif"]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("napari-salt: ")]
    assert "No such file or directory" in line
