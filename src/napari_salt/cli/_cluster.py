"""``napari-salt segment --dask``: OME-Zarr in and out, each chunk written by the worker that made it."""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import zarr

from napari_salt.cli._partial import PartialRun, telling_of
from napari_salt.cli._terminal import begun, progress_bar
from napari_salt.io._format import one_line, writing
from napari_salt.io._write import layout_of, on_disk, replacing, unfinished
from napari_salt.io._zarr import ZarrPlanes, is_zarr
from napari_salt.terms.errors import InputError
from napari_salt.terms.stack import label_dtype

if TYPE_CHECKING:
    from distributed import Client

    from napari_salt.cli._outputs import Outputs
    from napari_salt.core.adapt.adapter import Adapter
    from napari_salt.io._stack import Stack
    from napari_salt.terms.config import SegmentConfig
    from napari_salt.terms.events import SliceResult

__all__ = ["segment_on_cluster"]

logger = logging.getLogger(__name__)

PATIENCE = 3
"""Seconds to wait for the scheduler to answer."""


def segment_on_cluster(
    address: str, image: Stack, adapter: Adapter, config: SegmentConfig, outputs: Outputs
) -> dict[str, Any]:
    """Segment on the workers of a Dask scheduler, with a progress bar.

    Slices that are not asked for are written as 0.

    Parameters
    ----------
    address
        Of the scheduler, such as "tcp://host:8786".
    image
        An OME-Zarr image in a folder that all workers see.
    adapter
        With which adapter.
    config
        How to segment.
    outputs
        OME-Zarr images to write, in folders that all workers see.

    Returns
    -------
    dict
        What ``segment --json`` prints.

    Raises
    ------
    InputError
        If image or outputs are not OME-Zarr, Dask's scheduler is not installed, or none answers at `address`.
    """
    from napari_salt.core.segment.stack import nothing_found

    began = time.monotonic()
    _check(image, config, outputs)
    partial = PartialRun(outputs.labels, {"--dask": True, **outputs.depend_on(image, adapter, config)})
    with partial.alone(), _connected(address) as client:
        finished = set(partial.finished() if outputs.resume and _are_there(outputs) else ())
        if not finished:
            partial.begin()
        try:
            with telling_of(finished), _outputs(image, adapter, config, outputs, finished) as chunks:
                written = _compute(client, image, adapter, config, chunks, partial, finished)
        except BaseException:
            if not finished:
                partial.discard()
            raise
        partial.discard()
    if written and not any(each.found for each in written):
        logger.warning(nothing_found(len(written)))
    return {
        "seconds": round(time.monotonic() - began, 2),
        "slices": len(finished),
        "tiles": sum(each.tiles for each in written),
        "peak_memory_mb": round(max((each.peak_memory_mb for each in written), default=0.0), 1),
    }


def _compute(
    client: Client,
    image: Stack,
    adapter: Adapter,
    config: SegmentConfig,
    chunks: _Chunks,
    partial: PartialRun,
    finished: set[int],
) -> list[_Written]:
    """Have the workers write the slices that are not finished; record each in `finished` and `partial`."""
    from napari_salt.core.segment.cluster import cluster_results

    before = frozenset(finished)
    results = cluster_results(
        client, image.data, adapter, config, pixel_size=image.pixel_size, keep=chunks, finished=before
    )
    written = []
    with closing(results):
        slices = begun(results)
        with progress_bar(len(config.slices or image.data), "segmenting", "slice", len(before)) as bar:
            for one in slices:
                partial.add(one.index, {})  # its chunks are on the disk
                finished.add(one.index)
                written.append(one)
                bar.update()
    return written


@dataclass(frozen=True)
class _Written:
    """A slice that has been written to the outputs, and what computing it took."""

    index: int
    tiles: int
    peak_memory_mb: float
    found: bool


