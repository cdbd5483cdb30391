"""Where and in which precision is computed; on a GPU of which there are only shapes."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensorMode

import tiny
from napari_salt.core.adapt.adapter import Adapter
from napari_salt.core.adapt.segmenter import Segmenter, class_probabilities
from napari_salt.core.devices import compute_dtype, is_out_of_memory
from napari_salt.core.paint.annotations import IGNORE
from napari_salt.core.paint.crops import Batch
from napari_salt.core.segment.predictor import SlicePredictor
from napari_salt.core.segment.runtime import forward_by
from napari_salt.core.train.averaging import MovingAverage
from napari_salt.core.train.steps import loss_and_gradients
from napari_salt.terms.preprocess import Preprocess

GPU = torch.device("cuda")


@pytest.mark.parametrize(
    ("native", "trains", "dtype"),
    [
        (True, True, torch.bfloat16),
        (True, False, torch.bfloat16),
        (False, True, torch.float32),
        (False, False, torch.float16),
    ],
)
def test_a_gpu_computes_in_half_precision_where_that_is_safe(monkeypatch, native, trains, dtype):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native)
    assert compute_dtype(GPU, trains=trains) == dtype


@pytest.mark.parametrize(
    ("error", "is_it"),
    [
        (torch.OutOfMemoryError("CUDA"), True),
        (MemoryError(), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes"), True),
        (RuntimeError("could not create a primitive"), True),
        (RuntimeError("could not create a primitive descriptor for a matmul primitive"), False),
        (RuntimeError("shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_means_that_memory_has_run_out(error, is_it):
    assert is_out_of_memory(error) is is_it


def test_other_devices_compute_in_single_precision():
    assert compute_dtype(torch.device("mps")) == torch.float32


def test_float16_changes_little(monkeypatch):
    """As on GPUs without bfloat16; here on the CPU."""
    model, images, logits = tiny.segmenter(2), tiny.images(2), {}
    tiny.shake(model, std=0.02)
    for dtype in (torch.float32, torch.float16):
        monkeypatch.setattr("napari_salt.core.devices.compute_dtype", lambda *_, dtype=dtype, **__: dtype)
        logits[dtype] = forward_by("torch", model)(images)
    found, exact = logits[torch.float16], logits[torch.float32]
    assert found.dtype == torch.float32
    assert not torch.equal(found, exact)
    torch.testing.assert_close(found, exact, atol=0.02, rtol=0.02)


@pytest.fixture
def fake_gpu(monkeypatch):
    """A GPU of which there are only shapes: what meets must be on one device, nothing is computed."""
    monkeypatch.setattr("napari_salt.core.devices.compute_dtype", lambda *_, **__: torch.float32)
    # Whether values coincide cannot be seen where there are none.
    monkeypatch.setattr("napari_salt.core.adapt.salt.first_coincident", lambda values: None)
    with FakeTensorMode():
        yield torch.device("cuda")


def on_gpu(n_classes=2):
    with torch.device("cuda"):
        sam = tiny.module()
    return Segmenter(sam, tiny.SPEC, n_classes, tiny.SALT)


def devices(tensors):
    return {tensor.device.type for tensor in tensors}


def a_step(model):
    """Two training steps, as `training_events` takes them."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    average = MovingAverage(parameters, 0.9)
    optimizer = torch.optim.AdamW(parameters)
    target = torch.full((2, tiny.SIZE, tiny.SIZE), IGNORE)
    for step in (1, 2):
        loss = loss_and_gradients(model, Batch(torch.rand(2, 3, tiny.SIZE, tiny.SIZE), target))
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        average.update(step)
    with average.in_place():
        pass
    return loss, [p.grad for p in parameters], average


def test_a_training_step_stays_on_its_device(fake_gpu, monkeypatch):
    model = on_gpu()
    assert devices([*model.parameters(), *model.buffers()]) == {"cuda"}

    def backward(loss):
        """Autograd's engine wants a real GPU even for gradients that are only shapes."""
        for p in model.parameters():
            p.grad = torch.zeros_like(p) if p.requires_grad else None

    monkeypatch.setattr(torch.Tensor, "backward", backward)
    loss, _, average = a_step(model)
    assert devices([loss]) == {"cuda"}
    assert devices([*model.parameters(), *model.buffers()]) == {"cuda"}
    assert devices(average.tensors()) == {"cpu"}


def test_so_do_its_gradients(monkeypatch):
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # there is none for meta
    loss, gradients, _ = a_step(tiny.segmenter(2).to("meta"))
    assert devices([loss, *gradients]) == {"meta"}


def test_segmenting_stays_on_its_device(fake_gpu, monkeypatch):
    monkeypatch.setattr(torch, "equal", lambda *_: False)  # fake tensors have no values to compare
    model = on_gpu().merged()
    assert devices([*model.parameters(), *model.buffers()]) == {"cuda"}
    kernels = [m.weight for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)
    logits = SlicePredictor(model, 16, batch_size=3).logits(torch.rand(3, 100, 150))
    assert tuple(logits.shape) == (2, 100, 150)
    assert devices([logits, class_probabilities(logits[None])]) == {"cpu"}


def test_an_adapter_is_put_on_the_device(fake_gpu):
    model = on_gpu()
    stored = {n: torch.empty(p.shape) for n, p in model.named_parameters() if p.requires_grad}
    known = {"base_model": "tiny", "base_sha256": "", "weights_sha256": "", "salt": tiny.SALT}
    card = {**known, "classes": (), "preprocess": Preprocess()}
    Adapter(tensors=stored, **card).write_to(model)
    assert devices(model.parameters()) == {"cuda"}
