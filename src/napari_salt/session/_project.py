"""Project files in the session: opened into it, and saved from it. No Qt, no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari.layers import Image

from napari_salt.io._project_files import pairs_of, sources_of
from napari_salt.session._pair_layers import OpenedPair, image_of, opened_pairs
from napari_salt.session._project_saving import ProjectSaving
from napari_salt.terms.arguments import command_line
from napari_salt.terms.errors import InputError, SaltError
from napari_salt.terms.project import Project

if TYPE_CHECKING:
    from napari_salt.session._project_job import ProjectJob
    from napari_salt.session._state import SessionState
    from napari_salt.session._training import Training

__all__ = ["AS_SAVED", "SAVE_FIRST", "Projects"]

CHANGED = "These layers are not as in the project's files: {}. Shall the project be saved first?"
SAVE_FIRST, AS_SAVED = "Save and run", "Run as it was saved"


class Projects:
    """Opens project files into the session, and saves the session's work as a project file.

    Parameters
    ----------
    session
        The session.
    training
        Its settings are saved.
    job
        Carries out a project's file.
    set_image, load_adapter, reset_adapter
        The session's.

    Attributes
    ----------
    path
        The file that was opened or saved last; None: none yet.
    notes
        What of the file is not in the window, or the other way round.
    """

    def __init__(
        self,
        session: SessionState,
        training: Training,
        job: ProjectJob,
        set_image: Callable[[Image | None], None],
        load_adapter: Callable[[Path], bool],
        reset_adapter: Callable[[], None],
    ) -> None:
        self._session, self._job, self._set_image = session, job, set_image
        self._saving = ProjectSaving(session, training)
        self._load_adapter, self._reset_adapter = load_adapter, reset_adapter
        self._project: Project | None = None
        self._summary = ""
        self.path: Path | None = None
        self.notes: list[str] = []

    @property
    def words(self) -> list[str]:
        """What the project is, and notes; empty without one."""
        return [self._summary, *self.notes] if self.path else []

    @property
    def command(self) -> str:
        """The line for a shell that carries the project out; "" without one."""
        return command_line(["napari-salt", "run", str(self.path)]) if self.path else ""

    # Opening ----------------------------------------------------------------------------------------

    def open(self, path: Path) -> bool:
        """Open a project's images, labels, settings and adapter; True if that is done.

        The layers that are there stay.
        """
        session = self._session
        if session.busy:
            session.problem.emit(session.busy, "project")
            return False
        try:
            project = Project.load(path)
            found = list(opened_pairs(project))
            pairs = [each for _, each in found if isinstance(each, OpenedPair)]
            faults = [f"{name}: {each}" for name, each in found if not isinstance(each, OpenedPair)]
            if faults and not pairs:
                raise InputError(f"no image to learn from can be used; {faults[0]}")
            image = None if pairs else self._first_image(project)
        except SaltError as error:
            session.problem.emit(str(error), "project")
            return False
        if not self._take_adapter(project):
            return False
        self.notes = [*faults, *_not_taken(project)]
        self._take_settings(project)
        if image is not None:
            session.set_labels(None)
            self._set_image(session.viewer.add_layer(image))
        self._take_pairs(pairs)
        self._note(path, project)
        session.changed.options.emit()
        session.changed.paint.emit()
        return True

    def _first_image(self, project: Project) -> Image | None:
        """The first image to segment that can be opened."""
        for _, found in sources_of(project):
            for source in found if not isinstance(found, InputError) else ():
                try:
                    return image_of(source)
                except InputError:  # `run` names it
                    continue
        return None

    def _take_adapter(self, project: Project) -> bool:
        """Load the adapter that training goes on from, or that is there; False if the user keeps another."""
        session, init = self._session, project.adapter.init
        file = project.path(init) if init else project.adapter_file
        if init or not project.train or file.is_file():
            taken = self._load_adapter(file)
        else:
            self._reset_adapter()
            taken = session.adapter is None
        if taken:
            session.options.go_on = bool(init) or not project.train
        return taken

    def _take_settings(self, project: Project) -> None:
        session, training = self._session, project.training
        session.options.train = replace(training, class_names={}, class_colors={}, slices=None)
        session.options.segment = replace(project.segmenting, slices=None)
        session.class_names = dict(training.class_names)
        session.added_classes = set(training.class_names) if training.painted == "classes" else set()

    def _take_pairs(self, opened: Sequence[OpenedPair]) -> None:
        """Add the layers, of which the first two are shown, and learn from all of them."""
        session = self._session
        for number, each in enumerate(opened):
            for layer in (each.image, each.labels):
                layer.visible = number == 0
                session.viewer.add_layer(layer)
            session.marked[each.labels] = dict(each.marks)
        session.pairs = tuple(each.pair for each in opened)
        if opened:
            self._set_image(opened[0].image)
            session.set_labels(opened[0].labels)
            session.viewer.layers.selection.active = opened[0].labels

    def _note(self, path: Path, project: Project) -> None:
        """Remember the project, and what it is."""
        self.path, self._project = path, project
        try:
            found = list(sources_of(project))
        except InputError as error:  # two images of the same name; `run` will say so
            found = []
            self.notes.append(str(error))
        self.notes += [f"{name}: {each}" for name, each in found if isinstance(each, InputError)]
        pairs, images = (
            sum(len(each) for _, each in some if not isinstance(each, InputError))
            for some in (pairs_of(project), found)
        )
        learns = f"learns from {_counted(pairs)}, " if project.train else ""
        self._summary = f"{path.name}: {learns}segments {_counted(images)} into {project.output}"
        self._session.changed.project.emit()

    # Carrying out -----------------------------------------------------------------------------------

    @property
    def cannot_run(self) -> str:
        """Why no project can be carried out now, or ""."""
        return self._session.busy or ("" if self.path else "open or save a project first")

    def run(self) -> None:
        """Carry out the project's file, as ``napari-salt run`` does.

        If layers were painted on since it was saved, the user is asked whether to save them before.
        """
        session = self._session
        if self.cannot_run or self.path is None or self._project is None:
            session.problem.emit(self.cannot_run, "project")
            return
        changed = self._saving.changed() if self._project.train else ""
        if changed:
            answer = session.ask(CHANGED.format(changed), (SAVE_FIRST, AS_SAVED))
            if answer is None or (answer == SAVE_FIRST and not self.save(self.path)):
                return
        self._job.start(self.path)

    # Saving -----------------------------------------------------------------------------------------

    @property
    def cannot_save(self) -> str:
        """Why nothing can be saved now, or ""."""
        return self._saving.cannot

    def save(self, path: Path) -> bool:
        """Save what the window learns from, segments and is set to as a project file; True if it is saved.

        Layers that are not in files are saved beside it, if the user agrees.
        """
        path = path if path.suffix.lower() == ".toml" else path.with_name(f"{path.name}.toml")
        if self.cannot_save:
            self._session.problem.emit(self.cannot_save, "project")
            return False
        try:
            notes = self._saving.save(path, self._project)
            project = Project.load(path) if notes is not None else None
        except SaltError as error:
            self._session.problem.emit(str(error), "project")
            return False
        if notes is None or project is None:
            return False
        self.notes = notes
        self._note(path, project)
        return True


def _not_taken(project: Project) -> list[str]:
    """What of the file is not followed by the window."""
    if project.training.slices is None:
        return []
    return ["the window learns from all painted slices; slices in [training] is for run only"]


def _counted(count: int) -> str:
    return f"{count} image{'' if count == 1 else 's'}"
