"""A project: images to learn from, images to segment, settings, and where results go. Imports no torch."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from napari_salt.terms.card import ClassInfo
from napari_salt.terms.config import SegmentConfig, TrainConfig
from napari_salt.terms.errors import InputError, SaltError
from napari_salt.terms.files import whole_file
from napari_salt.terms.project_parts import (
    OF_IMAGES,
    PATHS,
    ProjectAdapter,
    ProjectImages,
    ProjectPair,
    ProjectResults,
    as_texts,
)
from napari_salt.terms.registry import BASES, split_size
from napari_salt.terms.tables import chosen, config_of, entries_of, keys_of, path_from, row_of, set_in, shown
from napari_salt.terms.text import reason

__all__ = ["Project"]

T = TypeVar("T")

TABLES = ("output", "images", "train", "segment", "classes", "adapter", "training", "segmenting", "results")
COLOURLESS = "#000000"
"""Stands for the colour of a class while only its name is checked."""
HEAD = "# A project of napari-salt: `napari-salt run {name}` carries it out (docs/project.md).\n"


@dataclass(frozen=True)
class Project:
    """Many images, one adapter, one table and one report (see ``docs/project.md``).

    Parameters
    ----------
    output
        Folder of all results; it is made if it is missing.
    train
        Images to learn from, with their labels.
    segment
        Images to segment.
    training
        How to train; names and colours of the classes are in it.
    segmenting
        How to segment.
    adapter
        The adapter's file.
    results
        What is written.
    folder
        Where relative paths begin.

    Raises
    ------
    InputError
        If there is nothing to do, or nothing to segment with.
    """

    output: str
    train: tuple[ProjectPair, ...] = ()
    segment: tuple[ProjectImages, ...] = ()
    training: TrainConfig = field(default_factory=TrainConfig)
    segmenting: SegmentConfig = field(default_factory=SegmentConfig)
    adapter: ProjectAdapter = field(default_factory=ProjectAdapter)
    results: ProjectResults = field(default_factory=ProjectResults)
    folder: Path = Path()

    def __post_init__(self) -> None:
        as_texts(self)
        if not self.train and not self.segment:
            raise InputError("there are no images; add [[train]] (image and labels) or [[segment]] (images)")
        if not self.train and self.adapter.file is None:
            raise InputError("there is no adapter; name one by file in [adapter], or add [[train]]")

    @classmethod
    def load(cls, path: str | Path) -> Project:
        """Read a project file.

        Raises
        ------
        InputError
            If the file is missing or no TOML, or a key or a value is wrong; it is named with the remedy.
        """
        path = Path(path)
        try:
            given = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror}); check the path") from error
        except ValueError as error:
            raise InputError(f"{path} is no valid TOML ({reason(error)}); see docs/project.md") from error
        try:
            return _project(given, path.parent)
        except (SaltError, ValueError) as error:
            raise InputError(f"{path}: {error}") from error

    def save(self, path: str | Path) -> Path:
        """Write a project file, whole or not at all; relative paths begin at its folder then.

        Raises
        ------
        InputError
            If the file cannot be written.
        """
        import tomli_w

        path = Path(path)
        text = HEAD.format(name=path.name) + tomli_w.dumps(_as_table(_moved(self, path.parent)))
        try:
            with whole_file(path) as file:
                file.write(text.encode())
        except OSError as error:
            raise InputError(f"{path} cannot be written ({error.strerror}); choose another folder") from error
        return path

    def path(self, text: str) -> Path:
        """A path of the project, from where the program runs."""
        return self.folder / text

    @property
    def output_folder(self) -> Path:
        """The folder of all results."""
        return self.path(self.output)

    @property
    def adapter_file(self) -> Path:
        """The adapter's file."""
        file = self.adapter.file
        return self.output_folder / "adapter.salt.safetensors" if file is None else self.path(file)

    @property
    def texts(self) -> dict[str, str]:
        """Texts for the adapter's file, by its fields."""
        about = self.adapter
        given = {"name": about.name, "author": about.author, "license": about.license}
        return {name: text for name, text in {**given, "description": about.note}.items() if text}


