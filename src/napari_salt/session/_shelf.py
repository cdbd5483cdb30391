"""The library of adapters in the session: searching, sorting by fit, opening, adding, removing. No Qt."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_salt.engine._news import Compared, Failed
from napari_salt.engine._requests import Compare
from napari_salt.session._adapter_file import LoadedAdapter
from napari_salt.session._guard import connect
from napari_salt.session._thumbnail import thumbnail
from napari_salt.terms.card import described
from napari_salt.terms.errors import SaltError
from napari_salt.terms.library import Entry, Library
from napari_salt.terms.text import shortened

if TYPE_CHECKING:
    from pathlib import Path

    from napari_salt.session._image_source import ImageSource
    from napari_salt.session._previewing import Previewing
    from napari_salt.session._state import SessionState

__all__ = ["Shelf", "Shown"]

REPLACE, BOTH, REMOVE = "Replace", "Keep both", "Remove"


@dataclass(frozen=True)
class Shown:
    """An adapter of the library as it is listed.

    Parameters
    ----------
    entry
        What it is.
    misfit
        How unlike the open image its training stack is (0: alike; infinite: it cannot be used); None: not
        known.
    why
        What that is made of, or "".
    in_use
        Whether it is the session's adapter.
    """

    entry: Entry
    misfit: float | None
    why: str
    in_use: bool

    @property
    def fit(self) -> str:
        """How well it fits the open image, in words, or ""."""
        if self.misfit is None:
            return ""
        return f"misfit {self.misfit:.2f}" if math.isfinite(self.misfit) else "does not fit this image"


class Shelf:
    """The adapters of the library, those that fit the open image best first.

    Parameters
    ----------
    session
        The session.
    previewing
        It has what an adapter finds, for its picture.
    load
        Loads an adapter's file into the session; True if it is loaded.
    saved
        Told of the session's adapter once it has a file.

    Attributes
    ----------
    words
        Only adapters with all of these words are listed.
    """

    def __init__(
        self,
        session: SessionState,
        previewing: Previewing,
        load: Callable[[Path], bool],
        saved: Callable[[LoadedAdapter], None],
    ) -> None:
        self._session, self._previewing = session, previewing
        self._load, self._saved = load, saved
        self._library = Library()
        self._entries: list[Entry] = []
        self._found: dict[str, tuple[float, str]] = {}
        self._of: ImageSource | None = None
        self._asked: tuple[ImageSource, str] | None = None
        self._open = False
        self.words = ""
        connect(session.changed.image, self._compare)
        connect(session.changed.job, self._compare)
        connect(session.changed.preview, self._on_preview)

    @property
    def folder(self) -> str:
        """Where the adapters are."""
        return str(self._library.folder)

    @property
    def count(self) -> int:
        """How many adapters there are, with and without the words."""
        return len(self._entries)

    @property
    def comparing(self) -> bool:
        """Whether the order is not final yet, as adapters are still compared with the image."""
        return self._open and self._session.source is not None and len(self._found) < len(self._entries)

    @property
    def listed(self) -> list[Shown]:
        """The adapters that have the words: by fit once all are compared with the image, before by name."""
        session = self._session
        used = session.adapter.path if session.adapter else None
        found: Mapping[str, tuple[float | None, str]] = {} if self.comparing else self._found
        rows = []
        for entry in self._entries:
            if entry.matches(self.words.split()):
                misfit, why = found.get(entry.name, (None, ""))
                rows.append(Shown(entry, misfit, why, entry.path == used))
        return sorted(rows, key=lambda row: math.inf if row.misfit is None else row.misfit)

    def look(self, *, on: bool) -> None:
        """Begin to list the adapters, or end it; only meanwhile they are compared with the image."""
        self._open = on
        if on:
            self.read()

    def read(self) -> None:
        """Look into the folder again."""
        before = {entry.name: entry.card for entry in self._entries}
        self._entries = self._library.entries()
        same = {entry.name for entry in self._entries if before.get(entry.name) == entry.card}
        self._found = {name: found for name, found in self._found.items() if name in same}
        self._session.changed.library.emit()
        self._compare()

    def search(self, words: str) -> None:
        """List only adapters with all of the words."""
        self.words = words
        self._session.changed.library.emit()

    # Using, adding, removing --------------------------------------------------------------------------

    def use(self, name: str) -> bool:
        """Load the adapter of that name; True if it is loaded."""
        try:
            return self._load(self._library.entry(name).path)
        except SaltError as error:  # it was removed elsewhere
            self._session.problem.emit(str(error), "library")
            self.read()
            return False

    @property
    def cannot_add(self) -> str:
        """Why the session's adapter cannot be added, or ""."""
        session = self._session
        return session.unsavable if session.adapter else "there is no adapter"

    def add_current(self, **texts: str) -> bool:
        """Add the session's adapter with `texts` (name, description, author, license); True if it is done."""
        session, adapter = self._session, self._session.adapter
        if adapter is None or self.cannot_add:
            session.problem.emit(self.cannot_add, "library")
            return False
        changed = {field: text for field, text in texts.items() if text != getattr(adapter.card, field)}
        try:
            content = described(adapter.content, **changed) if changed else adapter.content
        except SaltError as error:
            session.problem.emit(str(error), "library")
            return False
        picture = self._picture(adapter)
        entry = self.keep(changed.get("name") or adapter.title, content)
        if entry is None:
            return False
        if picture:
            self._illustrate(entry, picture)
        if adapter.path is None:
            self._saved(LoadedAdapter(content, entry.card, entry.path))
        return True

    def keep(self, name: str, content: bytes) -> Entry | None:
        """Add an adapter's file under a name; if another has it, the user is asked. None: it is not added."""
        session = self._session
        try:
            if self._library.holds_another(content, name):
                answer = session.ask(
                    f"The library holds another adapter named {shortened(name, 100)}.", (REPLACE, BOTH)
                )
                if answer is None:
                    return None
                name = name if answer == REPLACE else self._library.free_name(name)
            entry = self._library.add(content, name, replace=True)
        except SaltError as error:
            session.problem.emit(str(error), "library")
            return None
        self._found.pop(entry.name, None)
        self.read()
        return entry

    def remove(self, name: str) -> bool:
        """Delete the adapter of that name, if the user says so; True if it is gone.

        If it is in use, it stays the session's adapter, as one that is not saved.
        """
        session = self._session
        if session.ask(f"Remove {name} from the library? Its file is deleted.", (REMOVE,)) != REMOVE:
            return False
        try:
            path = self._library.remove(name)
        except SaltError as error:
            session.problem.emit(str(error), "library")
            return False
        finally:
            self.read()
        if session.adapter is not None and session.adapter.path == path:
            session.lose_file()
        return True

    # Comparing with the image -------------------------------------------------------------------------

    def on_compared(self, message: Compared) -> None:
        """Keep how well an adapter fits, and ask for the next."""
        asked, self._asked = self._asked, None
        if asked == (self._session.source, message.name):
            self._found[message.name] = (message.misfit, message.words)
        self._compare()
        if not self.comparing:
            self._session.changed.library.emit()

    def on_failed(self, message: Failed) -> None:
        """Leave an adapter that could not be compared behind the others."""
        asked, self._asked = self._asked, None
        if asked is not None and asked[0] is self._session.source:
            self._found[asked[1]] = (math.inf, message.message)
        self._compare()

    def reset(self) -> None:
        """Compare no more until the library is opened again: the engine has ended, maybe by this."""
        self._asked, self._open = None, False
        self._session.changed.library.emit()

    def _compare(self) -> None:
        """Ask how well the next adapter fits the image, while they are listed and no job runs."""
        session, source = self._session, self._session.source
        if source is not self._of:
            self._of, self._found = source, {}
            session.changed.library.emit()
        entry = next((entry for entry in self._entries if entry.name not in self._found), None)
        if not self._open or source is None or session.job or self._asked is not None or entry is None:
            return
        self._asked = (source, entry.name)
        image = session.engine.offer(source.stack)
        session.engine.send(
            Compare(image=image, name=entry.name, card=entry.card, pixel_size=source.pixel_size)
        )

    # Pictures -----------------------------------------------------------------------------------------

    def _picture(self, adapter: LoadedAdapter) -> bytes | None:
        """A picture of what the adapter finds on the slice that is shown; None if it finds nothing there."""
        session = self._session
        found = self._previewing.found_by(adapter)
        if found is None or session.source is None or not found.labels.any():
            return None
        return thumbnail(session.source.stack[found.index], found, session.colormap)

    def _illustrate(self, entry: Entry, picture: bytes) -> None:
        try:
            self._library.illustrate(entry, picture)
        except SaltError as error:
            self._session.problem.emit(str(error), "library")
        self._session.changed.library.emit()

    def _on_preview(self) -> None:
        """Take the first preview of an adapter of the library that has no picture yet as its picture."""
        adapter = self._session.adapter
        if adapter is None or adapter.path is None:
            return
        entry = self._by_path.get(str(adapter.path))
        if entry is not None and entry.picture is None and (picture := self._picture(adapter)):
            self._illustrate(entry, picture)

    @property
    def _by_path(self) -> Mapping[str, Entry]:
        return {str(entry.path): entry for entry in self._entries}
