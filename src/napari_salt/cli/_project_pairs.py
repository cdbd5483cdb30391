"""Images of a project to learn from: which of them can be, and what all of them say together."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from napari_salt.cli._commands import Pair, named, training_stacks
from napari_salt.cli._project_files import PairSource, pairs_of
from napari_salt.terms.config import TrainConfig
from napari_salt.terms.errors import InputError, SaltError
from napari_salt.terms.project import Project
from napari_salt.terms.stack import common_group

__all__ = ["FAULTS", "config_for", "usable_pairs"]

FAULTS = (SaltError, MemoryError, OSError)
"""What is reported of a file, while the work goes on with the others."""


def usable_pairs(
    project: Project, fault: Callable[[str, BaseException], None]
) -> Iterator[tuple[PairSource, Pair]]:
    """Give the pairs that can be learnt from; `fault` is called with the name and the error of the others."""
    for name, found in pairs_of(project):
        if isinstance(found, InputError):
            fault(name, found)
            continue
        for source in found:
            try:
                opened = source.open()
                _check_pair(opened, project.training)
            except FAULTS as error:
                fault(os.path.relpath(source.image, project.folder).replace(os.sep, "/"), error)
            else:
                yield source, opened


def _check_pair(pair: Pair, config: TrainConfig) -> None:
    """Raise InputError where the pair by itself could not be learnt from; all slices in use are read."""
    from napari_salt.core.paint.preprocess import window_slices
    from napari_salt.core.paint.stacks import read_paint

    stacks = training_stacks([pair], config.plane)
    painted = {each.index for each in read_paint(stacks, config).slices}
    for index in sorted(painted | set(window_slices(stacks[0].image.shape[0]))):
        np.asarray(stacks[0].image[index])


def config_for(config: TrainConfig, pairs: Sequence[Pair]) -> TrainConfig:
    """`config` with the time points of the images, and the names that label files give where it has none."""
    of_files = named(TrainConfig(), [labels for _, labels in pairs])
    return replace(
        config,
        group=common_group([(str(image.source), image.group) for image, _ in pairs]),
        class_names={**of_files.class_names, **config.class_names},
        class_colors={**of_files.class_colors, **config.class_colors},
    )
