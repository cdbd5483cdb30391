"""What only a GPU shows; on one with ``pytest -m cuda`` (see ``run.sh``).

With ``NAPARI_SALT_TEST_DEVICE=cpu`` the same tests run on a CPU, to be tried.
"""

import logging
import os
from dataclasses import replace

import numpy as np
import pytest
import tifffile
import torch

import napari_salt as ns
import tiny
from loop import Loop
from napari_salt.cli import main
from napari_salt.core.devices import compute_dtype, to_device, to_host
from napari_salt.core.segment import stack as segmenting
from napari_salt.engine._client import EngineProcess
from napari_salt.engine._news import Failed, Finished, Trained
from napari_salt.engine._requests import PaintedStack, Train

pytestmark = pytest.mark.cuda

NAME = os.environ.get("NAPARI_SALT_TEST_DEVICE", "cuda")
DEVICE = torch.device(NAME)
IMAGE, TRUTH = tiny.discs(6)
PAINT = tiny.painted(TRUTH, 1, 4)


@pytest.fixture(autouse=True)
def _base(tiny_base):
    """All trains on the tiny base."""


def config(**changes):
    return replace(tiny.QUICK, device=NAME, **changes)


def trained(**changes):
    return ns.train(IMAGE, PAINT, config(**changes))


def test_the_device_is_the_one_that_auto_takes():
    if NAME == "cuda":
        assert compute_dtype(DEVICE, trains=True) in (torch.bfloat16, torch.float32)
    events = list(ns.training_events(IMAGE, PAINT, config()))
    assert events[-1].adapter is not None
    losses = [event.loss for event in events if event.step]
    assert np.isfinite(losses).all()
    assert np.mean(losses[-3:]) < np.mean(losses[:3])


def test_the_same_seed_gives_the_same_labels():
    first, second = trained(), trained()
    a, b = (ns.segment(IMAGE, adapter, ns.SegmentConfig(device=NAME)) for adapter in (first, second))
    assert (a == b).mean() > 0.999


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_labels_are_those_of_a_cpu(monkeypatch, dtype):
    adapter = trained()
    expected = ns.segment(IMAGE, adapter, ns.SegmentConfig(device="cpu", runtime="torch"))
    if NAME == "cuda":
        native = dtype == torch.bfloat16
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: native)
    found = ns.segment(IMAGE, adapter, ns.SegmentConfig(device=NAME))
    assert (found == expected).mean() >= 0.999
    assert found.any()


def test_real_lack_of_memory_halves_the_batch_and_is_told(caplog):
    if NAME == "cpu":
        return  # only a GPU's memory can be limited so
    torch.cuda.empty_cache()
    _, total = torch.cuda.mem_get_info()
    held = torch.cuda.memory_allocated()
    torch.cuda.set_per_process_memory_fraction((held + 60e6) / total)
    try:
        with caplog.at_level(logging.WARNING):
            adapter = ns.train(IMAGE, PAINT, config(batch_size=64))
        assert "going on with" in caplog.text
        assert adapter.training["steps"] > 0
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()


def test_a_stop_between_tiles_ends_segmenting():
    adapter = trained()
    looks = []

    def stop():
        looks.append(1)
        if len(looks) > 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(segmenting.segmentation_events(IMAGE, adapter, ns.SegmentConfig(device=NAME), between=stop))
    assert len(looks) == 3


def test_copies_beside_the_computation_give_the_same_bytes():
    tensors = [torch.randn(16, 3, 256, 256) for _ in range(8)]
    waiting = [to_host(to_device(each, DEVICE) * 2) for each in tensors]
    for each, wait in zip(tensors, waiting, strict=True):
        assert torch.equal(wait(), each * 2)


def test_the_command_line_trains_segments_and_scores(tmp_path, base):
    tifffile.imwrite(tmp_path / "image.tif", IMAGE, metadata={"axes": "ZYX"})
    tifffile.imwrite(tmp_path / "paint.tif", PAINT.astype(np.uint8), metadata={"axes": "ZYX"})
    tifffile.imwrite(tmp_path / "truth.tif", TRUTH.astype(np.uint8), metadata={"axes": "ZYX"})
    where = [str(tmp_path / name) for name in ("image.tif", "paint.tif", "truth.tif")]
    adapter, labels = str(tmp_path / "a.salt.safetensors"), str(tmp_path / "labels.tif")
    options = ["--base", str(base), "--steps", "12", "--pixel-scale", "1", "--device", NAME]
    assert main(["train", *where[:2], "--out", adapter, *options]) == 0
    assert main(["segment", where[0], "--adapter", adapter, "--out", labels, "--device", NAME]) == 0
    assert main(["evaluate", labels, where[2]]) == 0
    assert tifffile.imread(labels).any()


def test_the_engine_trains_as_the_widget_starts_it(base):
    loop, said = Loop(), []
    engine = EngineProcess(loop)
    engine.message.connect(said.append)
    pair = PaintedStack(image=engine.offer(IMAGE), labels=engine.offer(PAINT))
    engine.start(Train(stacks=(pair,), config=config(base=str(base)), strokes_known=True))
    loop.run(lambda: any(isinstance(message, Finished | Failed) for message in said))
    engine.close()
    assert not [message for message in said if isinstance(message, Failed)]
    assert any(isinstance(message, Trained) for message in said)
