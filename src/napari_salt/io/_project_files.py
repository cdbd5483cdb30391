"""The files that a project means: its pairs, the images to segment, and names for what is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import tifffile

from napari_salt.io import Stack, read_labels, read_stack
from napari_salt.io._paths import is_pattern, root_of, split_inner
from napari_salt.io._table import FORMATS, format_to_read, format_to_write, is_stack
from napari_salt.terms.errors import InputError
from napari_salt.terms.project import Project
from napari_salt.terms.project_parts import Opening, ProjectImages, ProjectPair, opening_of
from napari_salt.terms.slice_ranges import check_slices
from napari_salt.terms.tables import path_from
from napari_salt.terms.text import shortened

__all__ = ["PairSource", "Source", "ending_for", "made_folder", "pairs_of", "seen_from", "sources_of"]

STACK_FOLDERS = ("OME-Zarr", "DICOM series")
"""Formats of folders that are one image."""
MOST_NAMED = 200


@dataclass(frozen=True)
class Source:
    """An image to segment.

    Parameters
    ----------
    path
        Where it is.
    opening
        How it is opened.
    name
        What its segmentation is called, without ending.
    """

    path: Path
    opening: Opening
    name: str

    def open(self) -> Stack:
        """Open the image.

        Raises
        ------
        InputError
            As `read_stack`.
        """
        return _opened(self.path, self.opening)


@dataclass(frozen=True)
class PairSource:
    """An image to learn from, and its labels."""

    image: Path
    labels: Path
    entry: ProjectPair

    def open(self) -> tuple[Stack, Stack]:
        """Open both.

        Raises
        ------
        InputError
            As `read_stack` and `read_labels`.
        """
        image = _opened(self.image, self.entry)
        check_slices(self.entry.marks, len(image.data), self.image)
        axes = (
            None if self.entry.axes is None else "".join(a for a in self.entry.axes.upper() if a in "TZNYX")
        )
        return image, read_labels(self.labels, axes=axes, like=image, resample=self.entry.resample)


def _opened(path: Path, how: Opening) -> Stack:
    stack = read_stack(path, axes=how.axes, channel=how.channel, series=how.series)
    return replace(stack, true_pixel_size=how.in_plane)


def pairs_of(project: Project) -> Iterator[tuple[str, list[PairSource] | InputError]]:
    """Give each entry of images to learn from, as it is written, with its pairs, or what is wrong with it."""
    for entry in project.train:
        try:
            yield entry.image, list(_pairs(project, entry))
        except InputError as error:
            yield entry.image, error


def _pairs(project: Project, entry: ProjectPair) -> Iterator[PairSource]:
    image, labels = project.path(entry.image), project.path(entry.labels)
    if "*" not in entry.labels:
        yield PairSource(image, labels, entry)
        return
    if entry.image.count("*") != 1 or entry.labels.count("*") != 1:
        raise InputError(
            f"{entry.image} and {entry.labels} have not one * each; give both one, or name single files"
        )
    before, after = str(image).split("*")
    found = 0
    for path in _in_order(root_of(image).glob(_wild(image))):
        same = str(path)[len(before) : len(str(path)) - len(after)]
        partner = Path(str(labels).replace("*", same))
        if partner.exists() and partner != path:
            found += 1
            yield PairSource(path, partner, entry)
    if not found:
        raise InputError(f"no image {entry.image} has labels {entry.labels}; check both patterns")


def sources_of(project: Project) -> Iterator[tuple[str, list[Source] | InputError]]:
    """Give each entry of images to segment, as it is written, with its images, or what is wrong with it.

    Raises
    ------
    InputError
        If two images would be written to the same file.
    """
    known: dict[str, Source] = {}
    for entry in project.segment:
        try:
            found = _sources(project, entry)
        except InputError as error:
            yield entry.images, error
            continue
        fresh = []
        for source in found:
            other = known.setdefault(source.name.lower(), source)
            if other is source:
                fresh.append(source)
            elif other.path != source.path or opening_of(other.opening) != opening_of(source.opening):
                raise InputError(
                    f"{other.path} and {source.path} would both be written as {source.name}; rename one, "
                    "name them by a pattern with the folders in it, such as */image.tif, or make two projects"
                )
        yield entry.images, fresh


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


def _sources(project: Project, entry: ProjectImages) -> list[Source]:
    path = project.path(entry.images)
    if entry.one_stack or not (is_pattern(path) or path.is_dir()) or _is_one(path):
        stem = root_of(path).name if is_pattern(path) else _stem(path)
        return [Source(path, entry, stem)]
    if is_pattern(path):
        root, found = root_of(path), list(root_of(path).glob(_wild(path)))
        found = [each for each in found if each.is_file() or _is_one(each)]
    else:
        root, found = path, [each for each in path.iterdir() if is_stack(each) or _is_one(each)]
    found = [each for each in found if not each.name.startswith(".")]
    if not found:
        raise InputError(f"{path} has no images; check the path")
    return [
        Source(each, entry, "_".join((*each.relative_to(root).parent.parts, _stem(each))))
        for each in _in_order(found)
    ]


def _is_one(path: Path) -> bool:
    """Whether a folder is one image."""
    return path.is_dir() and any(FORMATS[name].recognise(path) for name in STACK_FOLDERS)


def _wild(pattern: Path) -> str:
    """The part of a pattern that has wildcards."""
    return "/".join(pattern.parts[len(root_of(pattern).parts) :])


def _in_order(paths: Iterator[Path] | Sequence[Path]) -> list[Path]:
    """In the natural order of names (2 before 10)."""
    return [Path(name) for name in tifffile.natural_sorted(map(str, paths))]


def _stem(path: Path) -> str:
    """A file's name without the ending of its format; of a dataset in a file with the dataset's name."""
    file, inner = split_inner(path)
    endings = [s for f in FORMATS.values() for s in (*f.suffixes, *f.other_suffixes, *f.read_suffixes)]
    fitting = [ending for ending in endings if file.name.lower().endswith(ending)]
    stem = file.name[: -max(map(len, fitting))] if fitting else file.name
    return shortened("_".join((stem, *Path(inner).parts)), MOST_NAMED) or "image"


def ending_for(image: Stack, wanted: str | None) -> str:
    """Ending of the segmentation of `image`: as `wanted`, else that of the image where it can be written.

    Raises
    ------
    InputError
        If no format that can be written has the ending.
    """
    if wanted is not None:
        _ = format_to_write(Path(f"labels{wanted}"))
        return wanted
    own = format_to_read(image.source)
    if own.planes is not None and own.suffixes and not own.only_of and own.most_slices is None:
        name = image.source.name.lower()
        return next((s for s in own.suffixes if name.endswith(s)), own.suffixes[-1])
    return ".tif" if image.affine is None else ".nii.gz"


def seen_from(project: Project, path: Path) -> str:
    """A path as seen from the project's folder, with slashes."""
    return path_from(project.folder, path)