@dataclass(frozen=True)
class _Target:
    """An array of an OME-Zarr image in `folder`, in which each plane is a chunk."""

    folder: Path
    axes: str
    array: zarr.Array[Any]

    def write(self, index: int, per_frame: int, planes: npt.NDArray[Any]) -> None:
        """Write slice `index`: (Y, X), or (C, Y, X) where there are channels."""
        frame, z = divmod(index, per_frame)
        place = {"T": frame, "Z": z}
        if not self.folder.exists():  # Zarr would create it on a local disk of this worker
            raise InputError(
                f"{platform.node()} does not see {self.folder.parent}: write to a folder that all share"
            )
        with writing(self.folder):
            self.array[tuple(place.get(axis, slice(None)) for axis in self.axes)] = planes
            for chunk in self._chunks(place):
                if chunk.exists():  # Zarr does not store chunks that are all 0
                    on_disk(chunk)

    def _chunks(self, place: Mapping[str, int]) -> Iterator[Path]:
        """Files of the planes at `place`."""
        channels = self.array.shape[self.axes.index("C")] if "C" in self.axes else 1
        for channel in range(channels):
            at = {**place, "C": channel}
            key = self.array.metadata.encode_chunk_key(tuple(at.get(axis, 0) for axis in self.axes))
            yield self.folder / self.array.path / key


@dataclass(frozen=True)
class _Chunks:
    """Writes finished slices, on a worker."""

    outputs: Outputs
    device: str
    per_frame: int
    labels: _Target
    probabilities: _Target | None

    def __call__(self, result: SliceResult) -> _Written:
        from napari_salt.core.devices import peak_memory_mb, resolve_device

        self.labels.write(result.index, self.per_frame, result.labels)
        if self.probabilities is not None:
            planes = self.outputs.quantised(result.probabilities)
            self.probabilities.write(result.index, self.per_frame, planes)
        memory = peak_memory_mb(resolve_device(self.device))
        return _Written(result.index, result.tiles, memory, bool(result.labels.any()))


def _check(image: Stack, config: SegmentConfig, outputs: Outputs) -> None:
    from napari_salt.core.segment.stack import wanted_slices

    outputs.check(image.source)
    wanted_slices(config, len(image.data))
    if not is_zarr(image.source):
        raise InputError(
            f"{image.source}: workers read OME-Zarr: convert the image (bioformats2raw, or save it from "
            "napari), or leave out --dask"
        )
    for path in (outputs.labels, outputs.probabilities):
        if path is not None and path.suffix.lower() != ".zarr":
            raise InputError(
                f"{path}: workers write OME-Zarr: let the name end with .zarr, or leave out --dask"
            )


def _are_there(outputs: Outputs) -> bool:
    """Whether the unfinished outputs of an earlier run are there."""
    paths = (outputs.labels, outputs.probabilities)
    return all(unfinished(path).is_dir() for path in paths if path is not None)


@contextmanager
def _connected(address: str) -> Iterator[Client]:
    try:
        from distributed import Client
    except ImportError as error:
        raise InputError('--dask needs Dask\'s scheduler: pip install "napari-salt[cluster]"') from error
    try:
        client = Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(
            f"no Dask scheduler answers at {address!r} ({one_line(error)}): give the address that "
            "'dask scheduler' prints, such as tcp://host:8786"
        ) from error
    with client:
        yield client


@contextmanager
def _outputs(
    image: Stack, adapter: Adapter, config: SegmentConfig, outputs: Outputs, finished: Collection[int]
) -> Iterator[_Chunks]:
    """Make the outputs, full of 0, or open those in which slices are `finished`.

    They get their final names when all slices are written.
    """
    with ExitStack() as stack:

        def target(path: Path, dtype: np.dtype[Any], channels: tuple[str, ...] = ()) -> _Target:
            classes = () if channels else adapter.shown_classes
            layout = layout_of(path, image, dtype, channels=channels, classes=classes)
            temporary = stack.enter_context(replacing(path.absolute(), finished))
            with writing(path):
                return _Target(temporary, layout.axes, ZarrPlanes(temporary, layout, new=not finished).array)

        labels, probabilities = target(outputs.labels, label_dtype(adapter.values)), None
        if outputs.probabilities is not None:
            names = ("background", *(info.name for info in adapter.classes))
            probabilities = target(outputs.probabilities, np.dtype(outputs.probabilities_dtype), names)
        yield _Chunks(outputs, config.device, len(image.data) // image.frames, labels, probabilities)
