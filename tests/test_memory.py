"""Memory: the same for 10 slices and for 1,000; batches that fit; models that do not."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import tifffile
import torch
from segment_anything.modeling import ImageEncoderViT

import tiny
from napari_salt.core.devices import compute_dtype
from napari_salt.core.segment.memory import (
    BatchSize,
    check_memory,
    crops_that_fit,
    least_memory,
    memory_of_crop,
    tiles_that_fit,
)
from napari_salt.core.segment.predictor import SlicePredictor
from napari_salt.core.segment.stack import segmentation_events
from napari_salt.terms.config import SegmentConfig
from napari_salt.terms.errors import DeviceError

SEGMENTING = """
import json
from pathlib import Path
import pytest
import tiny
import napari_salt.core.segment.stack
from napari_salt.cli import main

def peak():  # of this program alone: getrusage begins with that of the one that started it
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])

tiny.use(pytest.MonkeyPatch())
before, count = peak(), sys.argv[1]
assert main(["segment", f"{count}.tif", "--adapter", "a.safetensors", "--out", f"out{count}.tif"]) == 0
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs a peak that is the program's own")
def test_memory_does_not_depend_on_the_number_of_slices(tmp_path):
    planes = np.zeros((10, 128, 128), np.uint16)
    planes[:1, 8:56, 8:56] = tiny.discs(1, 48)[0]  # the rest is padding, or this would take a minute
    for count in (10, 1000):
        with tifffile.TiffWriter(tmp_path / f"{count}.tif") as tif:
            for index in range(count):
                tif.write(planes[index % 10], contiguous=False, compression="zlib", metadata=None)
    tiny.adapter().save(tmp_path / "a.safetensors")
    tests = str(Path(__file__).parent)
    code = f"import sys; sys.path.insert(0, {tests!r}){SEGMENTING}"
    taken = []
    for count in ("10", "1000"):
        command = [sys.executable, "-c", code, count]
        ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        taken.append(int(ran.stdout.splitlines()[-1]))
    few, many = taken
    assert 0 < many <= 1.1 * few  # of what segmenting takes, not of torch with it
    found = tifffile.imread(tmp_path / "out1000.tif")
    assert found.shape == (1000, 128, 128)
    assert found[990].any()


# Batches


def test_as_many_tiles_as_fit():
    assert tiles_that_fit(10_000, 1000) == 8
    assert tiles_that_fit(500, 1000) == 1
    assert tiles_that_fit(10**12, 1000) == tiles_that_fit(10**12, 0) == 16


def limited(largest):
    """A real model that runs out of memory with more than `largest` tiles, and the batches it was given."""
    model, batches = tiny.segmenter(2).merged(), []

    def hook(_module, inputs):
        batches.append(len(inputs[0]))
        if len(inputs[0]) > largest:
            raise torch.OutOfMemoryError

    model.register_forward_pre_hook(hook)
    return model, batches


def test_out_of_memory_halves_the_batch_for_the_rest_of_the_run():
    model, batches = limited(2)
    stack = tiny.discs(2, 128)[0]
    config = SegmentConfig(batch_size=9, overlap=0)
    found = list(segmentation_events(stack, tiny.adapter(), config, segmenter=model))
    assert batches == [4, 4, 2, 2, 2, 2]  # there are 4 tiles, so 9, 4 and 2 at a time are tried
    one, _ = limited(1)
    expected = segmentation_events(stack, tiny.adapter(), replace(config, batch_size=1), segmenter=one)
    for result, alone in zip(found, expected, strict=True):
        np.testing.assert_allclose(result.probabilities, alone.probabilities, atol=1e-4)


def test_a_cpu_computes_one_tile_at_a_time():
    model, batches = limited(1)
    SlicePredictor(model, 0).logits(torch.rand(3, 128, 128))
    assert batches == [1, 1, 1, 1]
    assert BatchSize(None, torch.device("cuda")).count == 1  # until the first tile is measured


# Crops


def free(monkeypatch, gigabytes):
    """Let the system have so much memory left."""
    kinds = {"virtual_memory": {"available": gigabytes * 1e9}, "swap_memory": {"free": 0}}
    for name, values in kinds.items():
        monkeypatch.setattr(psutil, name, lambda values=values: SimpleNamespace(**values))


BYTES = compute_dtype(torch.device("cpu"), trains=True).itemsize
"""Of a number in training: 2 where the processor computes bfloat16."""
LARGE = {2: r"96\.\d", 4: r"193\.\d"}


def test_the_memory_of_a_crop_grows_with_classes():
    one, many = (memory_of_crop(tiny.segmenter(count)) for count in (1, 30))
    assert many == 30 * one
    assert one == BYTES * (30 * 32 * 8 * 8 + 6 * 64 * 64)


def test_only_as_many_crops_are_taken_as_fit(monkeypatch, caplog):
    model = tiny.segmenter(10)
    crop = memory_of_crop(model) / 1e9
    free(monkeypatch, 3.5 * crop)
    assert crops_that_fit(model, 2) == 2
    assert not caplog.records
    assert crops_that_fit(model, 8) == 3
    assert "8 crops per step of 10 classes" in caplog.text


def test_a_training_of_which_no_crop_fits_is_refused_with_numbers(monkeypatch):
    model = tiny.segmenter(30)
    model.input_size = 2**14
    free(monkeypatch, 1)
    with pytest.raises(
        DeviceError, match=rf"training 30 classes takes more than {LARGE[BYTES]} GB .* 1\.0 GB are free"
    ):
        crops_that_fit(model, 1)


# Models that do not fit


def encoder(**sizes):
    """A ViT encoder of one global block, as large as it says."""
    with torch.device("meta"):
        return ImageEncoderViT(depth=1, use_rel_pos=True, global_attn_indexes=(0,), **sizes)


def test_the_least_memory_is_that_of_the_attention():
    model = tiny.segmenter()
    side = 64 // 8
    assert least_memory(model) == 3 * 4 * 2 * side**4  # 2 heads, in the block that sees all patches
    model.image_encoder, model.input_size = encoder(img_size=1024, embed_dim=1280, num_heads=16), 1024
    assert least_memory(model) == 3 * 4 * 16 * 4096**2


def test_a_model_of_which_no_tile_fits_is_refused():
    model = tiny.segmenter()
    check_memory(model)
    size = 2**20
    model.image_encoder, model.input_size = encoder(img_size=1024, embed_dim=1280, num_heads=16), size
    with pytest.raises(DeviceError, match="smaller inputs"):
        check_memory(model)
