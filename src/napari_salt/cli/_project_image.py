"""One image of a project: segmented and measured, unless that is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_salt.cli._measure import Measuring
from napari_salt.cli._outputs import Outputs, state_of
from napari_salt.cli._partial import PartialRun
from napari_salt.cli._project_results import rows_of
from napari_salt.cli._project_state import Done, ProjectState, plain_values
from napari_salt.cli._project_training import ELSEWHERE
from napari_salt.cli._segment import run_segmentation
from napari_salt.io import Stack
from napari_salt.io._keeping import check_holds
from napari_salt.io._project_files import Source, ending_for, seen_from
from napari_salt.terms.config import SegmentConfig
from napari_salt.terms.errors import InputError
from napari_salt.terms.project import Project

if TYPE_CHECKING:
    from napari_salt.core.adapt.adapter import Adapter
    from napari_salt.core.adapt.segmenter import Segmenter

__all__ = ["SEGMENTATIONS", "ProjectImage"]

SEGMENTATIONS = "segmentations"
"""Folder in the output folder."""


@dataclass(frozen=True)
class ProjectImage:
    """An opened image of a project.

    Parameters
    ----------
    project, state
        The project, and what of it is done.
    source, image
        The image, and what it is when opened.
    adapter
        What it is segmented with.
    """

    project: Project
    state: ProjectState
    source: Source
    image: Stack
    adapter: Adapter

    @property
    def key(self) -> str:
        """Name of the image in the state, and for the user."""
        return seen_from(self.project, self.source.path)

    @property
    def before(self) -> Done:
        """What has become of it so far."""
        return self.state.images.get(self.key, Done())

    @property
    def config(self) -> SegmentConfig:
        """How it is segmented."""
        return replace(self.project.segmenting, group=self.image.group)

    @property
    def out(self) -> Path:
        """Its segmentation's file."""
        ending = ending_for(self.image, self.project.results.format)
        return self.project.output_folder / SEGMENTATIONS / f"{self.source.name}{ending}"

    def inputs(self) -> Mapping[str, Any]:
        """All that its segmentation depends on."""
        depends = Outputs(self.out).depend_on(self.image, self.adapter, self.config)
        return plain_values({name: value for name, value in depends.items() if name not in ELSEWHERE})

    def is_done(self) -> bool:
        """Whether its segmentation is there, and nothing that it depends on has changed."""
        return self.out.exists() and self.before.inputs == self.inputs()

    def check(self) -> None:
        """Raise InputError if it cannot be written, or something else than an older result would be lost."""
        out = self.out
        if out.exists() and self.key not in self.state.images:
            raise InputError(f"{out} is there already, and not of this project; move it away")
        if out.exists() and self.before.inputs and state_of(out) != self.before.output:
            raise InputError(f"{out} was changed since it was written; move it away to make it anew")
        Outputs(out).check(self.image.source)
        check_holds(out, self.image)

    def segment(self, segmenter: Segmenter) -> bool:
        """Segment it, going on from where a stopped run has ended; give whether Ctrl-C ended it early."""
        inputs, out = self.inputs(), self.out
        self.state.note(self.key, replace(self.before, inputs={}))
        outputs = Outputs(out, resume=self._can_resume())
        result, interrupted = run_segmentation(self.image, self.adapter, self.config, outputs, segmenter)
        if not interrupted:
            done = Done(inputs, state_of(out), slices=result["slices"], seconds=result["seconds"])
            self.state.note(self.key, done)
        return interrupted

    def measure(self) -> None:
        """Measure its segmentation, unless that is done; one that was corrected by hand is measured anew."""
        results = self.project.results
        how = Measuring(
            "numbers" if self.project.segmenting.objects else "classes",
            self.adapter.preprocess.independent,
            self.source.opening.lengths,
            results.unit,
        )
        names = [info.name for info in self.adapter.shown_classes]
        facts = {**asdict(how), "objects": results.objects, "names": names, "output": state_of(self.out)}
        measured = plain_values(facts)
        if self.before.rows and self.before.measured == measured:
            return
        rows = rows_of(self.image, self.out, how, self.adapter, count_objects=results.objects)
        self.state.note(self.key, replace(self.before, measured=measured, rows=rows))

    def _can_resume(self) -> bool:
        """Whether a stopped run of the same kind has left slices to go on from."""
        from napari_salt.core.segment.planes import cuts_wanted, in_one_run

        config = self.config
        if in_one_run(cuts_wanted(config, self.adapter.preprocess, self.image.voxels), config):
            return False
        outputs = Outputs(self.out)
        try:
            return bool(PartialRun(self.out, outputs.depend_on(self.image, self.adapter, config)).finished())
        except InputError:  # other settings: begin again
            return False
