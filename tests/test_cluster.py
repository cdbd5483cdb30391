"""Segmenting on a Dask cluster of two worker processes gives what one process gives."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from itertools import chain
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import zarr
from distributed import Client, LocalCluster, get_worker

import napari_salt as ns
import tiny
from napari_salt.cli import main
from napari_salt.core.segment.cluster import cluster_results
from napari_salt.core.segment.stack import segmentation_events
from napari_salt.io import read_stack
from napari_salt.terms.config import SegmentConfig
from napari_salt.terms.errors import InputError
from napari_salt.terms.preprocess import Preprocess
from stacks import multiscales, names, ome_zarr, save

IMAGE, _ = tiny.discs(12)
LARGE, _ = tiny.discs(8, 160)
CPU = SegmentConfig(device="cpu", views=1)
WANTED = (0, 1, 3, 6, 7, 8, 9, 11)
MAIN_OF_TINY = """
import sys, pytest, tiny
from napari_salt.cli import main
tiny.use(pytest.MonkeyPatch())
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def cluster():
    """Two worker processes of one thread."""
    with LocalCluster(n_workers=2, processes=True, threads_per_worker=1, dashboard_address=":0") as cluster:
        yield cluster


@pytest.fixture
def client(cluster):
    with Client(cluster) as client:
        yield client


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A working folder, and an adapter of the tiny base, whose weights the workers do not have."""
    tiny.use(monkeypatch)
    monkeypatch.chdir(tmp_path)
    tiny.adapter().save("a.safetensors")


def on_disk(image, name="image.zarr"):
    """Write an OME-Zarr image of one chunk per slice."""
    return ome_zarr(Path(name), image, multiscales("zyx"), chunks=(1, *image.shape[1:]))


STACKS = {
    "dask": lambda image: da.from_array(image, chunks=(5, 32, 64)),
    "zarr": lambda image: zarr.open_array(on_disk(image), path="0", mode="r"),
    "persisted": lambda image: da.from_array(image, chunks=(5, 32, 64)).persist(),
    "an OME-Zarr": lambda image: read_stack(on_disk(image)).data,
    "a TIFF": lambda image: read_stack(save(Path(), image, "image.tif"), axes="ZYX").data,
}


@pytest.mark.parametrize("kind", STACKS)
def test_any_stack_gives_what_one_process_gives(client, kind):
    expected = ns.segment(IMAGE, tiny.adapter(), CPU)
    assert set(np.unique(expected)) == {0, 3, 200}
    found = ns.segment(STACKS[kind](IMAGE), tiny.adapter(), CPU, client=client)
    np.testing.assert_array_equal(found, expected)


CONFIGS = {
    "some slices": ({}, SegmentConfig(device="cpu", views=1, slices=WANTED)),
    "tidied": ({}, SegmentConfig(device="cpu", views=1, min_size=9, fill_holes=True)),
    "smooth": ({}, SegmentConfig(device="cpu", views=1, smooth=True)),
    "smooth within time points": (
        {},
        SegmentConfig(device="cpu", views=1, smooth=True, group=4, slices=WANTED),
    ),
    "unrelated images": ({"independent": True}, SegmentConfig(device="cpu", views=1, smooth=True)),
}


@pytest.mark.parametrize("case", CONFIGS)
def test_probabilities_are_those_of_one_process(client, case):
    preprocess, config = CONFIGS[case]
    adapter = tiny.adapter(preprocess=Preprocess(**preprocess))
    expected = {r.index: r for r in segmentation_events(IMAGE, adapter, config)}
    found = {r.index: r for r in cluster_results(client, IMAGE, adapter, config, keep=lambda result: result)}
    assert found.keys() == expected.keys()
    for index, result in expected.items():
        np.testing.assert_array_equal(found[index].labels, result.labels)
        np.testing.assert_array_equal(found[index].probabilities, result.probabilities)


def test_nothing_stays_on_the_workers(client):
    ns.segment(IMAGE, tiny.adapter(), CPU, client=client)
    plugins = client.run(lambda dask_worker: list(dask_worker.plugins))
    assert not [name for name in chain(*plugins.values()) if name.startswith("napari-salt")]


def test_errors_of_workers_are_those_of_one_process(client):
    stack = np.concatenate([IMAGE[:3], 0 * IMAGE[:1]])
    adapter = tiny.adapter(preprocess=Preprocess(independent=True))
    with pytest.raises(InputError, match="image 3 holds only the value 0"):
        ns.segment(stack, adapter, CPU, client=client)


def test_workers_that_announce_gpus_are_the_ones(client):
    """Resources are added while the cluster runs, as a worker started with them would have them."""

    async def announce(dask_worker, count):
        await dask_worker.set_resources(GPU=count)

    address = next(iter(client.nthreads()))
    client.run(announce, count=1, workers=[address])
    where = cluster_results(client, IMAGE, tiny.adapter(), CPU, keep=lambda result: get_worker().address)
    try:
        assert set(where) == {address}
    finally:
        client.run(announce, count=0, workers=[address])


def test_a_worker_killed_in_the_middle_changes_nothing(cluster, client):
    """The killed worker has a task at that time."""
    on_disk(LARGE)
    outputs = ["--probabilities", "p.zarr", "--slices", "0-4,6,7", "--views", "1", "--device", "cpu"]
    # OpenVINO rounds by its number of threads, which is another one here than on the workers.
    command = ["segment", "image.zarr", "--adapter", "a.safetensors", "--runtime", "torch", *outputs]
    assert main([*command, "--out", "here.zarr"]) == 0
    killed, pids = [], client.run(os.getpid)

    def kill_one():
        chunks = Path(".part.there.zarr/0/c")
        while not any(path.is_file() for path in chunks.rglob("*")):
            time.sleep(0.01)
        busy = {address: keys for address, keys in client.processing().items() if keys}
        os.kill(pids[next(iter(busy))], signal.SIGKILL)
        killed.append(len(list(chunks.glob("*"))))

    Path("p.zarr").rename("of_one.zarr")
    killer = threading.Thread(target=kill_one)
    killer.start()
    assert main([*command, "--out", "there.zarr", "--dask", cluster.scheduler_address]) == 0
    killer.join()
    assert killed[0] < 7
    for found, expected in (("there.zarr", "here.zarr"), ("p.zarr", "of_one.zarr")):
        np.testing.assert_array_equal(zarr.open(found)["0"][:], zarr.open(expected)["0"][:])
    assert not [name for name in names(Path.cwd()) if name.startswith(".")]


@pytest.fixture
def ctrl_c_works():
    """Tests that run in the background of a shell are begun with Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_works")
