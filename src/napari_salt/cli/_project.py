"""Carrying out a project: train once, segment every image, one table and one report; what is done stays."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_salt.cli._commands import (
    Pair,
    check_adapter_path,
    judge,
    load,
    prepare_base,
    run_training,
    training_stacks,
)
from napari_salt.cli._measure import Measuring
from napari_salt.cli._outputs import Outputs, state_of
from napari_salt.cli._partial import PartialRun
from napari_salt.cli._project_files import Source, ending_for, sources_of
from napari_salt.cli._project_pairs import FAULTS, config_for, usable_pairs
from napari_salt.cli._project_results import rows_of, write_results
from napari_salt.cli._project_state import Done, ProjectState, digest_of, plain_values
from napari_salt.cli._segment import run_segmentation
from napari_salt.cli._terminal import tell
from napari_salt.io import Stack
from napari_salt.io._keeping import check_holds
from napari_salt.terms.config import SegmentConfig
from napari_salt.terms.errors import InputError
from napari_salt.terms.options import values_of
from napari_salt.terms.project import Project
from napari_salt.terms.project_parts import opening_of

if TYPE_CHECKING:
    from napari_salt.core.adapt.adapter import Adapter
    from napari_salt.core.adapt.segmenter import Segmenter

__all__ = ["ProjectRun", "made_folder", "run", "usable_pairs"]

SEGMENTATIONS = "segmentations"
UNLIKE_RESULTS = ("device",)
"""Settings that change where something is computed, and not what."""


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


class _Work:
    """One run of a project."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.failed: dict[str, str] = {}
        self.began = time.monotonic()
        self.made = 0
        self.segmentations: dict[Path, Path] = {}

    def carried_out(self) -> ProjectRun:
        project = self.project
        if project.train:
            check_adapter_path_of(project)
        made_folder(project.output_folder)
        self.state = ProjectState(project.output_folder)
        sources = self._sources()
        adapter, trained, interrupted = self._trained() if project.train else (self._loaded(), False, False)
        table = report = None
        if sources and not interrupted:
            interrupted = self._segment_all(sources, adapter)
            done = [(s, self.state.images[self._key(s)]) for s in sources if s.path in self.segmentations]
            files = [(source, self.segmentations[source.path], each) for source, each in done]
            table, report = write_results(project, adapter, files, self.failed)
        return ProjectRun(
            project.adapter_file, trained, self.segmentations, self.made, self.failed, table, report,
            interrupted, round(time.monotonic() - self.began, 2),
        )  # fmt: skip

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

    def _key(self, source: Source) -> str:
        """Name of an image in the state's file."""
        return os.path.relpath(source.path, self.project.folder).replace(os.sep, "/")

    def _note_fault(self, name: str, error: BaseException) -> None:
        self.failed[name] = " ".join(str(error).split()) or type(error).__name__
        tell(f"{name}: {self.failed[name]}; the rest goes on")

    # The adapter ------------------------------------------------------------------------------------

    def _loaded(self) -> Adapter:
        adapter = load(self.project.adapter_file)
        prepare_base(adapter, self.project.adapter.base)
        return adapter

    def _trained(self) -> tuple[Adapter, bool, bool]:
        """The adapter, whether it was trained now, and whether Ctrl-C ended that."""
        project, state, file = self.project, self.state, self.project.adapter_file
        pairs, inputs = self._usable()
        found = digest_of(file)
        if found and found == state.adapter and state.training == inputs:
            tell(f"the adapter {file} is up to date")
            return self._loaded(), False, False
        if found and state.training != {} and found != state.adapter:
            raise InputError(
                f"{file} is there already, and not as this project has made it; name another file in "
                "[adapter], or leave out [[train]] to segment with it"
            )
        init = load(project.path(project.adapter.init)) if project.adapter.init else None
        config = config_for(project.training, pairs)
        prepare_base(init, project.adapter.base if init else config.base)
        stacks = training_stacks(pairs, config.plane)
        state.begin_training()
        tell(f"training on {len(pairs)} image{'s' if len(pairs) > 1 else ''} with labels")
        adapter, interrupted = run_training(stacks, config, file, init, project.texts)
        if not interrupted:
            with contextlib.suppress(KeyboardInterrupt):
                judge(stacks, config, adapter, init)
            state.trained(inputs, file)
        return adapter, True, interrupted

    def _usable(self) -> tuple[list[Pair], dict[str, Any]]:
        """Pairs that can be learnt from, and all that the training depends on."""
        pairs, facts = [], []
        for source, opened in usable_pairs(self.project, self._note_fault):
            pairs.append(opened)
            facts.append([state_of(source.image), state_of(source.labels), opening_of(source.entry)])
        if not pairs:
            name, fault = next(iter(self.failed.items()))
            raise InputError(f"no image to learn from can be used; of {name}: {fault}")
        init = self.project.adapter.init
        options = {n: v for n, v in values_of(self.project.training).items() if n not in UNLIKE_RESULTS}
        return pairs, plain_values(
            {
                "pairs": facts,
                "options": options,
                "colours": dict(self.project.training.class_colors),
                "texts": self.project.texts,
                "init": state_of(self.project.path(init)) if init else None,
            }
        )

    # The segmentations ------------------------------------------------------------------------------

    def _segment_all(self, sources: list[Source], adapter: Adapter) -> bool:
        """Segment and measure what is not done yet; give whether Ctrl-C ended it early."""
        made_folder(self.project.output_folder / SEGMENTATIONS)
        shared = _Shared(adapter, self.project.segmenting)
        for number, source in enumerate(sources, start=1):
            told = f"image {number} of {len(sources)}, {self._key(source)}"
            try:
                if self._segment(source, shared, told):
                    return True
            except KeyboardInterrupt:
                return True
            except FAULTS as error:
                self._note_fault(self._key(source), error)
        return False

    def _segment(self, source: Source, shared: _Shared, told: str) -> bool:
        """Segment an image unless that is done; give whether Ctrl-C ended it early."""
        image = source.open()
        config = replace(self.project.segmenting, group=image.group)
        ending = ending_for(image, self.project.results.format)
        out = self.project.output_folder / SEGMENTATIONS / f"{source.name}{ending}"
        outputs = Outputs(out)
        depends = outputs.depend_on(image, shared.adapter, config)
        inputs = plain_values({name: v for name, v in depends.items() if name not in UNLIKE_RESULTS})
        before = self.state.images.get(self._key(source), Done())
        there = out.exists() and state_of(out)
        if not (there and before.inputs == inputs):
            if there and before.inputs and there != before.output:
                raise InputError(f"{out} was changed since it was written; move it away to make it anew")
            if there and self._key(source) not in self.state.images:
                raise InputError(f"{out} is there already, and not of this project; move it away")
            tell(told)
            outputs.check(image.source)
            check_holds(out, image)
            self.state.note(self._key(source), replace(before, inputs={}))
            outputs = replace(outputs, resume=_can_resume(outputs, depends, image, shared.adapter, config))
            result, interrupted = run_segmentation(image, shared.adapter, config, outputs, shared.segmenter)
            if interrupted:
                return True
            self.made += 1
            before = Done(inputs, state_of(out), slices=result["slices"], seconds=result["seconds"])
            self.state.note(self._key(source), before)
        self._measure(source, image, out, before, shared.adapter)
        self.segmentations[source.path] = out
        return False

    def _measure(self, source: Source, image: Stack, out: Path, done: Done, adapter: Adapter) -> None:
        """Measure a segmentation, unless that is done; one that was corrected by hand is measured anew."""
        results = self.project.results
        how = Measuring(
            "numbers" if self.project.segmenting.objects else "classes",
            adapter.preprocess.independent,
            source.opening.lengths,
            results.unit,
        )
        measured = plain_values({**asdict(how), "objects": results.objects, "output": state_of(out)})
        if done.rows and done.measured == measured:
            return
        rows = rows_of(image, out, how, adapter, count_objects=results.objects)
        self.state.note(self._key(source), replace(done, measured=measured, rows=rows))


