"""What of a project is done, and from which inputs; kept in its output folder."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from napari_salt.io._write import check_folder
from napari_salt.results.table import write_text
from napari_salt.terms.errors import InputError

__all__ = ["Done", "ProjectState", "digest_of", "plain_values"]

logger = logging.getLogger(__name__)

NAME = ".napari-salt.json"


@dataclass(frozen=True)
class Done:
    """What has become of an image.

    Parameters
    ----------
    inputs
        All that its segmentation depends on; empty while it is in work.
    output
        Name, size and time of what was written.
    measured
        All that its rows depend on besides.
    rows
        Of the table.
    slices, seconds
        How many slices were segmented, and how long it took.
    """

    inputs: Mapping[str, Any] = field(default_factory=dict)
    output: list[Any] = field(default_factory=list)
    measured: Mapping[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    slices: int = 0
    seconds: float = 0.0


class ProjectState:
    """The state's file in an output folder; each change is written at once, whole or not at all.

    Parameters
    ----------
    folder
        The output folder.

    Attributes
    ----------
    is_new
        Whether no project has been carried out with this output folder.
    images
        What is done, by the image's path as seen from the project.
    training
        What the adapter was trained on; empty while it is in work; None if it never was.
    adapter
        Digest of the adapter's file when its training was over.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / NAME
        self.is_new = not self._file.is_file()
        self.images: dict[str, Done] = {}
        self.training: Mapping[str, Any] | None = None
        self.adapter = ""
        if not self.is_new:
            self._read()

    def _read(self) -> None:
        try:
            known = json.loads(self._file.read_text(encoding="utf-8"))
            self.images = {name: Done(**about) for name, about in known["images"].items()}
            self.training, self.adapter = known["training"], str(known["adapter"])
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            self.images, self.training, self.adapter = {}, None, ""
            logger.warning("%s is damaged; it is not known what of the project is done", self._file)

    def begin_training(self) -> None:
        """Note that the adapter's file is being made."""
        self.training = {}
        self._write()

    def trained(self, inputs: Mapping[str, Any], adapter: Path) -> None:
        """Note what the adapter at `adapter` was trained on."""
        self.training, self.adapter = inputs, digest_of(adapter)
        self._write()

    def note(self, image: str, done: Done) -> None:
        """Note what has become of an image."""
        self.images[image] = done
        self._write()

    def _write(self) -> None:
        check_folder(self._file)
        images = {name: asdict(done) for name, done in self.images.items()}
        known = {"training": self.training, "adapter": self.adapter, "images": images}
        write_text(self._file, json.dumps(known, indent=1))


def digest_of(path: Path) -> str:
    """SHA-256 of a file; "" if it is not there.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    if not path.exists():
        return ""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check it") from error


def plain_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as JSON gives them back, so that they can be compared."""
    plain: dict[str, Any] = json.loads(json.dumps(values, default=str))
    return plain
