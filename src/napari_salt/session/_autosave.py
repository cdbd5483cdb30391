"""Autosaved paint (saved when a training starts) and adapters (saved while it runs) on disk."""

from __future__ import annotations

import contextlib
import json
import os
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np
import platformdirs

from napari_salt.session._flat_stack import PaintSnapshot
from napari_salt.terms.config import Unpainted
from napari_salt.terms.errors import InputError
from napari_salt.terms.files import private_folder, whole_file, write_adapter_file

__all__ = ["Autosave", "Saved"]

KEPT = 20
PAINT, ADAPTER = ".paint.npz", ".salt.safetensors"


UNREADABLE = (OSError, ValueError, LookupError, EOFError, TypeError, BadZipFile, zlib.error, RecursionError)
"""What reading a damaged .npz file raises."""


@dataclass(frozen=True)
class Saved:
    """One autosaved file: its kind, when it was written, the name of its image layer, and its path."""

    kind: Literal["paint", "adapter"]
    time: datetime
    image: str
    path: Path


class Autosave:
    """A folder with the latest paint and adapters; the oldest beyond `KEPT` files are deleted.

    Parameters
    ----------
    folder
        By default the folder `autosave` in the user's data folder of napari-salt; the environment
        variable ``NAPARI_SALT_AUTOSAVE`` names another.
    """

    def __init__(self, folder: Path | None = None) -> None:
        default = Path(platformdirs.user_data_dir("napari-salt", appauthor=False)) / "autosave"
        self.folder = folder or Path(os.environ.get("NAPARI_SALT_AUTOSAVE") or default)

    def paint(self, snapshot: PaintSnapshot, image: str) -> Path:
        """Save the painted slices of the image layer named `image`; give the file.

        Raises
        ------
        InputError
            If the folder cannot be made or written to.
        """
        path = self._path(image, PAINT)
        arrays = {str(index): plane for index, plane in snapshot.planes.items()}
        about = json.dumps({"shape": snapshot.shape, "marks": snapshot.marks})
        try:
            with whole_file(path) as file:
                np.savez_compressed(file, about=np.array(about), **arrays)  # type: ignore[arg-type]
        except OSError as error:
            raise InputError(
                f"the paint cannot be autosaved to {self.folder} ({error.strerror}); make room there"
            ) from error
        self._tidy()
        return path

    def adapter(self, content: bytes, image: str, path: Path | None = None) -> Path:
        """Save an adapter's bytes, over `path` if that is given; give the file.

        Raises
        ------
        InputError, AdapterError
            If the folder cannot be made, or not written to.
        """
        target = path or self._path(image, ADAPTER)
        write_adapter_file(target, content)
        self._tidy()
        return target

    def entries(self) -> list[Saved]:
        """All autosaved files, newest first."""
        found = []
        for path in self.folder.glob("*"):
            kind = next((k for k in (PAINT, ADAPTER) if path.name.endswith(k)), None)
            stamp, _, image = path.name.removesuffix(kind or "").partition(" ")
            with contextlib.suppress(ValueError):
                time = datetime.strptime(stamp, "%Y%m%d-%H%M%S-%f").astimezone()
                if kind:
                    found.append(Saved("paint" if kind == PAINT else "adapter", time, image, path))
        return sorted(found, key=lambda saved: saved.time, reverse=True)

    def load_paint(self, path: Path) -> PaintSnapshot:
        """Read autosaved paint.

        Raises
        ------
        InputError
            If the file is damaged or gone.
        """
        try:
            with path.open("rb") as content, np.load(content, allow_pickle=False) as file:
                about = json.loads(str(file["about"]))
                shape, marks = about["shape"], _marks(about.get("marks", {}))
                planes = {int(name): file[name] for name in file.files if name != "about"}
            _check_paint(shape, planes)
        except UNREADABLE as error:
            raise InputError(f"{path} is no autosaved paint ({error}); choose another") from error
        return PaintSnapshot(shape, planes, marks)

    def _path(self, image: str, suffix: str) -> Path:
        try:
            private_folder(self.folder)
        except OSError as error:
            raise InputError(
                f"the folder {self.folder} for autosaves cannot be made ({error.strerror}); set "
                "NAPARI_SALT_AUTOSAVE to a folder that can be written to"
            ) from error
        stamp = self._later_than_all(datetime.now().astimezone()).strftime("%Y%m%d-%H%M%S-%f")
        name = re.sub(r"[^\w .-]", "_", image)[:60]
        return self.folder / f"{stamp} {name}{suffix}"

    def _later_than_all(self, now: datetime) -> datetime:
        """`now`, or a moment after the last autosave, where the clock was set back: order is by time."""
        return max([now, *(saved.time + timedelta(microseconds=1) for saved in self.entries()[:1])])

    def _tidy(self) -> None:
        for saved in self.entries()[KEPT:]:
            saved.path.unlink(missing_ok=True)


def _check_paint(shape: Any, planes: Mapping[int, Any]) -> None:
    """Raise ValueError if the planes are not slices of labels of that shape."""
    if not (isinstance(shape, list) and len(shape) == 3 and all(type(side) is int for side in shape)):
        raise ValueError("its shape is not that of slices")
    for index, plane in planes.items():
        if not 0 <= index < shape[0] or list(plane.shape) != shape[1:] or plane.dtype.kind not in "iu":
            raise ValueError(f"slice {index} is not one of whole numbers in the shape {shape}")


def _marks(read: dict[str, str]) -> dict[int, Unpainted]:
    """What unpainted means by slice, from JSON."""
    known: dict[str, Unpainted] = {"background": "background", "ignore": "ignore"}
    return {int(index): known[meaning] for index, meaning in read.items()}
