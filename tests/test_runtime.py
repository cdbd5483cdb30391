"""OpenVINO in torch's place: the same results, chosen where it pays."""

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

import tiny
from napari_salt import samples
from napari_salt.core import devices
from napari_salt.core.adapt.segmenter import Segmenter
from napari_salt.core.bases.load import load_base
from napari_salt.core.segment import runtime
from napari_salt.core.segment.runtime import PAYS_FROM, forward_by
from napari_salt.core.segment.stack import segmentation_events
from napari_salt.io import read_stack
from napari_salt.terms.config import SaltConfig, SegmentConfig
from napari_salt.terms.errors import InputError

pytest.importorskip("openvino")


def a_segmenter(n_classes=2):
    model = tiny.segmenter(n_classes)
    tiny.shake(model)
    return model.merged()


@pytest.fixture
def exact(monkeypatch):
    """Float32 also where the machine computes bfloat16."""
    for module in (devices, runtime):
        monkeypatch.setattr(module, "compute_dtype", lambda *_, **__: torch.float32)


@pytest.mark.parametrize("n_classes", [1, 3])
def test_it_computes_what_torch_computes(exact, n_classes):
    model, images = a_segmenter(n_classes), tiny.images(3)
    expected = forward_by("torch", model)(images)
    found = forward_by("openvino", model)(images)
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_it_sends_no_telemetry():
    """On its own, as it is imported and in no continuous integration."""
    code = "from napari_salt.core.segment import runtime; runtime._imported()\n"
    code += "from openvino.tools.ovc import telemetry_utils; print(telemetry_utils.tm.__name__)"
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "openvino.tools.ovc.telemetry_stub"


def test_it_follows_the_image():
    forward = forward_by("openvino", a_segmenter())
    assert not torch.allclose(forward(tiny.images(seed=0)), forward(tiny.images(seed=1)))
    torch.testing.assert_close(forward(tiny.images(2))[:1], forward(tiny.images(2)[:1]))


STREAMS = {(2, 4): 2, (2, 1): 1, (2, 3): 2, (16, 9): 4, (16, 3): 2, (6, 9): 3, (1, 4): 1, (5, 9): 1}


@pytest.mark.parametrize(("threads", "tiles"), STREAMS)
def test_tiles_side_by_side_keep_all_threads_at_work(monkeypatch, threads, tiles):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert runtime._streams(a_segmenter(), tiles) == STREAMS[threads, tiles]


def test_large_tiles_are_computed_one_by_one(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(runtime, "least_memory", lambda _: 10**12)
    assert runtime._streams(a_segmenter(), 4) == 1


@pytest.mark.parametrize("count", [1, 2, 4, 5])
def test_tiles_side_by_side_are_those_one_by_one(monkeypatch, exact, count):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    model, images = a_segmenter(), tiny.images(count)
    forward = forward_by("openvino", model, tiles=4)
    assert forward.at_once == 2
    found = forward(images)
    torch.testing.assert_close(found, forward_by("torch", model)(images), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found, torch.cat([forward(image[None]) for image in images]))


def test_on_the_bundled_base_it_rounds_no_worse_than_torch():
    base = load_base("lite-medsam")
    torch.manual_seed(0)
    model = Segmenter(base.module, base.spec, 1, SaltConfig(rank=4, lora_rank=1)).merged()
    plane = np.asarray(read_stack(samples.nuclei3d_image()).data[8], np.float32)
    plane = torch.from_numpy(plane / plane.max())
    tile = torch.nn.functional.interpolate(plane[None, None], (256, 256)).repeat(1, 3, 1, 1)
    with torch.no_grad():
        exactly = model(tile)
    by_torch, by_openvino = (
        (forward_by(name, model)(tile) - exactly).abs().mean() for name in ("torch", "openvino")
    )
    assert by_openvino <= 2 * by_torch + 1e-4


def test_it_is_taken_where_there_is_enough_to_do():
    model = a_segmenter()
    forward_by("auto", model, PAYS_FROM - 1)
    assert model.compiled is None
    forward = forward_by("auto", model, PAYS_FROM)
    assert forward is model.compiled is not None
    assert forward_by("auto", model, 1) is forward


def test_parts_of_a_job_agree_on_what_computes():
    image, _ = tiny.discs(PAYS_FROM)
    adapter = tiny.adapter()
    config = SegmentConfig(views=1)
    whole = {r.index: r.labels for r in segmentation_events(image, adapter, config, segmenter=a_segmenter())}
    some = dataclasses.replace(config, slices=(3, 9))
    parts = segmentation_events(image, adapter, some, segmenter=a_segmenter(), job_slices=len(image))
    for result in parts:
        np.testing.assert_array_equal(result.labels, whole[result.index])


@pytest.mark.parametrize("name", ["tensorrt", ""])
def test_an_unknown_runtime_is_named(name):
    with pytest.raises(InputError, match=f"runtime is '{name}'; give auto, torch or openvino"):
        SegmentConfig(runtime=name)


def test_openvino_is_not_for_gpus():
    with pytest.raises(InputError, match="not on meta"):
        forward_by("openvino", a_segmenter().to("meta"))


def test_an_adapter_is_segmented_by_either(exact):
    image, _ = tiny.discs(2)
    found = {}
    for name in ("torch", "openvino"):
        config = SegmentConfig(runtime=name)
        events = segmentation_events(image, tiny.adapter(), config, segmenter=a_segmenter())
        found[name] = np.stack([event.labels for event in events])
    assert found["torch"].any()
    assert (found["torch"] == found["openvino"]).mean() >= 0.998
