"""A folder of adapters: listing, searching, adding and removing them; imports no torch."""

from __future__ import annotations

import hashlib
import itertools
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import platformdirs
from safetensors import SafetensorError, deserialize

from napari_salt.terms.card import AdapterCard, class_names
from napari_salt.terms.errors import AdapterError, InputError
from napari_salt.terms.files import private_folder, whole_file, write_adapter_file
from napari_salt.terms.text import printable, reason, unpathed

__all__ = ["Entry", "Library", "library_folder"]

logger = logging.getLogger(__name__)

ENDING, SHORT_ENDING, PICTURE_ENDING = ".salt.safetensors", ".safetensors", ".png"
MAX_NAME = 100
MAX_PICTURE_BYTES = 300_000


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
    def picture(self) -> Path | None:
        """A PNG file of what it has found in a slice, beside its own; None: there is none, or it is large."""
        path = _picture_of(self.path)
        try:
            return path if path.stat().st_size <= MAX_PICTURE_BYTES else None
        except OSError:
            return None

    @property
    def score(self) -> str:
        """Its mean held-out Dice, in words."""
        return "not scored" if self.mean_dice is None else f"Dice {self.mean_dice:.2f}"

    @property
    def scale(self) -> str:
        """The pixel size that it was trained on, in words."""
        size = self.card.preprocess.pixel_size
        return f"{size:g} um pixels" if size else "pixel size unknown"

    @property
    def line(self) -> str:
        """One line that says what it is."""
        card = self.card
        facts = (
            class_names(card.shown_classes),
            card.base_model,
            self.scale,
            self.score,
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
        name = _stored(name)
        if not name:
            raise InputError("the adapter has no name; give one with --as")
        before, another = self.find(name), self.holds_another(content, name)
        if another and not replace:
            raise InputError(
                f"{self.folder} holds another adapter of the name {name!r}; give a new one with --as, or "
                "--replace it"
            )
        try:
            private_folder(self.folder)
        except OSError as error:
            raise InputError(
                f"the folder {self.folder} cannot be made ({error.strerror}); choose another by "
                "NAPARI_SALT_LIBRARY"
            ) from error
        if before is not None and another:
            _picture_of(before).unlink(missing_ok=True)
        path = write_adapter_file(before or self.folder / f"{name}{ENDING}", content)
        return Entry(name, path, card)

    def holds_another(self, content: bytes, name: str) -> bool:
        """Whether an adapter with another content has that name."""
        before = self.find(_stored(name))
        return before is not None and _digest(before.read_bytes()) != _digest(content)

    def free_name(self, name: str) -> str:
        """`name` with a number behind it that no adapter has."""
        stem = _stored(name)[: MAX_NAME - 5]
        return next(free for n in itertools.count(2) if self.find(free := f"{stem} {n}") is None)

    def illustrate(self, entry: Entry, picture: bytes) -> None:
        """Keep a picture of what an adapter has found, beside its file.

        Parameters
        ----------
        entry
            The adapter.
        picture
            Content of a PNG file of at most `MAX_PICTURE_BYTES`.

        Raises
        ------
        InputError
            If it is larger, or cannot be written.
        """
        if len(picture) > MAX_PICTURE_BYTES:
            raise InputError(f"a picture has {len(picture)} bytes; give one of at most {MAX_PICTURE_BYTES}")
        path = _picture_of(entry.path)
        try:
            with whole_file(path) as file:
                file.write(picture)
        except OSError as error:
            raise InputError(f"{path} cannot be written ({error.strerror}); make room there") from error

    def remove(self, name: str) -> Path:
        """Delete the file of the adapter of that name, and its picture; returns where it was.

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
            _picture_of(path).unlink(missing_ok=True)
        except OSError as error:
            raise AdapterError(f"{path} cannot be removed: {error.strerror}; delete it by hand") from error
        return path

    def _files(self) -> Iterator[Path]:
        found = (path for path in self.folder.glob(f"*{SHORT_ENDING}") if not path.name.startswith("."))
        return iter(sorted(found, key=_name_of))


def _name_of(path: Path) -> str:
    return path.name.removesuffix(SHORT_ENDING).removesuffix(".salt")


def _stored(name: str) -> str:
    return unpathed(printable(name)).strip(" .")[:MAX_NAME].rstrip(" .")


def _picture_of(path: Path) -> Path:
    return path.with_name(f"{_name_of(path)}{PICTURE_ENDING}")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
