"""The Train panel: how long, Train and Stop, the live plot, and the figures in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QComboBox, QDoubleSpinBox, QLineEdit, QProgressBar, QSpinBox

from napari_salt.core.config import PRESET_MINUTES
from napari_salt.widgets._panel import Fold, Panel, button, checkbox, explain, row, words
from napari_salt.widgets._plot import TrainingPlot

if TYPE_CHECKING:
    from napari_salt._session import Session

__all__ = ["TrainPanel"]

TRAIN = "Adapt the model to what is painted now (Shift-T). Go on working meanwhile."
PREVIEW = "Show what is found around the centre of the view."
STOP = "End after this step and keep the best adapter (Shift-T)."


class TrainPanel(Panel):
    """Training."""

    def __init__(self, session: Session) -> None:
        updates = ("image", "labels", "paint", "adapter", "job", "training", "preview")
        super().__init__("Train", session, updates)
        self._make_budget()
        self._make_advanced()
        self.train = button("Train", TRAIN, session.training.start)
        self.stop = button("Stop", STOP, session.stop)
        self.bar = QProgressBar()
        self.bar.setRange(0, 1000)
        self.bar.setTextVisible(True)
        self.bar.setToolTip("Share of the time or steps that is used up.")
        self.reason = words()
        self.plot = TrainingPlot()
        self.words = words()
        self.preview = checkbox("live preview", PREVIEW, session.previewing.enable, on=True)
        self.form.addRow(row(self.train, self.stop))
        self.form.addRow(self.reason)
        self.form.addRow(self.bar)
        self.form.addRow(self.plot)
        self.form.addRow(self.words)
        self.form.addRow(self.preview)
        self.refresh()

    def _make_budget(self) -> None:
        options = self.session.options
        self.preset = QComboBox()
        self.preset.addItems(list(PRESET_MINUTES))
        self.preset.setCurrentText(options.preset)
        self.preset.setToolTip("How long to train: longer is better up to a point.")
        self.preset.currentTextChanged.connect(self._choose_preset)
        self.minutes = QDoubleSpinBox()
        self.minutes.setRange(0.1, 600)
        self.minutes.setDecimals(1)
        self.minutes.setSingleStep(0.5)
        self.minutes.setSuffix(" min")
        self.minutes.setValue(PRESET_MINUTES[options.preset])
        self.minutes.setToolTip("Time to train.")
        self.minutes.valueChanged.connect(lambda value: setattr(options, "minutes", value))
        self.go_on = checkbox(
            "go on from the loaded adapter",
            "Off: begin anew from the base model.",
            lambda on: setattr(options, "go_on", on),
            on=options.go_on,
        )
        self.form.addRow("preset", row(self.preset, self.minutes))
        self.form.addRow(self.go_on)

    def _make_advanced(self) -> None:
        options = self.session.options
        self.advanced = Fold("advanced")
        self.rank, self.lora_rank = QLineEdit(str(options.rank)), QSpinBox()
        self.rank.setToolTip(
            "Top singular values that are scaled and shifted: a number, a share such as 0.5, or auto."
        )
        self.rank.editingFinished.connect(self._set_rank)
        self.lora_rank.setRange(0, 256)
        self.lora_rank.setValue(options.lora_rank)
        self.lora_rank.setToolTip("Rank of the update of the remaining singular vectors.")
        self.lora_rank.valueChanged.connect(lambda value: setattr(options, "lora_rank", value))
        self.rate = QDoubleSpinBox()
        self.rate.setDecimals(5)
        self.rate.setRange(0.00001, 0.1)
        self.rate.setSingleStep(0.0005)
        self.rate.setValue(options.learning_rate)
        self.rate.setToolTip("Highest learning rate of the schedule.")
        self.rate.valueChanged.connect(lambda value: setattr(options, "learning_rate", value))
        self.steps, self.seed = QSpinBox(), QSpinBox()
        self.steps.setRange(0, 1_000_000)
        self.steps.setSpecialValueText("by time")
        self.steps.setToolTip("Number of steps; then the minutes do not count.")
        self.steps.valueChanged.connect(self._set_steps)
        self.seed.setRange(0, 2_147_483_647)
        self.seed.setToolTip("The same seed and number of steps give the same adapter.")
        self.seed.valueChanged.connect(lambda value: setattr(options, "seed", value))
        self.targets = QLineEdit()
        self.targets.setPlaceholderText("those of the base model")
        self.targets.setToolTip("Parts of the model to adapt, such as image_encoder.layers.3, mask_decoder.")
        self.targets.editingFinished.connect(self._set_targets)
        self.independent = checkbox(
            "slices are unrelated images",
            "Each slice has its own brightness; no smoothing across slices.",
            lambda on: setattr(options, "independent", on),
        )
        inner = Panel.form_of(self.advanced)
        for name, widget in (
            ("rank", self.rank),
            ("low rank", self.lora_rank),
            ("learning rate", self.rate),
            ("steps", self.steps),
            ("seed", self.seed),
            ("targets", self.targets),
        ):
            inner.addRow(name, widget)
        inner.addRow(self.independent)
        self.form.addRow(self.advanced)

    def refresh(self) -> None:
        """Show the session's state."""
        session, training = self.session, self.session.training
        history = training.history
        running = session.job == "train"
        explain(self.train, training.cannot, TRAIN)
        explain(self.stop, "" if session.job else "nothing is running", STOP)
        self.reason.setText("" if running else training.cannot)
        self.reason.setVisible(not running and bool(training.cannot))
        self.go_on.setVisible(session.adapter is not None)
        self.bar.setVisible(running)
        self.plot.setVisible(bool(history.steps) or running)
        if running:
            self.bar.setValue(round(1000 * history.fraction))
            left = history.seconds_left
            self.bar.setFormat("%p %" if left is None else f"%p %, {_duration(left)} left")
        infos = session.classes
        names, colors = ({i.value: getattr(i, key) for i in infos} for key in ("name", "color"))
        self.plot.show_history(history, names, colors)
        self.words.setText(training.words())
        self.words.setVisible(bool(self.words.text()))
        if session.options.unpainted == "ignore":
            self.words.setToolTip("Unpainted pixels are unknown: only painted ones are scored.")

    def _choose_preset(self, preset: str) -> None:
        self.session.options.preset = preset
        self.minutes.setValue(PRESET_MINUTES[preset])
        self.session.options.minutes = None

    def _set_steps(self, steps: int) -> None:
        self.session.options.steps = steps or None
        self.session.options.minutes = None
        self.minutes.setEnabled(not steps)

    def _set_rank(self) -> None:
        text = self.rank.text().strip()
        if text == "auto":
            self.session.options.rank = "auto"
            return
        try:
            self.session.options.rank = float(text) if "." in text else int(text)
        except ValueError:
            self.session.problem.emit(
                f"rank is {text!r}; give a whole number, a share such as 0.5, or auto", "rank"
            )
            self.rank.setText(str(self.session.options.rank))

    def _set_targets(self) -> None:
        parts = (part.strip() for part in self.targets.text().split(","))
        self.session.options.targets = tuple(part for part in parts if part)


def _duration(seconds: float) -> str:
    """Minutes and seconds as one reads them on a clock."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d} min" if minutes else f"{rest} s"
