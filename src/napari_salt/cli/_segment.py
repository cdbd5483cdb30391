"""``napari-salt segment``: labels and probabilities of a stack; a stopped run can be resumed."""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_salt.cli._inputs import given, load, prepare_base, read_image, voxels_for
from napari_salt.cli._outputs import Outputs
from napari_salt.cli._partial import PartialRun, telling_of
from napari_salt.cli._terminal import Interruption, begun, duration, progress_bar, tell
from napari_salt.cli._unreadable import Readable, telling_of_choice
from napari_salt.core.segment.threads import Behind
from napari_salt.io import LabelWriter, Stack
from napari_salt.io._keeping import check_holds, not_kept
from napari_salt.io._write import image_writer, layout_of
from napari_salt.terms.config import SegmentConfig
from napari_salt.terms.errors import InputError
from napari_salt.terms.stack import result_dtype

if TYPE_CHECKING:
    from napari_salt.core.adapt.adapter import Adapter
    from napari_salt.core.adapt.segmenter import Segmenter
    from napari_salt.terms.events import SliceResult
    from napari_salt.terms.planes import Cut

__all__ = ["run_segmentation", "segment"]

logger = logging.getLogger(__name__)

Result = tuple[dict[str, Any], bool]


def segment(options: argparse.Namespace) -> Result:
    """``napari-salt segment``."""
    image = read_image(options)
    outputs = Outputs(options.out, options.probabilities, options.probabilities_dtype, options.resume)
    outputs.check(image.source)
    check_holds(options.out, image)
    adapter = load(options.adapter)
    if options.dry_run:
        return _planned(image, adapter, options), False
    prepare_base(adapter, options.base)
    from napari_salt.core.segment.planes import cuts_wanted, in_one_run  # with torch: after all that can fail

    config = given(options, SegmentConfig(group=image.group))
    at_once = in_one_run(cuts_wanted(config, adapter.preprocess, image.voxels), config)
    skips = options.unreadable == "skip"
    if at_once and (options.resume or options.dask or skips):
        flag = "--resume" if options.resume else "--dask" if options.dask else "--unreadable skip"
        raise InputError(f"{at_once} in one run; leave out {flag}")
    if options.dask and skips:
        raise InputError("workers of --dask stop at a slice that cannot be read; leave out --unreadable skip")
    if skips:
        readable: Any = Readable(image.data)
        image = replace(image, data=readable)
    lost = not_kept(options.out, image)
    if lost:
        logger.warning(lost)
    try:
        if options.dask:
            from napari_salt.cli._cluster import segment_on_cluster

            result, interrupted = segment_on_cluster(options.dask, image, adapter, config, outputs), False
        else:
            result, interrupted = run_segmentation(image, adapter, config, outputs)
    except KeyboardInterrupt:
        text = "interrupted; --resume goes on from the slices finished so far"
        if at_once:
            text = f"interrupted before all slices were done ({at_once} in one run); nothing was written"
        raise KeyboardInterrupt(text) from None
    seconds = duration(result["seconds"])
    if interrupted:
        tell(
            f"stopped early; {result['slices']} slices are in {options.out} ({seconds}); the same command "
            "with --resume does the rest"
        )
    else:
        also = f" and {options.probabilities}" if options.probabilities else ""
        left = ", ".join(map(str, result.get("failed", ())))
        without = f", without those that cannot be read ({left})" if left else ""
        tell(
            f"the segmentation of {result['slices']} slices is in {options.out}{also}{without}: "
            f"{seconds} in all"
        )
    return result, interrupted


def _planned(image: Stack, adapter: Adapter, options: argparse.Namespace) -> dict[str, Any]:
    """Say what would be segmented."""
    from napari_salt.cli._plan import say_plan, segmentation_plan

    config = given(options, SegmentConfig(group=image.group))
    dtype = options.probabilities_dtype if options.probabilities else None
    facts = segmentation_plan(image, adapter, config, dtype).facts(adapter, options.out)
    if not options.json:
        say_plan(facts)
    return facts


def run_segmentation(
    image: Stack,
    adapter: Adapter,
    config: SegmentConfig,
    outputs: Outputs,
    segmenter: Segmenter | None = None,
) -> Result:
    """Segment with a progress bar; slices that are not asked for are written as 0.

    Each finished slice is kept in a `PartialRun` at once. The outputs are written from there when all slices
    are finished, or after Ctrl-C; objects, and what was segmented on other planes than z, only when all are
    finished.

    Parameters
    ----------
    image
        What to segment.
    adapter
        With which adapter.
    config
        How to segment; its `group` is that of `image`.
    outputs
        Files to write.
    segmenter
        The adapter's, built and merged, if there is one already.

    Returns
    -------
    result, interrupted
        What ``segment --json`` prints, and whether Ctrl-C ended it with slices missing.

    Raises
    ------
    InputError
        If an output cannot be written, or the unfinished run to resume had another input or settings.
    KeyboardInterrupt
        If Ctrl-C came before all slices were finished that are written at the end.
    """
    from napari_salt.core.devices import peak_memory_mb, resolve_device

    began = time.monotonic()
    outputs.check(image.source)
    partial = PartialRun(outputs.labels, outputs.depend_on(image, adapter, config))
    interruption = Interruption()
    with partial.alone(), interruption.watched():
        finished = set(partial.finished() if outputs.resume else ())
        job = _Job(image, adapter, config, outputs, partial, finished, segmenter)
        with telling_of(finished), telling_of_choice():
            tiles = job.compute(interruption)
        job.write()
        if not job.missing:
            partial.discard()
    failed = {"failed": sorted(job.left_out)} if job.left_out else {}
    return {
        **failed,
        "seconds": round(time.monotonic() - began, 2),
        "slices": len(finished),
        "tiles": tiles,
        "peak_memory_mb": round(peak_memory_mb(resolve_device(config.device)), 1),
    }, bool(job.missing)


