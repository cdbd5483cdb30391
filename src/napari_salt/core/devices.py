"""Where and how tensors are computed: device, precision, and the memory that big tensors reuse."""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
import torch
from torch import Tensor

from napari_salt.terms.errors import DeviceError, InputError

__all__ = [
    "check_room",
    "compute_dtype",
    "fast_cpu",
    "is_lost",
    "is_out_of_memory",
    "peak_memory_mb",
    "precision",
    "resolve_device",
    "said_of_device",
    "to_device",
    "to_host",
]

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
OUT_OF_MEMORY = ("can't allocate memory", "out of memory")
NO_PRIMITIVE = "could not create a primitive"
LOST = ("CUDA error", "cuDNN error", "CUBLAS_STATUS", "NCCL error", "No CUDA GPUs are available")
"""How torch says that a GPU fails: unplugged, reset by its driver, or lost while the machine slept."""
DEFAULT_TRIM_THRESHOLD, DEFAULT_MMAP_MAX = 128 * 1024, 65_536


def check_room(needed: int, what: str, remedy: str, share: float = 1.0) -> None:
    """Refuse what takes more than a share of the computer's free memory.

    Parameters
    ----------
    needed
        Bytes.
    what, remedy
        For the message: what takes them, and what to do instead.
    share
        Of the free memory.

    Raises
    ------
    InputError
        With both figures.
    """
    free = psutil.virtual_memory().available
    if needed > share * free:
        raise InputError(
            f"{what} takes {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free; {remedy}"
        )


def resolve_device(name: str) -> torch.device:
    """Torch device for ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:N"`` or ``"mps"``.

    Raises
    ------
    DeviceError
        If the name is not a device, or the device is not there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(f"unknown device {name!r}; use auto, cpu, cuda or mps") from error
    available: dict[str, Callable[[], bool]] = {
        "cpu": lambda: True,
        "cuda": lambda: (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available,
    }
    if device.type not in available:
        raise DeviceError(f"unknown device {name!r}; use auto, cpu, cuda or mps")
    if not available[device.type]():
        raise DeviceError(f"device {name!r} is not available on this machine; use auto or cpu")
    return device


def compute_dtype(device: torch.device, *, trains: bool = False) -> torch.dtype:
    """bfloat16 where the device computes it natively, else float32.

    An older CUDA GPU gets float16, but not in training, where small gradients would vanish in it.
    """
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return torch.bfloat16
        return torch.float32 if trains else torch.float16
    native = device.type == "cpu" and torch.ops.mkldnn._is_mkldnn_bf16_supported()  # noqa: SLF001
    return torch.bfloat16 if native else torch.float32


def precision(device: torch.device, *, trains: bool = False) -> torch.autocast:
    """Autocast to `compute_dtype`; off where that is float32. Enter it in the thread that computes."""
    dtype = compute_dtype(device, trains=trains)
    if dtype == torch.float32:
        return torch.autocast(device.type, dtype=torch.bfloat16, enabled=False)
    return torch.autocast(device.type, dtype=dtype)


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a CPU tensor to `device`; the copy to a CUDA GPU does not block this thread."""
    if not _copies_alone(device):
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def to_host(tensor: Tensor) -> Callable[[], Tensor]:
    """Start copying a tensor to the CPU; the function returned waits for the copy and returns it."""
    if not _copies_alone(tensor.device):
        return tensor.cpu
    copy = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    copy.copy_(tensor, non_blocking=True)
    copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
    copied.record(torch.cuda.current_stream(tensor.device))

    def wait() -> Tensor:
        copied.synchronize()
        return copy

    return wait


def _copies_alone(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.is_available()


@contextmanager
def fast_cpu() -> Iterator[None]:
    """Run the body with denormal numbers flushed to 0, and with freed memory reused.

    On a CPU, GELU of real images gives denormal numbers, each of which takes about a hundred cycles; the
    tails of the error function cost a tenth of a step. Torch's other threads keep the setting if they
    are started in the body.
    """
    torch.set_flush_denormal(True)
    try:
        with _reused_memory():
            yield
    finally:
        torch.set_flush_denormal(False)


@contextmanager
def _reused_memory() -> Iterator[None]:
    """Let glibc keep freed blocks for the next tensors while the body runs.

    By default every tensor above 32 MB is mapped anew and faulted in page by page, which took a
    quarter of a training step. Elsewhere than on glibc this does nothing.
    """
    if platform.libc_ver()[0] != "glibc":
        yield
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_MAX, 0)
    libc.mallopt(M_TRIM_THRESHOLD, -1)
    try:
        yield
    finally:
        libc.mallopt(M_MMAP_MAX, DEFAULT_MMAP_MAX)
        libc.mallopt(M_TRIM_THRESHOLD, DEFAULT_TRIM_THRESHOLD)
        libc.malloc_trim(0)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` means that a device's or the machine's memory is used up.

    oneDNN, which computes on CPUs, cannot create a primitive when there is no memory for its code.
    """
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and (
        any(said in text for said in OUT_OF_MEMORY) or text == NO_PRIMITIVE
    )


def is_lost(error: BaseException) -> bool:
    """Whether `error` means that a GPU has stopped working; this process cannot use it any more."""
    text = str(error)
    return (
        isinstance(error, RuntimeError) and not is_out_of_memory(error) and any(said in text for said in LOST)
    )


def said_of_device(error: BaseException) -> str:
    """What to tell the user of an error of the device: no memory, or a GPU that is lost; "" of others."""
    if is_out_of_memory(error):
        return "out of memory; close other programs, or choose a smaller base model"
    if is_lost(error):
        first = str(error).strip().splitlines()[0]
        return f"the GPU has stopped working ({first}); try again, or compute on the CPU (device cpu)"
    return ""


def peak_memory_mb(device: torch.device) -> float:
    """Largest memory this process has used, in MB: of the GPU on CUDA, else resident."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    if sys.platform == "win32":
        import psutil

        return float(psutil.Process().memory_info().peak_wset) / 1e6
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