def _with_base(config: TrainConfig, folder: Path) -> TrainConfig:
    """`config` with a base that is a file of the project's folder as a path from where the program runs."""
    name, size = split_size(config.base)
    if name in BASES or not (folder / name).is_file():
        return config
    return replace(config, base=str(folder / name) + (f"@{size}" if size else ""))


def _with_classes(config: TrainConfig, given: Sequence[tuple[str, Any]]) -> TrainConfig:
    """`config` with names and colours of the classes."""
    names: dict[int, str] = {}
    colors: dict[int, str] = {}
    for where, entry in given:
        values = keys_of(where, entry, ("value", "name", "color"))
        value = values.get("value")
        if type(value) is not int or value < 1:
            raise InputError(f"{where}: value is {shown(value)}; give the label value, a number from 1")
        if value in names:
            raise InputError(f"{where}: value {value} comes twice; leave one out")
        info = ClassInfo(value, values.get("name", f"class {value}"), values.get("color", COLOURLESS))
        names[value] = info.name
        if "color" in values:
            colors[value] = info.color
    return replace(config, class_names=names, class_colors=colors)


def _project(given: Mapping[str, Any], folder: Path) -> Project:
    given = keys_of("the file", given, TABLES)
    if not isinstance(given.get("output"), str):
        raise InputError(f"output is {shown(given.get('output'))}; give a folder, such as output = 'results'")
    shared = keys_of("images", given.get("images", {}), OF_IMAGES)
    training = config_of("training", given.get("training", {}), TrainConfig())
    pairs, images = entries_of(given, "train", "image"), entries_of(given, "segment", "images")
    return Project(
        output=given["output"],
        train=tuple(row_of(ProjectPair, where, entry, shared) for where, entry in pairs),
        segment=tuple(row_of(ProjectImages, where, entry, shared) for where, entry in images),
        training=_with_classes(_with_base(training, folder), entries_of(given, "classes", "name")),
        segmenting=config_of("segmenting", given.get("segmenting", {}), SegmentConfig()),
        adapter=row_of(ProjectAdapter, "adapter", given.get("adapter", {})),
        results=row_of(ProjectResults, "results", given.get("results", {})),
        folder=folder,
    )


def _moved(project: Project, folder: Path) -> Project:
    """The project with paths that begin at `folder`."""
    return replace(
        project,
        output=path_from(folder, project.path(project.output)),
        train=tuple(_with_paths(each, project, folder) for each in project.train),
        segment=tuple(_with_paths(each, project, folder) for each in project.segment),
        adapter=_with_paths(project.adapter, project, folder),
        folder=folder,
    )


def _with_paths(entry: T, project: Project, folder: Path) -> T:
    names = [each.name for each in fields(entry) if each.name in PATHS]  # type: ignore[arg-type]
    given = {name: getattr(entry, name) for name in names}
    paths = {name: path_from(folder, project.path(text)) for name, text in given.items() if text is not None}
    return replace(entry, **paths)  # type: ignore[type-var]


def _as_table(project: Project) -> dict[str, Any]:
    """What the file holds: all that is not as by default."""
    training, classes = project.training, []
    for value in sorted({*training.class_names, *training.class_colors}):
        name = training.class_names.get(value, f"class {value}")
        color = training.class_colors.get(value)
        classes.append({"value": value, "name": name, **({"color": color} if color else {})})
    table: dict[str, Any] = {
        "output": project.output,
        "train": [set_in(each) for each in project.train],
        "segment": [set_in(each) for each in project.segment],
        "classes": classes,
        "adapter": set_in(project.adapter),
        "training": chosen(replace(training, class_names={}), project.folder),
        "segmenting": chosen(project.segmenting, project.folder),
        "results": set_in(project.results),
    }
    return {name: value for name, value in table.items() if value}
