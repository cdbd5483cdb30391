"""An adapter as the session holds it: the file's bytes, without torch."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from napari_salt.terms.card import AdapterCard
from napari_salt.terms.text import printable, unpathed

__all__ = ["LoadedAdapter"]

MAX_LAYER_TITLE = 60


@dataclass(frozen=True)
class LoadedAdapter:
    """An adapter's file in memory.

    Parameters
    ----------
    content
        The file's bytes.
    card
        Its metadata.
    path
        Where it was loaded from or saved to; None while it is only autosaved.
    """

    content: bytes
    card: AdapterCard
    path: Path | None = None

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the content, in hexadecimal."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def layer_title(self) -> str:
        """The title, shortened, without characters that napari, Qt or a file system would interpret."""
        return unpathed(self.title)[:MAX_LAYER_TITLE]

    @property
    def title(self) -> str:
        """A short name to show: the adapter's name, else its file's, else its first classes."""
        if self.card.name:
            return self.card.name
        if self.path is not None:
            return printable(self.path.name).removesuffix(".safetensors").removesuffix(".salt")
        return " ".join(info.name for info in self.card.shown_classes[:3])