@dataclass(frozen=True)
class _Job:
    """One segmentation: `finished` holds the slices that `partial` keeps, `numbered` those with objects."""

    image: Stack
    adapter: Adapter
    config: SegmentConfig
    outputs: Outputs
    partial: PartialRun
    finished: set[int]
    segmenter: Segmenter | None = None
    numbered: set[int] = field(default_factory=set)

    @property
    def wanted(self) -> Sequence[int]:
        """Slices that were asked for; all where they are those of another plane."""
        chosen = self.config.slices
        return range(len(self.image.data)) if chosen is None or self.across else chosen

    @cached_property
    def cuts(self) -> tuple[Cut, ...]:
        """How the image is cut into the slices that are segmented."""
        from napari_salt.core.segment.planes import cuts_wanted

        return cuts_wanted(self.config, self.adapter.preprocess, self.image.voxels)

    @cached_property
    def across(self) -> bool:
        """Whether planes across the image's slices are segmented."""
        from napari_salt.core.segment.planes import across

        return across(self.cuts)

    @property
    def missing(self) -> tuple[int, ...]:
        """Wanted slices that are not finished, and can be read as far as is known."""
        over = self.finished | self.left_out
        return tuple(index for index in self.wanted if index not in over)

    @property
    def left_out(self) -> set[int]:
        """Slices that cannot be read, where they are not to stop the work."""
        data: Any = self.image.data
        return data.left_out & set(self.wanted) if isinstance(data, Readable) else set()

    def compute(self, interruption: Interruption) -> int:
        """Compute the missing slices until all are done or Ctrl-C is pressed; give the number of tiles."""
        from napari_salt.core.segment.planes import slices_along
        from napari_salt.core.segment.stack import segmentation_events

        if not self.missing:
            return 0
        config = self.config
        if not self.across:
            config = replace(config, slices=_with_neighbours(self.missing, self.wanted))
        events = segmentation_events(
            self.image.data,
            self.adapter,
            config,
            pixel_size=self.image.pixel_size,
            voxels=voxels_for(self.image, config.planes_for(self.adapter.preprocess)),
            job_slices=len(self.wanted),
            segmenter=self.segmenter,
        )
        results = begun(events)
        if not self.finished:
            self.partial.begin()
        tiles = 0
        steps = slices_along(self.cuts, self.image.data.shape, config) if self.across else len(self.wanted)
        bar = progress_bar(steps, "segmenting", "slice", len(self.finished))
        with closing(events), bar, Behind() as writing:
            for result in results:
                tiles += result.tiles
                logger.debug("slice %d: %d tiles", result.index, result.tiles)
                if result.done is not None:
                    bar.update()
                elif self.config.objects and result.final:
                    writing.do(self.partial.add_numbers, result.index, result.labels)
                    self.numbered.add(result.index)
                elif result.index not in self.finished | self.left_out:
                    writing.do(self._keep, result, bar)
                if interruption.requested:
                    break
        unfinished = self.across and self.missing
        if unfinished or (self.config.objects and len(self.numbered) < len(self.wanted)):
            self.partial.discard()
            raise KeyboardInterrupt
        return tiles

    def _keep(self, result: SliceResult, bar: Any) -> None:
        """Write a slice to the disk, then count it as finished."""
        self.partial.add(result.index, self.outputs.arrays(result))
        self.finished.add(result.index)
        if not self.across:
            bar.update()

    def write(self) -> None:
        """Write the outputs from the finished slices; the others are 0."""
        dtype = result_dtype(self.adapter.values, self.config)
        classes = () if self.config.objects else self.adapter.shown_classes
        n_slices = len(self.image.data)
        with LabelWriter(self.outputs.labels, self.image, n_slices, dtype, classes) as writer:
            for index in sorted(self.finished):
                writer.fill(index)
                objects = index in self.numbered
                writer.write(
                    index, self.partial.numbers(index) if objects else self.partial.read(index, "labels")
                )
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
    """Missing slices and their wanted neighbours: smoothing along the stack averages neighbouring slices."""
    near = {index + step for index in missing for step in (-1, 0, 1)}
    return tuple(index for index in wanted if index in near)
