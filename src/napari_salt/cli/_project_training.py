"""The training of a project: on all pairs that can be used, unless that is done."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_salt.cli._inputs import check_adapter_path, load, prepare_base
from napari_salt.cli._outputs import state_of
from napari_salt.cli._project_state import ProjectState, digest_of, plain_values
from napari_salt.cli._terminal import tell
from napari_salt.cli._train import Pair, judge, named, run_training, training_stacks
from napari_salt.io._project_files import PairSource, made_folder, pairs_of, seen_from
from napari_salt.terms.config import TrainConfig, Unpainted
from napari_salt.terms.errors import InputError
from napari_salt.terms.options import values_of
from napari_salt.terms.project import Project
from napari_salt.terms.project_parts import opening_of
from napari_salt.terms.stack import common_group

if TYPE_CHECKING:
    from napari_salt.core.adapt.adapter import Adapter
    from napari_salt.core.paint.stacks import TrainingStack

__all__ = ["ELSEWHERE", "FAULTS", "Fault", "ProjectTraining"]

FAULTS = (InputError, MemoryError, OSError)
"""What is reported of a file, while the work goes on; faults of adapter, base or device concern all files."""
ELSEWHERE = ("device",)
"""Settings that change where something is computed, and not what."""

Fault = Callable[[str, BaseException], None]
"""Takes the name of a file, and what is wrong with it."""


@dataclass(frozen=True)
class ProjectTraining:
    """What a project's adapter is trained on.

    Parameters
    ----------
    project, state
        The project, and what of it is done.
    pairs, marks
        Images with labels that can be used, and what unpainted means on single slices of each.
    inputs
        All that the training depends on.
    """

    project: Project
    state: ProjectState
    pairs: Sequence[Pair]
    marks: Sequence[Mapping[int, Unpainted]]
    inputs: Mapping[str, Any]

    @classmethod
    def of(cls, project: Project, state: ProjectState, fault: Fault) -> ProjectTraining:
        """Open the pairs, and read what training reads of them; `fault` is told of those that cannot be used.

        Raises
        ------
        InputError
            If none can be used, or the adapter's file cannot be written.
        """
        check_adapter_path(_folder_there(project) / project.adapter_file.name)
        pairs, marks, facts, faults = [], [], [], []

        def note(name: str, error: BaseException) -> None:
            faults.append(f"{name}: {error}")
            fault(name, error)

        for source, pair in _usable(project, note):
            pairs.append(pair)
            marks.append(source.entry.marks)
            told = [source.entry.marks] if source.entry.marks else []
            facts.append([state_of(source.image), state_of(source.labels), opening_of(source.entry), *told])
        if not pairs:
            raise InputError(f"no image to learn from can be used; {faults[0]}")
        init, training = project.adapter.init, project.training
        options = {name: value for name, value in values_of(training).items() if name not in ELSEWHERE}
        inputs = {
            "pairs": facts,
            "options": options,
            "colours": dict(training.class_colors),
            "texts": project.texts,
            "init": state_of(project.path(init)) if init else None,
        }
        return cls(project, state, pairs, marks, plain_values(inputs))

    @property
    def is_done(self) -> bool:
        """Whether the adapter's file is there as this training has made it."""
        found = digest_of(self.project.adapter_file)
        return bool(found) and found == self.state.adapter and self.state.training == self.inputs

    def check(self) -> None:
        """Raise InputError if another adapter would be overwritten."""
        file = self.project.adapter_file
        found = digest_of(file)
        if found and self.state.training != {} and found != self.state.adapter:
            raise InputError(
                f"{file} is there already, and not as this project has made it; name another file in "
                "[adapter], or leave out [[train]] to segment with it"
            )

    @property
    def config(self) -> TrainConfig:
        """How to train: with the images' time points, and names of classes that label files give."""
        config, (images, labels) = self.project.training, zip(*self.pairs, strict=True)
        of_files = named(TrainConfig(), labels)
        return replace(
            config,
            group=common_group([(str(image.source), image.group) for image in images]),
            class_names={**of_files.class_names, **config.class_names},
            class_colors={**of_files.class_colors, **config.class_colors},
        )

    @property
    def stacks(self) -> tuple[TrainingStack, ...]:
        """The images with their paint."""
        return training_stacks(self.pairs, self.config.plane, self.marks)

    @property
    def init(self) -> Adapter | None:
        """The adapter to go on from."""
        about = self.project.adapter
        return load(self.project.path(about.init)) if about.init else None

    def carried_out(self) -> tuple[Adapter, bool]:
        """Train; give the adapter, and whether Ctrl-C ended it early."""
        project, config, init = self.project, self.config, self.init
        prepare_base(init, project.adapter.base if init else config.base)
        stacks = self.stacks
        if _is_in_output(project):
            made_folder(project.adapter_file.parent)
        self.state.begin_training()
        tell(f"training on {len(stacks)} image{'s' if len(stacks) > 1 else ''} with labels")
        adapter, interrupted = run_training(stacks, config, project.adapter_file, init, project.texts)
        if not interrupted:
            with contextlib.suppress(KeyboardInterrupt):
                judge(stacks, config, adapter, init)
            self.state.trained(self.inputs, project.adapter_file)
        return adapter, interrupted


def _is_in_output(project: Project) -> bool:
    """Whether the adapter's file is in the output folder, or in a folder in it."""
    return project.adapter_file.absolute().is_relative_to(project.output_folder.absolute())


def _folder_there(project: Project) -> Path:
    """Folder of the adapter's file, or the one that is there if it will be made with the output folder."""
    folder = project.adapter_file.absolute().parent
    there = (each for each in (folder, *folder.parents) if each.is_dir())
    return next(there, folder) if _is_in_output(project) else folder


def _usable(project: Project, fault: Fault) -> Iterator[tuple[PairSource, Pair]]:
    """Give the pairs that can be learnt from."""
    for name, found in pairs_of(project):
        if isinstance(found, InputError):
            fault(name, found)
            continue
        for source in found:
            try:
                opened = source.open()
                _check(opened, source.entry.marks, project.training)
            except FAULTS as error:
                fault(seen_from(project, source.image), error)
            else:
                yield source, opened


def _check(pair: Pair, marks: Mapping[int, Unpainted], config: TrainConfig) -> None:
    """Raise InputError where the pair by itself could not be learnt from; all slices in use are read."""
    from napari_salt.core.paint.preprocess import window_slices
    from napari_salt.core.paint.stacks import read_paint

    (stack,) = training_stacks([pair], config.plane, [marks])
    painted = {each.index for each in read_paint([stack], config).slices}
    for index in sorted(painted | set(window_slices(stack.image.shape[0]))):
        np.asarray(stack.image[index])
