"""``napari-salt segment``: a stack and an adapter in, labels and probabilities out, in spite of stops."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from napari_salt import __version__
from napari_salt._commands import prepare_base
from napari_salt._partial import PartialRun, telling_of
from napari_salt._terminal import Interruption, begun, progress_bar
from napari_salt._writing import check_target, image_writer, layout_of
from napari_salt.core.config import SegmentConfig
from napari_salt.core.errors import InputError
from napari_salt.core.overlap import Behind
from napari_salt.core.stack import to_micrometres
from napari_salt.io import LabelWriter, Stack, read_stack

if TYPE_CHECKING:
    from napari_salt.core.adapter import Adapter
    from napari_salt.core.events import SliceResult

__all__ = ["Outputs", "run_segmentation", "segment"]

Result = tuple[dict[str, Any], bool]


@dataclass(frozen=True)
class Outputs:
    """What a segmentation writes.

    Parameters
    ----------
    labels
        The segmentation: .tif, .zarr, .nii or .nii.gz.
    probabilities
        Probabilities of background and classes, (K + 1, Z, Y, X): .zarr or .tif.
    probabilities_dtype
        float16, or uint8, where 255 is 1.
    resume
        Whether to go on with what an earlier run left.
    """

    labels: Path
    probabilities: Path | None = None
    probabilities_dtype: str = "float16"
    resume: bool = False

    def check(self, source: Path) -> None:
        """Refuse what could not be written, before any work."""
        check_target(self.labels, source)
        if self.probabilities is not None:
            check_target(self.probabilities, source)
            if self.probabilities.suffix.lower() not in (".tif", ".tiff", ".zarr"):
                raise InputError(f"{self.probabilities}: probabilities are written as .zarr or .tif")
            if self.probabilities.absolute() == self.labels.absolute():
                raise InputError(f"{self.labels}: give --out and --probabilities different names")

    def depend_on(self, image: Stack, adapter: Adapter, config: SegmentConfig) -> dict[str, Any]:
        """All that decides what a slice's result is, by the name to tell the user if it differs."""
        from napari_salt.core.checkpoints import weights_digest

        source = image.source
        files = [source] if source.is_file() else [file for file in source.rglob("*") if file.is_file()]
        states = [file.stat() for file in files]
        return {
            "image": [source.name, sum(s.st_size for s in states), max(s.st_mtime_ns for s in states)],
            "axes": image.axes,
            "channel": image.channel,
            "adapter": [
                weights_digest(adapter.tensors),
                asdict(adapter.preprocess),
                *map(asdict, adapter.classes),
            ],
            "base model": adapter.weights_sha256,
            "probabilities": self.probabilities_dtype if self.probabilities else None,
            "napari-salt version": __version__,
            **asdict(config),
        }

    def arrays(self, result: SliceResult) -> dict[str, npt.NDArray[Any]]:
        """What is kept of a slice: ``labels``, and ``0``, ``1``, ... for each class's probability."""
        arrays: dict[str, npt.NDArray[Any]] = {"labels": result.labels}
        if self.probabilities is not None:
            planes = self.quantised(result.probabilities)
            arrays |= {str(position): plane for position, plane in enumerate(planes)}
        return arrays

    def quantised(self, probabilities: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """Probabilities as they are written."""
        if self.probabilities_dtype == "uint8":
            probabilities = np.rint(255 * probabilities)
        return probabilities.astype(self.probabilities_dtype)


def segment(options: argparse.Namespace) -> Result:
    """``napari-salt segment``."""
    from napari_salt.core.adapter import Adapter

    image = read_stack(options.image, axes=options.axes, channel=options.channel)
    adapter = Adapter.load(options.adapter)
    prepare_base(adapter, options.base)
    config = SegmentConfig(
        slices=options.slices,
        device=options.device,
        views=options.views,
        min_size=options.min_size,
        fill_holes=options.fill_holes,
        smooth=options.smooth,
        group=len(image.data) // image.frames if image.frames > 1 else None,
        runtime=options.runtime,
    )
    outputs = Outputs(options.out, options.probabilities, options.probabilities_dtype, options.resume)
    try:
        if options.dask:
            from napari_salt._cluster_command import segment_on_cluster

            return segment_on_cluster(options.dask, image, adapter, config, outputs), False
        result, interrupted = run_segmentation(image, adapter, config, outputs)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted; --resume goes on from the slices finished so far") from None
    if interrupted:
        sys.stderr.write(
            f"{result['slices']} slices are in {options.out}; the same command with --resume does the rest\n"
        )
    return result, interrupted


def run_segmentation(image: Stack, adapter: Adapter, config: SegmentConfig, outputs: Outputs) -> Result:
    """Segment with a progress bar; slices that are not asked for become 0.

    Each finished slice is kept in a `PartialRun` at once; the outputs are written from there when all
    are finished, or after Ctrl-C.

    Returns
    -------
    result, interrupted
        What ``segment --json`` prints, and whether Ctrl-C ended it with slices missing.
    """
    from napari_salt.core.compute import peak_memory_mb, resolve_device

    began = time.monotonic()
    outputs.check(image.source)
    partial = PartialRun(outputs.labels, outputs.depend_on(image, adapter, config))
    finished = set(partial.finished() if outputs.resume else ())
    job = _Job(image, adapter, config, outputs, partial, finished)
    interruption = Interruption()
    with interruption.watched():
        with telling_of(finished):
            tiles = job.compute(interruption)
        job.write()
        if not job.missing:
            partial.discard()
    return {
        "seconds": round(time.monotonic() - began, 2),
        "slices": len(finished),
        "tiles": tiles,
        "peak_memory_mb": round(peak_memory_mb(resolve_device(config.device)), 1),
    }, bool(job.missing)


@dataclass(frozen=True)
class _Job:
    """One segmentation: `finished` grows slice by slice, in step with what `partial` keeps."""

    image: Stack
    adapter: Adapter
    config: SegmentConfig
    outputs: Outputs
    partial: PartialRun
    finished: set[int]

    @property
    def wanted(self) -> Sequence[int]:
        """Slices that were asked for."""
        return range(len(self.image.data)) if self.config.slices is None else self.config.slices

    @property
    def missing(self) -> tuple[int, ...]:
        """Those that are not finished."""
        return tuple(index for index in self.wanted if index not in self.finished)

    def compute(self, interruption: Interruption) -> int:
        """Finish what is missing, or as much as there is time for; give the number of tiles."""
        from napari_salt.core.inference import segmentation_events

        if not self.missing:
            return 0
        config = replace(self.config, slices=_with_neighbours(self.missing, self.wanted))
        pixel_size = to_micrometres(self.image.spacing, self.image.unit)
        events = segmentation_events(
            self.image.data, self.adapter, config, pixel_size=pixel_size, job_slices=len(self.wanted)
        )
        results = begun(events)
        if not self.finished:
            self.partial.begin()
        tiles = 0
        bar = progress_bar(len(self.wanted), "segmenting", "slice", len(self.finished))
        with closing(events), bar, Behind() as writing:
            for result in results:
                tiles += result.tiles
                if result.index in self.finished:
                    continue
                writing.do(self._keep, result, bar)
                if interruption.requested:
                    break
        return tiles

    def _keep(self, result: SliceResult, bar: tqdm[Any]) -> None:
        """Let a slice be on the disk before it counts as finished."""
        self.partial.add(result.index, self.outputs.arrays(result))
        self.finished.add(result.index)
        bar.update()

    def write(self) -> None:
        """Write the outputs from the finished slices; the others are 0."""
        from napari_salt.core.inference import label_dtype

        dtype = label_dtype(self.adapter.values)
        with LabelWriter(self.outputs.labels, self.image, len(self.image.data), dtype) as writer:
            for index in sorted(self.finished):
                writer.fill(index)
                writer.write(index, self.partial.read(index, "labels"))
            writer.fill()
        if self.outputs.probabilities is not None:
            self._write_probabilities(self.outputs.probabilities)

    def _write_probabilities(self, path: Path) -> None:
        dtype = np.dtype(self.outputs.probabilities_dtype)
        names = ("background", *(info.name for info in self.adapter.classes))
        nothing = np.zeros(self.image.data.shape[1:3], dtype)
        per_frame = len(self.image.data) // self.image.frames
        with image_writer(path, layout_of(path, self.image, dtype, channels=names)) as write:
            for frame, channel, z in np.ndindex(self.image.frames, len(names), per_frame):
                index = frame * per_frame + z
                done = index in self.finished
                write(self.partial.read(index, str(channel)) if done else nothing)


def _with_neighbours(missing: Sequence[int], wanted: Sequence[int]) -> tuple[int, ...]:
    """Missing slices, and those beside them: what is averaged along the stack must meet its like."""
    near = {index + step for index in missing for step in (-1, 0, 1)}
    return tuple(index for index in wanted if index in near)
