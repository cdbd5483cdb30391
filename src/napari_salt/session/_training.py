"""The training job of a session: its start, its progress, and the adapter that it keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from napari_salt.engine._news import Failed, Finished, Judged, StrokesFound, Trained
from napari_salt.engine._requests import PaintedStack, Train
from napari_salt.session._history import History, Run
from napari_salt.session._job import SessionJob
from napari_salt.terms.card import AdapterCard
from napari_salt.terms.errors import SaltError
from napari_salt.terms.paint_checks import check_class_count
from napari_salt.terms.stack import common_group

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_salt.session._adapter_file import LoadedAdapter
    from napari_salt.session._flat_stack import PaintSnapshot
    from napari_salt.session._image_source import ImageSource
    from napari_salt.session._paint import PaintTable
    from napari_salt.session._state import SessionState
    from napari_salt.terms.config import TrainConfig

__all__ = ["Training"]

STROKES = (
    "The paint looks like strokes, but what is not painted counts as background on a painted slice. "
    "What does unpainted mean here?"
)
KEPT_RUNS = 20
"""Latest trainings whose adapters can be brought back, as many as are autosaved."""
UNKNOWN, BACKGROUND = "Unknown (strokes)", "Background"


class Training(SessionJob):
    """Starts a training, follows it, and passes its adapter to the session."""

    def __init__(self, session: SessionState) -> None:
        super().__init__(session, session.changed.training)
        self._asked: WeakSet[Labels] = WeakSet()
        self._file: Path | None = None
        self._kept = False
        self._again = False
        self._candidate: bytes | None = None
        self.runs: list[Run] = []
        self._running = False
        self._learnt: dict[int, dict[int, int]] = {}
        self.history = History()

    @property
    def new_paint(self) -> bool:
        """Whether there is other paint than at the start of the last training."""
        paint = self._session.paint
        return paint is not None and bool(paint.slices) and paint.counts != self._learnt

    @property
    def cannot(self) -> str:
        """Why training cannot start now, or ""."""
        session = self._session
        reason = session.busy or session.no_image
        if reason:
            return reason
        if session.labels is None:
            return "choose a labels layer, or press New, and paint on it"
        if session.misfit:
            return session.misfit
        if session.paint is None or not session.paint.slices:
            return "paint a class on a slice or two first"
        if session.paint.across and session.source is not None and session.source.group is not None:
            return (
                f"the paint at {session.paint.across} lies across the slices, and time series have no other "
                "planes; undo it (Ctrl-Z), turn the view back to whole slices (Ctrl-E rolls the axes), and "
                "paint there"
            )
        return self._one_class_only() or self._too_many_classes()

    def _too_many_classes(self) -> str:
        session = self._session
        known = session.adapter.card.values if session.options.go_on and session.adapter else ()
        try:
            if session.options.train.painted == "classes":
                check_class_count(set(session.paint.values if session.paint else ()) - set(known))
        except SaltError as error:
            return str(error)
        return ""

    def _one_class_only(self) -> str:
        background, paint = self._session.options.background_label, self._session.paint
        if paint is None or not paint.slices:
            return ""
        complete = any(self._session.is_complete(index) for index in {*paint.slices, *self._session.marks})
        if background is None and not complete:
            return (
                "all painted slices are marked as strokes, and nothing says what background is; mark a slice "
                "as complete, or let unpainted be unknown (2 Paint, details) and paint some background"
            )
        if background is not None:
            if background not in paint.values and not complete:
                return (
                    f"paint some background with label {background}, since unpainted means nothing; or "
                    "let unpainted mean background"
                )
            if len(paint.values) < 2:
                return "only background is painted; paint a class with another label, too"
        return ""

    def start(self) -> None:
        """Train on what is painted now."""
        session = self._session
        session.count_paint()
        if self.cannot:
            session.problem.emit(self.cannot, "train")
            return
        assert session.source is not None  # noqa: S101 (self.cannot has checked it)
        assert session.paint is not None  # noqa: S101
        go_on = session.options.go_on and session.adapter is not None
        if not go_on and not session.may_discard_adapter():
            return
        self._learnt = session.paint.counts
        try:
            pairs = self._pairs(session.source, session.paint)
            config = self._config(pairs)
            for source, paint in pairs:
                session.autosave.paint(paint, source.layer.name)
        except SaltError as error:
            session.problem.emit(str(error), "train")
            return
        self.history = History()
        self._running = True
        self._file, self._kept, self._candidate = None, go_on, None
        self._begin("SALT training")
        self.note = "loading the base model"
        session.run("train", self._job(pairs, config, session.adapter if go_on else None))

    def _pairs(self, source: ImageSource, paint: PaintTable) -> list[tuple[ImageSource, PaintSnapshot]]:
        """Images with copies of their paint: the current one, and those that were kept beside it."""
        session = self._session
        others = session.other_pairs
        return [
            (source, paint.snapshot(session.marks)),
            *((pair.source, pair.snapshot(session.marked.get(pair.labels))) for pair in others),
        ]

    @property
    def config(self) -> TrainConfig:
        """How to train, apart from slices and time points."""
        session = self._session
        objects = session.options.train.painted == "objects"
        names = dict(session.class_names) if objects else {info.value: info.name for info in session.classes}
        colors = {} if objects else {info.value: info.color for info in session.classes}
        return replace(session.options.train_config(None, names, colors), plane=session.plane)

    def _config(self, pairs: Sequence[tuple[ImageSource, PaintSnapshot]]) -> TrainConfig:
        group = common_group([(source.layer.name, source.group) for source, _ in pairs])
        slices = _slices(pairs) if self._session.plane == "z" else None
        return replace(self.config, slices=slices, group=group)

    def _job(
        self,
        pairs: Sequence[tuple[ImageSource, PaintSnapshot]],
        config: TrainConfig,
        init: LoadedAdapter | None,
    ) -> Train:
        session = self._session
        stacks = [
            PaintedStack(
                image=session.engine.offer(source.stack),
                labels=session.engine.offer(paint),
                pixel_size=source.pixel_size,
                voxels=source.voxels,
                marks=paint.marks,
            )
            for source, paint in pairs
        ]
        return Train(
            stacks=tuple(stacks),
            config=config,
            init=session.engine.offer_adapter(init.digest, init.content) if init else None,
            strokes_known=session.labels in self._asked,
        )

    def on_message(self, message: Any) -> None:
        """Handle a message of the engine."""
        if isinstance(message, Trained):
            self._on_moment(message)
        elif isinstance(message, Judged):
            self.history.forest, self.history.verdict = message.forest, message.worse
            self.history.help = f"What would help most: {message.help}."
        elif isinstance(message, StrokesFound):
            self._ask_about_strokes()
        elif isinstance(message, Finished | Failed) and self._candidate is not None and not self._kept:
            self._keep(self._candidate)
        self._changed.emit()

    def end(self) -> None:
        """Close the progress bar; start again if the user has answered what unpainted means."""
        super().end()
        self._remember()
        if self._again:
            self._again = False
            self.start()

    def has_made(self, adapter: LoadedAdapter) -> bool:
        """Whether the training that runs has made this adapter, the best so far."""
        return self._running and adapter.content == self._candidate

    def _remember(self) -> None:
        """List the training that has ended, if it has given an adapter."""
        adapter = self._session.adapter
        if self._running and self._candidate is not None and adapter is not None:
            number = self.runs[-1].number + 1 if self.runs else 1
            self.runs = [*self.runs, Run(number, self.history, adapter, len(self._learnt))][-KEPT_RUNS:]
        self._running = False

    @property
    def lists_the_adapter(self) -> bool:
        """Whether the session's adapter is that of a training that can be brought back."""
        return any(self.in_use(run) for run in self.runs)

    def in_use(self, run: Run) -> bool:
        """Whether the session's adapter is that of `run`, saved or not."""
        adapter = self._session.adapter
        return adapter is not None and adapter.card.training == run.adapter.card.training

    def show_run(self, number: int) -> Run:
        """Show the curves of a training of this session again; give it."""
        run = next(run for run in self.runs if run.number == number)
        self.history, self.warnings = run.history, []
        self._changed.emit()
        return run

    def saved(self, adapter: LoadedAdapter) -> None:
        """Keep in mind that an adapter has been saved."""
        self.runs = [replace(run, adapter=adapter) if self.in_use(run) else run for run in self.runs]

    def _on_moment(self, message: Trained) -> None:
        event, history = message.event, self.history
        self.note = ""
        history.fraction, history.seconds = event.fraction, event.seconds
        if event.message:
            history.message = event.message
        if event.step > (history.steps[-1] if history.steps else 0):
            history.steps.append(event.step)
            history.losses.append(event.loss)
        if event.held_out_dice:
            history.scores.append((event.step, event.held_out_dice))
        if message.adapter is not None:
            measured = bool(event.held_out_dice) or event.phase == "done"
            self._candidate = message.adapter
            if measured or self._session.adapter is None:
                self._keep(message.adapter)
        self._show(event.fraction, self.words())

    def _keep(self, content: bytes) -> None:
        """Autosave the adapter and make it the session's."""
        session = self._session
        name = session.source.layer.name if session.source else "image"
        try:
            self._file = session.autosave.adapter(content, name, self._file)
            card = AdapterCard.from_bytes(content)
        except SaltError as error:
            session.problem.emit(str(error), "train")
            return
        self._kept = True
        session.adopt(content, card)

    def _ask_about_strokes(self) -> None:
        """Ask once for each labels layer what unpainted means; train unless the user cancels."""
        session = self._session
        if session.labels is None:  # removed meanwhile
            return
        self._asked.add(session.labels)
        answer = session.ask(STROKES, (UNKNOWN, BACKGROUND))
        if answer is None:
            return
        if answer == UNKNOWN:
            session.options.change("train", unpainted="ignore")
            session.changed.paint.emit()
        self._again = True

    def words(self) -> str:
        """The text below the plot: state of the training, verdict, help and warnings."""
        history = self.history
        texts = (self._state(), history.verdict, history.help, *self.warnings)
        return "\n".join(text for text in texts if text)

    def _state(self) -> str:
        history = self.history
        if history.best_dice is None:
            return self.note or history.message
        card = self._session.adapter.card if self._session.adapter else None
        facts = card.training if card else {}
        slices = sum(len(each.get("painted_slices", ())) for each in (facts, *facts.get("more_stacks", ())))
        plural = "slice" if slices == 1 else "slices"
        where = facts.get("held_out", "")
        text = f"held-out Dice {history.best_dice:.2f} on {where}, from {slices} painted {plural}"
        if history.forest and not history.verdict:
            text += f"; random forest on the same paint {fmean(history.forest.values()):.2f}"
        return text


def _slices(pairs: Sequence[tuple[ImageSource, PaintSnapshot]]) -> tuple[int, ...] | None:
    """Slices to learn from; None (all painted ones) for several stacks."""
    return tuple(pairs[0][1].planes) if len(pairs) == 1 else None