class _Shared:
    """The adapter, and its segmenter, which is built once for all images."""

    def __init__(self, adapter: Adapter, config: SegmentConfig) -> None:
        self.adapter = adapter
        self._config = config
        self._built: Segmenter | None = None

    @property
    def segmenter(self) -> Segmenter:
        from napari_salt.core.devices import resolve_device

        if self._built is None:
            self._built = self.adapter.build(resolve_device(self._config.device)).merged()
        return self._built


def _can_resume(
    outputs: Outputs, depends: dict[str, Any], image: Stack, adapter: Adapter, config: SegmentConfig
) -> bool:
    """Whether a stopped run of the same kind has left slices to go on from."""
    from napari_salt.core.segment.planes import cuts_wanted, in_one_run

    if in_one_run(cuts_wanted(config, adapter.preprocess, image.voxels), config):
        return False
    try:
        return bool(PartialRun(outputs.labels, depends).finished())
    except InputError:  # other settings: begin again
        return False


def check_adapter_path_of(project: Project) -> None:
    """Refuse an adapter's file that could not be written, before any work."""
    if project.adapter.file is not None:
        check_adapter_path(project.adapter_file)


def made_folder(folder: Path) -> Path:
    """Make a folder, unless it is there.

    Raises
    ------
    InputError
        If it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"the folder {folder} cannot be made ({error.strerror}); choose another") from error
    return folder
