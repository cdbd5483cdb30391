"""What a written file can hold of an image's geometry and of its labels."""

from __future__ import annotations

from pathlib import Path

from napari_salt.io._stack import Stack
from napari_salt.io._table import FORMATS, Fact, format_to_read, format_to_write, offered
from napari_salt.terms.errors import InputError

__all__ = ["check_holds", "not_kept"]


def check_holds(path: Path, like: Stack) -> None:
    """Refuse a format that cannot hold labels of the image `like`, before any work.

    Raises
    ------
    InputError
        If there are more slices or time points than a file at `path` can have.
    """
    written = format_to_write(path)
    n_slices = len(like.data)
    if written.most_slices is not None and n_slices > written.most_slices:
        problem = f"{written.name} holds one slice, and {like.source} has {n_slices}"
    elif like.frames > 1 and not written.has_time:
        problem = f"{written.name} holds no time series, and {like.source} has {like.frames} time points"
    elif written.only_of and format_to_read(like.source).name not in written.only_of:
        problem = (
            f"a {written.name} segmentation belongs to a {written.name} image, and {like.source} is none"
        )
    else:
        problem = written.unfit(like) if written.unfit else ""
    if problem:
        raise InputError(f"{path}: {problem}: write {offered()[0]} or another format")


def not_kept(path: Path, like: Stack) -> str:
    """Say which part of the geometry of `like` a file at `path` cannot hold, or give ""."""
    written = format_to_write(path)
    kept = written.keeps
    if not written.keeps_size and (like.spacing is not None or like.affine is not None):
        where = "" if like.affine is None and like.origin is None else ", position and orientation"
        return (
            f"{path} does not keep the voxel size{where} of {like.source} ({like.geometry}); write "
            f"{_suffix_that_keeps('orientation')} to keep them"
        )
    if like.affine is not None or like.origin is not None:
        needed: Fact = "position" if like.affine is None else "orientation"
        lost = "position" if like.affine is None else "position and orientation"
        if needed not in kept:
            return (
                f"{path} keeps the voxel size, but not the {lost} of {like.source} ({like.geometry}); write "
                f"{_suffix_that_keeps(needed)} to keep them"
            )
    several = len(like.data) > like.frames
    if several and like.spacing is not None and like.spacing[0] is None and "unknown distance" not in kept:
        return (
            f"{path} must name a distance between slices, which {like.source} does not tell: it says "
            f"1 {like.unit}; write {_suffix_that_keeps('unknown distance')} to leave it open"
        )
    return ""


def _suffix_that_keeps(fact: Fact) -> str:
    return next(each.suffixes[-1] for each in FORMATS.values() if fact in each.keeps)
