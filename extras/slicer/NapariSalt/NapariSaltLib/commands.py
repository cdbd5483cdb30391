"""Command lines of napari-salt. For Slicer's Python (3.9 and newer), without Slicer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["PLANES", "UNPAINTED", "Segmenting", "Training", "check_command", "program"]

PLANES = {"axial": "axial (red)", "sagittal": "sagittal (yellow)", "coronal": "coronal (green)"}
"""Planes that are painted, and what the panel calls them."""
UNPAINTED = {
    "background": "background: painted slices are complete",
    "ignore": "unknown: there are strokes only, and the first segment is background",
}
"""What a voxel without a segment means on a painted slice, and what the panel calls it."""


@dataclass(frozen=True)
class Training:
    """A training of an adapter.

    Parameters
    ----------
    image, labels
        The volume (.nrrd) and the segmentation (.seg.nrrd).
    adapter
        The file to write (.safetensors).
    minutes
        How long to train.
    plane
        Which planes are painted, one of `PLANES`.
    unpainted
        One of `UNPAINTED`.
    go_on
        Whether training goes on from `adapter`, which is there.
    more
        Further arguments of ``napari-salt train``.
    """

    image: Path
    labels: Path
    adapter: Path
    minutes: float = 4.0
    plane: str = "axial"
    unpainted: str = "background"
    go_on: bool = False
    more: tuple[str, ...] = ()

    def command(self, python: str) -> list[str]:
        """The command line for a Python that has napari-salt."""
        arguments = ["train", str(self.image), str(self.labels), "--out", str(self.adapter)]
        arguments += ["--minutes", f"{self.minutes:g}", "--plane", self.plane, "--unpainted", self.unpainted]
        if self.go_on:
            arguments += ["--init", str(self.adapter)]
        return [*program(python), *arguments, *self.more, "--json"]


@dataclass(frozen=True)
class Segmenting:
    """A segmentation of a volume.

    Parameters
    ----------
    image, adapter
        The volume (.nrrd) and the adapter (.safetensors).
    out
        The file to write (.seg.nrrd).
    more
        Further arguments of ``napari-salt segment``.
    """

    image: Path
    adapter: Path
    out: Path
    more: tuple[str, ...] = ()

    def command(self, python: str) -> list[str]:
        """The command line for a Python that has napari-salt."""
        arguments = ["segment", str(self.image), "--adapter", str(self.adapter), "--out", str(self.out)]
        return [*program(python), *arguments, *self.more, "--json"]


def check_command(python: str) -> list[str]:
    """The command line that prints the version of napari-salt."""
    return [*program(python), "--version"]


def program(python: str) -> list[str]:
    """How napari-salt is called by a Python that has it."""
    return [python, "-m", "napari_salt"]
