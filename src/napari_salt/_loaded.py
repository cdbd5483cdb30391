"""An adapter as the session holds it: the file's bytes, without torch."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from napari_salt.core.card import AdapterCard

__all__ = ["LoadedAdapter"]


@dataclass(frozen=True)
class LoadedAdapter:
    """An adapter's file in memory.

    Parameters
    ----------
    content
        The file's bytes.
    card
        What it tells of itself.
    path
        Where it was loaded from or saved to; None while it is only autosaved.
    """

    content: bytes
    card: AdapterCard
    path: Path | None = None

    @property
    def digest(self) -> str:
        """Hash of the content."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def title(self) -> str:
        """A short name for layers and windows."""
        if self.card.name:
            return self.card.name
        if self.path is not None:
            return self.path.name.removesuffix(".safetensors").removesuffix(".salt")
        return " ".join(info.name for info in self.card.classes[:3])
