"""The canonical SVD of a weight, and the memory of those that take long."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from napari_salt.core.bases.checkpoints import weights_digest
from napari_salt.terms.cache import cache_folder, write_atomically
from napari_salt.terms.stopping import check_stop

__all__ = ["canonical_svd", "first_coincident", "remembered_svd", "watched"]

T = TypeVar("T")

logger = logging.getLogger(__name__)

COINCIDENT = 1e-10
"""Singular values closer than this share of the largest have no singular vectors of their own."""

WORTH_KEEPING = 5e7
"""Entries times the shorter side from which an SVD is kept on disk; below, it takes some 0.01 s."""

KEPT_BYTES = 4e9
"""Most bytes of SVDs on disk; the least recently used are removed. SAM ViT-H takes 3.4e9."""

SVD_ERROR, TRIED_VECTORS = 1e-4, 4
"""Largest relative error of a kept SVD (its own is below 1e-6), and on how many vectors it is tried."""

TELL_SECONDS = 2.0
"""Seconds between progress messages while many weights are decomposed."""

Svd = tuple[Tensor, Tensor, Tensor]


def canonical_svd(weight: Tensor) -> Svd:
    """Thin SVD that does not depend on the installed LAPACK.

    Computed in float64 on the CPU; the entry of largest magnitude of each left singular vector is
    made positive, which fixes the signs that the decomposition leaves open.

    Parameters
    ----------
    weight
        Any float tensor of shape (out, ...), flattened to (out, in).

    Returns
    -------
    u, s, vh
        float64, shapes (out, n), (n,) and (n, in), n = min(out, in), `s` descending.
    """
    matrix = weight.detach().to(device="cpu", dtype=torch.float64).flatten(1)
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    signs = torch.sign(u.gather(0, u.abs().argmax(0, keepdim=True)))
    return u * signs, s, vh * signs.T


def first_coincident(s: Tensor) -> int | None:
    """Index of the first singular value that equals the next or vanishes (see `COINCIDENT`), or None."""
    close = (s[:-1] - s[1:]) <= COINCIDENT * s[:1]
    vanishing = s <= COINCIDENT * s[:1]
    hits = torch.nonzero(torch.cat([close, s.new_zeros(1, dtype=torch.bool)]) | vanishing)
    return int(hits[0]) if len(hits) else None


def remembered_svd(weight: Tensor) -> Svd:
    """`canonical_svd`, read from the cache folder where a large weight was decomposed before.

    Files are named by the hash of the weight. Vectors are kept as float32, in which they are used,
    so that the first and later calls give the same bits. The 4 GB that were used last stay. A damaged
    file is computed again; where no file can be written, nothing is kept. SVDs with coincident singular
    values are not kept: the projectors that replace their vectors are computed in float64.

    Returns
    -------
    u, s, vh
        As `canonical_svd`; `u` and `vh` are float32 where the SVD is large enough to be kept.
    """
    if weight.numel() * min(len(weight), weight[0].numel()) < WORTH_KEEPING:
        return canonical_svd(weight)
    path = cache_folder() / "svd" / f"{weights_digest({'weight': weight.flatten(1)})}.safetensors"
    kept = _read(path, weight)
    if kept is not None:
        return kept
    u, s, vh = canonical_svd(weight)
    if first_coincident(s) is not None:
        return u, s, vh
    u, vh = u.float().contiguous(), vh.float().contiguous()
    tensors = {"u": u, "s": s, "vh": vh}
    try:
        write_atomically(path, save(tensors, {"sha256": weights_digest(tensors)}))
        _prune(path.parent)
    except OSError as error:
        logger.warning("cannot keep a decomposition for the next time: %s", error)
    return u, s, vh


def watched(layers: Sequence[T]) -> Iterator[T]:
    """Yield `layers` one by one, checking for a stop before each and logging the progress of long work."""
    told = time.monotonic()
    for done, layer in enumerate(layers):
        check_stop()
        if time.monotonic() - told > TELL_SECONDS:
            told = time.monotonic()
            logger.info("decomposing weights, only the first time: %d of %d", done, len(layers))
        yield layer


def _is_svd(tensors: Mapping[str, Tensor], weight: Tensor) -> bool:
    """Whether ``u``, ``s`` and ``vh`` are an SVD of `weight`, to float32's precision.

    Tried on random vectors, which takes a thousandth of the products' time: R. Freivalds, "Probabilistic
    machines can use less running time", 1977.
    """
    u, s, vh = tensors["u"], tensors["s"].float(), tensors["vh"]
    chance = torch.Generator()
    chance.seed()  # not to be foreseen, and the global generator stays as it is
    rows, inner = (torch.randn(side, TRIED_VECTORS, generator=chance) for side in vh.shape[::-1])
    matrix = weight.detach().to("cpu", torch.float32).flatten(1)
    errors = (
        (u @ (s[:, None] * (vh @ rows)) - matrix @ rows).norm() / (s[0] * rows.norm()),
        (u.T @ (u @ inner) - inner).norm() / inner.norm(),
        (vh @ (vh.T @ inner) - inner).norm() / inner.norm(),
    )
    return all(bool(error <= SVD_ERROR) for error in errors)


def _prune(folder: Path) -> None:
    """Remove the least recently used files, until the others fit into `KEPT_BYTES`."""
    total = 0
    files = {path: path.stat() for path in folder.glob("*.safetensors")}
    for path in sorted(files, key=lambda path: files[path].st_mtime_ns, reverse=True):
        total += files[path].st_size
        if total > KEPT_BYTES:
            path.unlink(missing_ok=True)


def _read(path: Path, weight: Tensor) -> Svd | None:
    """What `remembered_svd` wrote, or None where there is nothing, or something damaged.

    The file is data that anything may have written: it counts only if it has the right shapes and its
    product is `weight`.
    """
    out, n, into = weight.shape[0], min(weight.flatten(1).shape), weight[0].numel()
    expected = {"u": ([out, n], "F32"), "s": ([n], "F64"), "vh": ([n, into], "F32")}
    try:
        with safe_open(path, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            found = {name: (part.get_shape(), str(part.get_dtype())) for name, part in slices.items()}
            digest = (file.metadata() or {}).get("sha256")
            tensors = {name: file.get_tensor(name) for name in expected} if found == expected else {}
    except (OSError, SafetensorError):
        return None
    if not tensors or weights_digest(tensors) != digest or not _is_svd(tensors, weight):
        logger.warning("%s is damaged; computing it again", path)
        return None
    with contextlib.suppress(OSError):
        path.touch()  # marks it as recently used
    return tensors["u"], tensors["s"], tensors["vh"]
