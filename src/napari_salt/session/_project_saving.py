"""The session's work as a project: what a project file says of layers, settings and adapter. No Qt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_salt.io._project_files import pairs_of, sources_of
from napari_salt.session._paint import Pair
from napari_salt.session._pair_files import PairFiles, images_entry
from napari_salt.terms.errors import InputError
from napari_salt.terms.project import Project
from napari_salt.terms.project_parts import ProjectAdapter, ProjectImages, ProjectResults

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_salt.session._image_source import ImageSource
    from napari_salt.session._state import SessionState
    from napari_salt.session._training import Training

__all__ = ["ProjectSaving"]

RESULTS = "results"
WRITE, WRITE_OVER, WRITE_NEW = "Save them", "Save into their files", "Save as new files"
TRAIN, SEGMENT = "Train anew", "Segment with it"
ASK_ADAPTER = "Shall the project train on what is painted, or only segment with the adapter {}?"


class ProjectSaving:
    """Makes projects of the session's work.

    Parameters
    ----------
    session
        The session.
    training
        Its settings are saved.
    """

    def __init__(self, session: SessionState, training: Training) -> None:
        self._session, self._training = session, training
        self._before: Project | None = None

    @property
    def cannot(self) -> str:
        """Why nothing can be saved now, or ""."""
        session = self._session
        adapter = session.adapter
        nothing = not self._pairs() and (adapter is None or adapter.path is None)
        return (session.busy or session.no_image) or (
            "there is neither paint nor a saved adapter; paint first, or load an adapter" if nothing else ""
        )

    def save(self, path: Path, before: Project | None) -> list[str] | None:
        """Save a project file; layers that are not in files are saved beside it, if the user agrees.

        Parameters
        ----------
        path
            Where to write.
        before
            The project that was opened, whose images to segment and texts stay.

        Returns
        -------
        list of str or None
            What of the session is not in the file; None if the user does not want to save it.

        Raises
        ------
        SaltError
            If something cannot be saved so.
        """
        session = self._session
        session.count_paint()
        self._before = before
        trains = self._trains()
        if trains is None:
            return None
        files = self._files() if trains else []
        self._write(files, path.absolute().parent)
        self._made(files, path, trains=trains).save(path)
        return self._not_saved()

    def changed(self) -> str:
        """Names of the layers to learn from that are in no file as they are; "" if there are none."""
        self._session.count_paint()
        return _names([layer for each in self._files() for layer in each.unwritten])

    def _files(self) -> list[PairFiles]:
        session = self._session
        return [
            PairFiles(pair, session.marked.get(pair.labels, {}), session.classes) for pair in self._pairs()
        ]

    def _pairs(self) -> list[Pair]:
        """Images and labels to learn from: those chosen, if there is paint, and those kept."""
        session = self._session
        paint, source, labels = session.paint, session.source, session.labels
        if paint is None or source is None or labels is None or not (paint.slices or session.marks):
            return list(session.other_pairs)
        chosen = Pair(source, labels)
        if all(pair.labels is not labels for pair in session.pairs):
            return [chosen, *session.pairs]
        return [chosen if pair.labels is labels else pair for pair in session.pairs]

    def _trains(self) -> bool | None:
        """Whether the project trains; None if the user does not want to save it."""
        adapter, project = self._session.adapter, self._before
        if adapter is None or adapter.path is None or not self._pairs():
            return bool(self._pairs())
        if project is not None and project.train:
            own = [
                project.adapter_file,
                *([project.path(project.adapter.init)] if project.adapter.init else []),
            ]
            if adapter.path.absolute() in [file.absolute() for file in own]:
                return True
        answer = self._session.ask(ASK_ADAPTER.format(adapter.path.name), (TRAIN, SEGMENT))
        return None if answer is None else answer == TRAIN

    def _write(self, files: Sequence[PairFiles], folder: Path) -> None:
        """Write the layers that are not in files; raise InputError if the user does not agree."""
        for each in files:
            each.check()
        missing = {each: each.unwritten for each in files}
        names = _names([layer for layers in missing.values() for layer in layers])
        if not names:
            return
        own = [each.overwritable for each, layers in missing.items() if layers]
        known = ", ".join(str(file) for file in own if file is not None)
        text = f"These layers are in no file, or have been changed since: {names}. Save them in {folder}"
        text += f", or into the files that they came from ({known})?" if known else "?"
        answer = self._session.ask(text, (WRITE_OVER, WRITE_NEW) if known else (WRITE,))
        if answer is None:
            raise InputError(f"a project needs files, and these layers are in none as they are: {names}")
        for each in missing:
            each.write(folder, over=answer == WRITE_OVER)

    def _not_saved(self) -> list[str]:
        """What of the session is not in the file."""
        session = self._session
        adapter = session.adapter
        notes = []
        if session.strength != 1:
            notes.append(f"the strength of the adapter ({session.strength:.0%}) is not saved: Apply keeps it")
        if adapter is not None and adapter.path is None and session.options.go_on:
            notes.append("run trains anew: the adapter in use is in no file (5 Share saves it)")
        return notes

    def _made(self, files: Sequence[PairFiles], path: Path, *, trains: bool) -> Project:
        """The project of the session, with absolute paths."""
        before, session = self._before, self._session
        config = self._training.config
        return Project(
            output=str(before.output_folder.absolute() if before else _free_folder(path.absolute().parent)),
            train=tuple(each.entry() for each in files),
            segment=self._images(files),
            training=config if trains else replace(config, class_names={}, class_colors={}),
            segmenting=session.options.segment,
            adapter=self._adapter(trains=trains),
            results=before.results if before else ProjectResults(),
        )

    def _images(self, files: Sequence[PairFiles]) -> tuple[ProjectImages, ...]:
        """Images to segment: those of the project that was opened, and the window's others."""
        before, source = self._before, self._session.source
        sources: list[ImageSource] = [each.pair.source for each in files]
        if source is not None and all(each.layer is not source.layer for each in sources):
            sources.append(source)
        known: set[Path] = set()
        entries: list[ProjectImages] = []
        if before is not None:
            entries = [replace(e, images=str(before.path(e.images).absolute())) for e in before.segment]
            pairs = (found for _, found in pairs_of(before) if not isinstance(found, InputError))
            images = (found for _, found in sources_of(before) if not isinstance(found, InputError))
            known |= {each.image.absolute() for found in pairs for each in found}
            known |= {each.path.absolute() for found in images for each in found}
        shown = dict.fromkeys(map(images_entry, sources))
        return (*entries, *(entry for entry in shown if Path(entry.images) not in known))

    def _adapter(self, *, trains: bool) -> ProjectAdapter:
        """The adapter of the project: that of the one that was opened, the one to go on from, or to use."""
        before, adapter = self._before, self._session.adapter
        about = before.adapter if before else ProjectAdapter()
        used = str(adapter.path.absolute()) if adapter is not None and adapter.path is not None else None
        base = str(before.path(about.base).absolute()) if before and about.base else None
        if not trains:
            return ProjectAdapter(file=used, base=base)
        kept = str(before.adapter_file.absolute()) if before and before.train and about.file else None
        return replace(about, file=kept, init=used if self._session.options.go_on else None, base=base)


def _free_folder(folder: Path) -> Path:
    """A folder for results that is not there yet."""
    tries = (folder / (RESULTS if number == 1 else f"{RESULTS} {number}") for number in range(1, 10_000))
    return next(each for each in tries if not each.exists())


def _names(layers: Sequence[Layer]) -> str:
    return ", ".join(repr(layer.name) for layer in layers)
