"""A folder of adapters: listing, searching, adding and removing them; imports no torch."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import platformdirs
from safetensors import SafetensorError, deserialize

from napari_salt.terms.card import AdapterCard, class_names
from napari_salt.terms.errors import AdapterError, InputError
from napari_salt.terms.files import private_folder, write_adapter_file
from napari_salt.terms.text import printable, reason, unpathed

__all__ = ["Entry", "Library", "library_folder"]

logger = logging.getLogger(__name__)

ENDING, SHORT_ENDING = ".salt.safetensors", ".safetensors"
MAX_NAME = 100


def library_folder() -> Path:
    """Folder of the user's adapters: ``NAPARI_SALT_LIBRARY`` if it is set, else in the user's data folder."""
    chosen = os.environ.get("NAPARI_SALT_LIBRARY")
    return Path(chosen) if chosen else Path(platformdirs.user_data_dir("napari-salt", False)) / "adapters"


@dataclass(frozen=True)
class Entry:
    """An adapter of the library: its name there, its file, and its metadata."""

    name: str
    path: Path
    card: AdapterCard

    @property
    def mean_dice(self) -> float | None:
        """Mean of the held-out Dice of its classes, if it could be scored."""
        dice = list(self.card.held_out_dice.values())
        return sum(dice) / len(dice) if dice else None

    def matches(self, words: Sequence[str]) -> bool:
        """Whether all of the words occur in its name, classes, base or texts; case does not matter."""
        card = self.card
        texts = (self.name, card.name, card.description, card.author, card.license, card.base_model)
        text = "\n".join((*texts, *(info.name for info in card.classes))).casefold()
        return all(word.casefold() in text for word in words)

    @property
    def line(self) -> str:
        """One line that says what it is."""
        card, size, dice = self.card, self.card.preprocess.pixel_size, self.mean_dice
        facts = (
            class_names(card.shown_classes),
            card.base_model,
            f"{size:g} um pixels" if size else "pixel size unknown",
            f"Dice {dice:.2f}" if dice is not None else "not scored",
            f"by {card.author}" if card.author else "",
            card.license,
            card.description.partition("\n")[0],
        )
        return f"{self.name}: " + "; ".join(fact for fact in facts if fact)


class Library:
    """The adapters in a folder.

    Parameters
    ----------
    folder
        By default `library_folder`. It is made when the first adapter is added.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or library_folder()

    def entries(self, words: Sequence[str] = ()) -> list[Entry]:
        """Adapters that match all `words`, by name; a file that is none is left out, with a warning."""
        entries = []
        for path in self._files():
            try:
                entry = Entry(_name_of(path), path, AdapterCard.read(path))
            except AdapterError as error:
                logger.warning("%s", error)
                continue
            if entry.matches(words):
                entries.append(entry)
        return entries

    def find(self, name: str) -> Path | None:
        """File of the adapter of that name, if there is one."""
        return next((path for path in self._files() if _name_of(path) == name), None)

    def entry(self, name: str) -> Entry:
        """The adapter of that name.

        Raises
        ------
        AdapterError
            If there is none, or its file is damaged.
        """
        path = self.find(name)
        if path is None:
            known = ", ".join(_name_of(file) for file in self._files()) or "none"
            raise AdapterError(f"there is no adapter {name!r} in {self.folder}; there are: {known}")
        return Entry(name, path, AdapterCard.read(path))

    def add(self, content: bytes, name: str, *, replace: bool = False) -> Entry:
        """Keep an adapter under a name.

        Parameters
        ----------
        content
            The adapter's file.
        name
            Its name; characters that file systems interpret are replaced.
        replace
            Whether another adapter of that name may be replaced.

        Raises
        ------
        AdapterError
            If it is no adapter, or cannot be written.
        InputError
            If another adapter has that name, or the folder cannot be made.
        """
        card = AdapterCard.from_bytes(content)
        try:
            deserialize(content)  # type: ignore[no-untyped-call] # the tensors fill the file, no more and no less
        except SafetensorError as error:
            raise AdapterError(
                f"{name} is not a readable adapter file ({reason(error)}); get a fresh copy"
            ) from error
        name = unpathed(printable(name)).strip(" .")[:MAX_NAME]
        if not name:
            raise InputError("the adapter has no name; give one with --name")
        before = self.find(name)
        if before is not None and not replace and _digest(before.read_bytes()) != _digest(content):
            raise InputError(
                f"{self.folder} holds another adapter of the name {name!r}; give a new one with --name, or "
                "--replace it"
            )
        try:
            private_folder(self.folder)
        except OSError as error:
            raise InputError(
                f"the folder {self.folder} cannot be made ({error.strerror}); choose another by "
                "NAPARI_SALT_LIBRARY"
            ) from error
        path = write_adapter_file(before or self.folder / f"{name}{ENDING}", content)
        return Entry(name, path, card)

    def remove(self, name: str) -> Path:
        """Delete the file of the adapter of that name; returns where it was.

        Raises
        ------
        AdapterError
            If there is none, or it cannot be deleted.
        """
        path = self.find(name)
        if path is None:
            return self.entry(name).path  # raises
        try:
            path.unlink()
        except OSError as error:
            raise AdapterError(f"{path} cannot be removed: {error.strerror}; delete it by hand") from error
        return path

    def _files(self) -> Iterator[Path]:
        return iter(
            sorted(path for path in self.folder.glob(f"*{SHORT_ENDING}") if not path.name.startswith("."))
        )


def _name_of(path: Path) -> str:
    return path.name.removesuffix(SHORT_ENDING).removesuffix(".salt")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
