"""The engine's jobs: training, segmenting, suggesting, measuring, writing, fetching; one at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_salt.engine import _news as told
from napari_salt.engine import _requests as asked
from napari_salt.engine._asides import Asides
from napari_salt.engine._kept import Kept
from napari_salt.engine._link import Link
from napari_salt.terms.stopping import check_stop

if TYPE_CHECKING:
    from napari_salt.core.adapt.adapter import Adapter
    from napari_salt.core.paint.stacks import TrainingStack
    from napari_salt.core.train.training import Look

__all__ = ["Jobs"]

UPDATE_SECONDS = 0.1
"""Seconds between messages about progress that bring no other news."""


class Jobs:
    """Does what napari's process asks for; news go there as they come.

    Parameters
    ----------
    link
        To napari's process.
    kept
        What was loaded.
    asides
        What is answered meanwhile.
    """

    def __init__(self, link: Link, kept: Kept, asides: Asides) -> None:
        self._link, self._kept, self._asides = link, kept, asides

    def run(self, job: asked.Job) -> None:
        """Do one job to its end."""
        runs: dict[type, Callable[[Any], None]] = {
            asked.Train: self._train,
            asked.Segment: self._segment,
            asked.Suggest: self._suggest,
            asked.Measure: self._measure,
            asked.Write: self._write,
            asked.Rescale: self._rescale,
            asked.Fetch: self._fetch,
        }
        runs[type(job)](job)

    def _train(self, job: asked.Train) -> None:
        from napari_salt.core.paint.stacks import training_stacks
        from napari_salt.core.train.training import events_of
        from napari_salt.core.train.verdict import verdict_on

        images, labels = (
            [self._link.stack(getattr(s, side)) for s in job.stacks] for side in ("image", "labels")
        )
        sizes = [stack.pixel_size for stack in job.stacks]
        voxels = [stack.voxels for stack in job.stacks]
        marks = [stack.marks for stack in job.stacks]
        stacks = training_stacks(images, labels, sizes, job.config.plane, voxels, marks)
        init = self._kept.adapter(job.init) if job.init else None
        self._fetch_base(init.base_model if init else job.config.base)
        if not job.strokes_known and self._strokes(stacks, job):
            self._link.send(told.StrokesFound())
            return

        def between(look: Look) -> None:
            self._asides.between_steps(look, job.stacks[0].image)

        events = events_of(stacks, job.config, init=init, between=between)
        last = 0.0
        best: Adapter | None = None
        for event in events:
            best = event.adapter or best
            news = event.adapter or event.held_out_dice or event.message or event.phase in ("start", "done")
            if news or time.monotonic() - last > UPDATE_SECONDS:
                last = time.monotonic()
                content = event.adapter.to_bytes() if event.adapter else None
                self._link.send(told.Trained(event=replace(event, adapter=None), adapter=content))
        check_stop()
        if best is None:
            return
        verdict = verdict_on(best, stacks, job.config, init.values if init else ())
        worse = verdict.comparison if verdict.worse else ""
        self._link.send(told.Judged(forest=verdict.forest, worse=worse, help=verdict.help))

    def _strokes(self, stacks: Sequence[TrainingStack], job: asked.Train) -> bool:
        from napari_salt.core.paint.stacks import read_paint

        return job.config.unpainted == "background" and read_paint(stacks, job.config).looks_like_strokes

    def _segment(self, job: asked.Segment) -> None:
        from napari_salt.core.segment.stack import segmentation_events

        self._fetch_base(self._kept.adapter(job.adapter).base_model)
        events = segmentation_events(
            self._link.stack(job.image),
            self._kept.adapter(job.adapter),
            job.config,
            pixel_size=job.pixel_size,
            voxels=job.voxels,
            between=self._asides.between_tiles,
            segmenter=self._kept.segmenter(job.adapter, job.config.device, job.strength),
        )
        for result in events:
            kept = result if job.probabilities else replace(result, probabilities=result.probabilities[:0])
            self._link.send(told.SliceSegmented(result=kept))
            check_stop()

    def _suggest(self, job: asked.Suggest) -> None:
        from napari_salt.core.segment.uncertainty import uncertainty_events
        from napari_salt.terms.ranking import MAX_CANDIDATES

        self._fetch_base(self._kept.adapter(job.adapter).base_model)
        total = min(MAX_CANDIDATES, job.image.shape[0])
        events = uncertainty_events(
            self._link.stack(job.image),
            self._kept.adapter(job.adapter),
            job.config,
            pixel_size=job.pixel_size,
            between=self._asides.between_tiles,
            segmenter=self._kept.segmenter(job.adapter, job.config.device),
        )
        for done, event in enumerate(events, start=1):
            self._link.send(
                told.SliceScored(index=event.index, uncertainty=event.uncertainty, done=done, total=total)
            )
            check_stop()

    def _measure(self, job: asked.Measure) -> None:
        from napari_salt.results.measure import measure_events

        last = 0.0
        for event in measure_events(
            self._link.stack(job.labels),
            None if job.image is None else self._link.stack(job.image),
            by=job.by,
            pixel_size=job.pixel_size,
            unit=job.unit,
            class_names=job.class_names,
            independent=job.independent,
            group=job.group,
            to_world=job.to_world,
            numbered=job.numbered,
        ):
            news = event.table is not None or event.numbers is not None
            if news or time.monotonic() - last > UPDATE_SECONDS:
                last = time.monotonic()
                self._link.send(told.MeasuredMore(event=event))
            check_stop()

    def _write(self, job: asked.Write) -> None:
        from napari_salt.io._write import write_planes

        labels = self._link.stack(job.labels)
        for done in write_planes(job.path, job.layout, (labels[index] for index in range(len(labels)))):
            self._link.send(told.Written(done=done, total=len(labels)))
            check_stop()

    def _rescale(self, job: asked.Rescale) -> None:
        self._fetch_base(self._kept.adapter(job.adapter).base_model)
        content = self._kept.rescaled(job.adapter, job.strength).to_bytes()
        self._link.send(told.Rescaled(adapter=content))

    def _fetch(self, job: asked.Fetch) -> None:
        from napari_salt.terms.fetching import fetched

        for file in fetched(job.source):
            self._link.send(told.Arrived(name=file.name, content=file.content))
            check_stop()

    def _fetch_base(self, reference: str) -> None:
        """Download a base of the registry that is not on this machine yet."""
        from napari_salt.core.bases.download import download
        from napari_salt.terms.registry import BASES, base_spec, split_size

        if split_size(reference)[0] not in BASES:
            return
        spec = base_spec(reference)
        last = 0.0
        for progress in download(spec) if spec.checkpoint() is None else ():
            if time.monotonic() - last > UPDATE_SECONDS:
                last = time.monotonic()
                self._link.send(
                    told.Downloading(name=spec.name, received=progress.received, total=progress.total)
                )
            check_stop()
