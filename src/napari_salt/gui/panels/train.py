"""The Train panel: budget, Train and Stop, the live plot, and the results as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QApplication, QProgressBar

from napari_salt.gui.panels._options import OptionControls
from napari_salt.gui.panels._panel import Fold, Panel, button, checkbox, explain, row, words
from napari_salt.gui.panels._plot import TrainingPlot
from napari_salt.gui.panels._runs import RunList
from napari_salt.session._command_line import command_lines
from napari_salt.terms.config import SaltConfig
from napari_salt.terms.methods import METHODS
from napari_salt.terms.options import options_of

if TYPE_CHECKING:
    from napari_salt.session._session import Session
from napari_salt.terms.pace import short_duration

__all__ = ["TrainPanel"]

TRAIN = "Adapt the model to what is painted now (Shift-T). Go on working meanwhile."
PREVIEW = "Show what is found around the centre of the view."
COPY = "Copy the command lines that train and segment with the settings of this panel."
STOP = "End after this step and keep the best adapter (Shift-T)."


class TrainPanel(Panel):
    """Controls for training, the plot, and its progress."""

    def __init__(self, session: Session) -> None:
        changed = session.changed
        updates = (
            changed.image,
            changed.labels,
            changed.paint,
            changed.options,
            changed.adapter,
            changed.job,
            changed.training,
            changed.preview,
        )
        super().__init__("3 Train", session, updates)
        self._make_budget()
        self._make_advanced()
        self.train = button("Train", TRAIN, session.training.start)
        self.primary = self.train
        self.stop = button("Stop", STOP, session.stop)
        self.bar = QProgressBar()
        self.bar.setRange(0, 1000)
        self.bar.setTextVisible(True)
        self.bar.setToolTip("Share of the time or steps that is used up.")
        self.reason = words()
        self.plot = TrainingPlot()
        self.words = words()
        self.preview = checkbox("live preview", PREVIEW, session.previewing.enable, on=True)
        self.form.addRow(row(self.train, self.stop, self.preview))
        self.form.addRow(self.reason)
        self.form.addRow(self.bar)
        self.form.addRow(self.plot)
        self.form.addRow(self.words)
        self.runs = RunList(session)
        self.form.addRow(self.runs)
        self.form.addRow(self.advanced)
        self.refresh()

    def _make_budget(self) -> None:
        options = self.session.options
        self.budget = OptionControls(self.session, "train", "training")
        self.budget.add_to(self.form, "preset")
        self.go_on = checkbox(
            "go on from the loaded adapter",
            "Off: begin anew from the base model.",
            lambda on: setattr(options, "go_on", on),
            on=options.go_on,
        )

    def _make_advanced(self) -> None:
        self.advanced = Fold("advanced")
        self.details = OptionControls(self.session, "train", "advanced")
        form = Panel.form_of(self.advanced)
        self.budget.add_to(form, "minutes")
        self.details.add_to(form)
        form.addRow(self.go_on)
        self.copy = button("Copy as command line", COPY, self._copy)
        self.copied = words()
        self.copied.hide()
        form.addRow(self.copy)
        form.addRow(self.copied)

    def _copy(self) -> None:
        """Put the command lines into the clipboard, and show them."""
        text = command_lines(self.session)
        QApplication.clipboard().setText(text)
        self.copied.setText(f"Copied:\n{text.strip()}")
        self.copied.show()

    def refresh(self) -> None:
        """Show the session's state."""
        session, training = self.session, self.session.training
        for controls in (self.budget, self.details):
            controls.refresh()
        method = METHODS[session.options.train.method]
        for setting in options_of(SaltConfig):
            self.details.set_visible(setting, method.has(setting))
        history = training.history
        running = session.job == "train"
        explain(self.train, training.cannot, TRAIN)
        explain(self.stop, "" if session.job else "nothing is running", STOP)
        self.reason.setText("" if running else training.cannot)
        self.reason.setVisible(not running and bool(training.cannot))
        self.go_on.setVisible(session.adapter is not None)
        self.go_on.setChecked(session.options.go_on)
        self.bar.setVisible(running)
        self.plot.setVisible(bool(history.steps) or running)
        if running:
            self.bar.setValue(round(1000 * history.fraction))
            left = history.seconds_left
            self.bar.setFormat("%p %" if left is None else f"%p %, {short_duration(left)} left")
        infos = session.classes
        names, colors = ({i.value: getattr(i, key) for i in infos} for key in ("name", "color"))
        earlier = [run.history for run in training.runs if run.history is not history]
        self.plot.show_history(history, names, colors, earlier)
        self.runs.refresh()
        self.set_state(self._summary())
        self.words.setText(_listed(training.words()))
        self.words.setVisible(bool(self.words.text()))
        if session.options.train.unpainted == "ignore":
            self.words.setToolTip("Unpainted pixels are unknown: only painted ones are scored.")

    def _summary(self) -> str:
        session, training = self.session, self.session.training
        if session.job == "train":
            return f"training, {training.history.fraction:.0%}"
        if training.history.best_dice is not None:
            return f"held-out Dice {training.history.best_dice:.2f}"
        if training.history.steps:
            return "trained, not scored"
        return "adapter loaded" if session.adapter else "not trained yet"


def _listed(text: str) -> str:
    """Several lines as items of a list, since each may take several lines of the panel."""
    lines = text.splitlines()
    return "\n".join(f"• {line}" for line in lines) if len(lines) > 1 else text