@pytest.mark.parametrize("smooth", [[], ["--smooth"]], ids=["plain", "smooth"])
def test_a_stopped_run_goes_on_where_it_was(cluster, smooth, capsys):
    """Ctrl-C when some slices are done; chunks of the others may be there, or half."""
    on_disk(np.concatenate([LARGE] * 3))
    options = [*smooth, "--views", "1", "--device", "cpu", "--runtime", "torch", "--probabilities", "p.zarr"]
    command = ["segment", "image.zarr", "--adapter", "a.safetensors", "--json", *options]
    assert main([*command, "--out", "here.zarr"]) == 0
    tiles = json.loads(capsys.readouterr().out)["tiles"]
    Path("p.zarr").rename("of_one.zarr")
    there = [*command, "--out", "there.zarr", "--dask", cluster.scheduler_address]
    done = Path(".there.zarr.partial")

    def stop():
        while len(list(done.glob("*.npz"))) < 5:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    stopper = threading.Thread(target=stop)
    stopper.start()
    assert main(there) == 130
    stopper.join()
    assert "--resume goes on" in capsys.readouterr().err
    kept = len(list(done.glob("*.npz")))
    assert 5 <= kept < 24
    assert not Path("there.zarr").exists()
    assert main([*there, "--resume", "--min-size", "9"]) == 2
    assert "differs in min_size" in capsys.readouterr().err
    assert main([*there[:-2], "--resume"]) == 2
    assert "differs in --dask" in capsys.readouterr().err
    assert len(list(done.glob("*.npz"))) == kept
    assert main([*there, "--resume"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["slices"], summary["tiles"]) == (24, tiles // 24 * (24 - kept))
    for found, expected in (("there.zarr", "here.zarr"), ("p.zarr", "of_one.zarr")):
        np.testing.assert_array_equal(zarr.open(found)["0"][:], zarr.open(expected)["0"][:])
    assert not [name for name in names(Path.cwd()) if name.startswith(".")]


def test_a_killed_run_goes_on_where_it_was(cluster, capsys):
    """The process that hands out the work is killed; what the workers were at comes too late, or not."""
    on_disk(np.concatenate([LARGE] * 3))
    options = ["--views", "1", "--device", "cpu", "--runtime", "torch", "--json"]
    command = ["segment", "image.zarr", "--adapter", "a.safetensors", *options]
    there = [*command, "--out", "there.zarr", "--dask", cluster.scheduler_address]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    done = Path(".there.zarr.partial")
    with subprocess.Popen([sys.executable, "-c", MAIN_OF_TINY, *there], env=environment) as process:
        while len(list(done.glob("*.npz"))) < 5:
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    kept = len(list(done.glob("*.npz")))
    assert 5 <= kept < 24
    assert not Path("there.zarr").exists()
    assert main([*there, "--resume"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert main([*command, "--out", "here.zarr"]) == 0
    assert summary["tiles"] == json.loads(capsys.readouterr().out)["tiles"] // 24 * (24 - kept)
    np.testing.assert_array_equal(zarr.open("there.zarr")["0"][:], zarr.open("here.zarr")["0"][:])
    assert not [name for name in names(Path.cwd()) if name.startswith(".")]


def test_what_a_failure_has_kept_can_be_thrown_away(cluster, capsys):
    """A chunk that cannot be read, not among those that intensities are measured on."""
    on_disk(np.concatenate([IMAGE] * 3))
    options = ["--views", "1", "--device", "cpu", "--runtime", "torch", "--resume"]
    command = ["segment", "image.zarr", "--adapter", "a.safetensors", "--json", *options]
    there = [*command, "--out", "there.zarr", "--dask", cluster.scheduler_address]
    chunk = Path("image.zarr/0/c/20/0/0")
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[:-9])
    assert main(there) == 2
    told = capsys.readouterr().err
    assert "Z=20 cannot be read" in told
    assert "finished slices are kept, and --resume goes on" in told
    chunk.write_bytes(whole)
    shutil.rmtree(".part.there.zarr")
    assert main(there) == 0
    tiles = json.loads(capsys.readouterr().out)["tiles"]
    assert main([*command, "--out", "here.zarr"]) == 0
    assert json.loads(capsys.readouterr().out)["tiles"] == tiles
    np.testing.assert_array_equal(zarr.open("there.zarr")["0"][:], zarr.open("here.zarr")["0"][:])


REFUSED = {
    "nobody there": ({}, "tcp://127.0.0.1:1", "no Dask scheduler answers at 'tcp://127.0.0.1:1'"),
    "no address": ({}, "nonsense://here", "no Dask scheduler answers at 'nonsense://here'"),
    "a TIFF to write": ({"out": "out.tif"}, "tcp://127.0.0.1:1", "let the name end with .zarr"),
    "a TIFF to read": ({"image": "image.tif"}, "tcp://127.0.0.1:1", "convert the image"),
    "a slice too many": ({"more": ["--slices", "3,12"]}, "tcp://127.0.0.1:1", "slice 12 is out of range"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_are_one_quick_line(case, capsys):
    changes, address, message = REFUSED[case]
    on_disk(IMAGE)
    save(Path.cwd(), IMAGE, "image.tif")
    before = names(Path.cwd())
    began = time.monotonic()
    image, out = changes.get("image", "image.zarr"), changes.get("out", "out.zarr")
    command = ["segment", image, "--adapter", "a.safetensors", "--out", out, *changes.get("more", [])]
    assert main([*command, "--dask", address]) == 2
    assert time.monotonic() - began < 10
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert names(Path.cwd()) == before


def test_a_folder_that_is_not_there_is_not_read_as_0():
    """Zarr takes missing chunks for empty ones, as a machine sees them that does not share the folder."""
    stack = read_stack(on_disk(IMAGE)).data
    shutil.rmtree("image.zarr")
    with pytest.raises(InputError, match="a folder that all machines share"):
        stack[0].compute()
