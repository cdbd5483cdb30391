"""Carrying out a project: train once, segment every image, one table and one report; what is done stays."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_salt.cli._inputs import load, prepare_base
from napari_salt.cli._plan import segmentation_plan, training_plan
from napari_salt.cli._project_image import SEGMENTATIONS, ProjectImage
from napari_salt.cli._project_results import check_results, write_results
from napari_salt.cli._project_state import ProjectState
from napari_salt.cli._project_training import FAULTS, ProjectTraining
from napari_salt.cli._terminal import tell
from napari_salt.io._project_files import Source, made_folder, seen_from, sources_of
from napari_salt.terms.errors import InputError
from napari_salt.terms.pace import short_duration
from napari_salt.terms.project import Project

if TYPE_CHECKING:
    from napari_salt.core.adapt.adapter import Adapter

__all__ = ["ProjectRun", "planned", "run"]


@dataclass(frozen=True)
class ProjectRun:
    """What has come of carrying out a project.

    Parameters
    ----------
    adapter
        The adapter's file.
    trained
        Whether it was trained now.
    segmentations
        Files with the segmentations, by image; those that were there already included.
    made
        How many of them were made now.
    failed
        What was wrong, by file.
    table, report
        The files; None where there is nothing to tell.
    interrupted
        Whether Ctrl-C ended it early; the next run goes on.
    seconds
        How long it took.
    """

    adapter: Path
    trained: bool = False
    segmentations: Mapping[Path, Path] = field(default_factory=dict)
    made: int = 0
    failed: Mapping[str, str] = field(default_factory=dict)
    table: Path | None = None
    report: Path | None = None
    interrupted: bool = False
    seconds: float = 0.0


def run(project: Project | str | os.PathLike[str]) -> ProjectRun:
    """Carry out a project: train, segment, and write a table and a report; progress is shown on stderr.

    What is done already, and whose inputs have not changed, is not made again. A file that cannot be used is
    reported, and the rest goes on.

    Parameters
    ----------
    project
        A `Project`, or the path of its file.

    Returns
    -------
    ProjectRun

    Raises
    ------
    InputError
        If the project's file is wrong, outputs cannot be written, or no image to learn from can be used.
    AdapterError, BaseModelError, DeviceError
        If the adapter or its base cannot be used, or the device is not available.
    KeyboardInterrupt
        If Ctrl-C came before there was an adapter.
    """
    if not isinstance(project, Project):
        project = Project.load(os.fspath(project))
    return _Work(project).carried_out()


def planned(project: Project) -> dict[str, Any]:
    """Say what `run` would do, by name; nothing is written.

    Raises
    ------
    InputError, AdapterError, BaseModelError
        As `run`.
    """
    return _Work(project).planned()


class _Work:
    """One run of a project."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.failed: dict[str, str] = {}
        self.began = time.monotonic()
        self.made = 0
        self.segmentations: dict[Path, Path] = {}
        self.state = ProjectState(project.output_folder)
        if self.state.is_new:
            check_results(project.output_folder)

    def carried_out(self) -> ProjectRun:
        project = self.project
        sources = self._sources()
        training = ProjectTraining.of(project, self.state, self._note_fault) if project.train else None
        trains = training is not None and not training.is_done
        interrupted = False
        if training is not None and trains:
            training.check()
        made_folder(project.output_folder / SEGMENTATIONS)
        if training is not None and trains:
            adapter, interrupted = training.carried_out()
        else:
            adapter = self._loaded()
        table = report = None
        if sources and not interrupted:
            interrupted = self._segment_all(sources, adapter)
            done = [s for s in sources if s.path in self.segmentations]
            files = [
                (s, self.segmentations[s.path], self.state.images[seen_from(project, s.path)]) for s in done
            ]
            table, report = write_results(project, adapter, files, self.failed)
        return ProjectRun(
            project.adapter_file, trains, self.segmentations, self.made, self.failed, table, report,
            interrupted, round(time.monotonic() - self.began, 2),
        )  # fmt: skip

    def _loaded(self) -> Adapter:
        adapter = load(self.project.adapter_file)
        prepare_base(adapter, self.project.adapter.base)
        return adapter

    def _sources(self) -> list[Source]:
        """Images to segment, without what was written itself."""
        written = (self.project.output_folder / SEGMENTATIONS).resolve()
        found: list[Source] = []
        for name, images in sources_of(self.project):
            if isinstance(images, InputError):
                self._note_fault(name, images)
            else:
                found += [each for each in images if not each.path.resolve().is_relative_to(written)]
        return found

    def _note_fault(self, name: str, error: BaseException) -> None:
        self.failed[name] = " ".join(str(error).split()) or type(error).__name__
        tell(f"{name}: {self.failed[name]}; the rest goes on")

    def _segment_all(self, sources: list[Source], adapter: Adapter) -> bool:
        """Segment and measure what is not done yet; give whether Ctrl-C ended it early."""
        from napari_salt.core.devices import resolve_device

        segmenter = None
        for number, source in enumerate(sources, start=1):
            key = seen_from(self.project, source.path)
            try:
                image = ProjectImage(self.project, self.state, source, source.open(), adapter)
                if not image.is_done():
                    image.check()
                    tell(f"image {number} of {len(sources)}, {key}")
                    device = resolve_device(self.project.segmenting.device)
                    segmenter = segmenter or adapter.build(device).merged()  # once for all images
                    if image.segment(segmenter):
                        return True
                    self.made += 1
                image.measure()
                self.segmentations[source.path] = image.out
            except KeyboardInterrupt:
                return True
            except FAULTS as error:
                self._note_fault(key, error)
        return False

    # A dry run --------------------------------------------------------------------------------------

    def planned(self) -> dict[str, Any]:
        """Say what would be done, by name."""
        project, adapter = self.project, None
        sources, trains = self._sources(), False
        facts: dict[str, Any] = {"training": "none; the adapter is there"}
        if project.train:
            training = ProjectTraining.of(project, self.state, self._note_fault)
            trains = not training.is_done
            if trains:
                training.check()
                config = training.config
                facts["training"] = training_plan(
                    training.stacks, config, project.adapter_file, training.init
                )
        if not trains:
            adapter = load(project.adapter_file)
        facts |= self._images_planned(sources, adapter)
        failed = [{"file": file, "reason": reason} for file, reason in self.failed.items()]
        return facts | {"output": str(project.output_folder), "failed": failed}

    def _images_planned(self, sources: list[Source], adapter: Adapter | None) -> dict[str, Any]:
        """What of the images would be done; without an adapter, that of slices and sizes only."""
        slices = tiles = output = kept = 0
        unlike: list[str] = []
        for source in sources:
            key = seen_from(self.project, source.path)
            try:
                opened = source.open()
                if adapter is None:
                    slices += len(opened.data)
                    output += opened.data[..., 0].size if opened.rgb else opened.data.size
                    continue
                image = ProjectImage(self.project, self.state, source, opened, adapter)
                if image.is_done():
                    kept += 1
                    continue
                image.check()
                plan = segmentation_plan(opened, adapter, image.config)
                slices, tiles, output = slices + plan.slices, tiles + plan.tiles, output + plan.output
                unlike += [f"{key}: {text}" for text in plan.unlike]
            except FAULTS as error:
                self._note_fault(key, error)
        known = [done for done in self.state.images.values() if done.slices]
        pace = sum(done.seconds for done in known) / max(1, sum(done.slices for done in known))
        return {
            "images": len(sources),
            "images_done": kept,
            "slices": slices,
            "tiles": tiles if adapter else None,
            "time_of_segmenting": short_duration(pace * slices) if known else None,
            "output_size_bytes": output,
            "unlike_the_training": unlike,
        }
