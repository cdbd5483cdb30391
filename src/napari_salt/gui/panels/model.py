"""The Model panel: base model, device, and the adapter in use."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QFileDialog, QLabel, QSlider

from napari_salt.gui.panels._library import LibraryFold
from napari_salt.gui.panels._panel import Panel, button, explain, plain_tip, row, words
from napari_salt.session._guard import connect
from napari_salt.session._rescaling import strength_words
from napari_salt.terms.card import class_names
from napari_salt.terms.methods import METHODS
from napari_salt.terms.registry import BASES, BaseSpec
from napari_salt.terms.text import shortened

if TYPE_CHECKING:
    from napari_salt.session._adapter_file import LoadedAdapter
    from napari_salt.session._session import Session

__all__ = ["ModelPanel"]

ADAPTER_FILES = "SALT adapters (*.safetensors)"
LOCAL = "local file..."
RESET = "Give up the adapter and go back to the base model."
STRENGTH = "How much of the adapter is applied in previews and segmentations; 0 %: the base model alone."
APPLY = "Go on with an adapter of this strength, which can be saved."
PERCENT, MOST_PERCENT, STEP_PERCENT = 100, 150, 5
CHECKPOINTS = "Checkpoints (*.pth *.pt)"
MAX_SHOWN_TITLE, MAX_SHOWN_TEXT = 100, 600
MAX_HEADER_TITLE = 30
DEVICES = ("auto", "cpu", "cuda", "mps")


class ModelPanel(Panel):
    """Base model, device and adapter."""

    def __init__(self, session: Session) -> None:
        changed = session.changed
        super().__init__(
            "Model", session, (changed.adapter, changed.job, changed.image, changed.labels, changed.options)
        )
        self.base = QComboBox()
        self.base.setToolTip("The Segment Anything model that is adapted, or used for prompts.")
        self.base.setMinimumContentsLength(8)
        for name in BASES:
            self.base.addItem(name, name)
        self.base.addItem(LOCAL, LOCAL)
        connect(self.base.activated, self._choose_base)
        self.device = QComboBox()
        self.device.addItems(DEVICES)
        self.device.setToolTip("Where to compute; auto takes the GPU if there is one.")
        connect(self.device.currentTextChanged, self._choose_device)
        self.card = words()
        self.card.setTextFormat(Qt.TextFormat.RichText)
        self.load = button("Load...", "Load an adapter file (or drop one on napari).", self._load)
        self.reset = button("Reset", RESET, session.reset_adapter)
        self.strength = QSlider(Qt.Orientation.Horizontal)
        self.strength.setRange(0, MOST_PERCENT)
        self.strength.setSingleStep(STEP_PERCENT)
        self.strength.setPageStep(STEP_PERCENT)
        self.strength.setValue(PERCENT)
        self.strength.setToolTip(STRENGTH)
        connect(self.strength.valueChanged, self._set_strength)
        self.percent = QLabel(f"{PERCENT} %")
        self.apply = button("Apply", APPLY, session.rescaling.start)
        self.form.addRow("base", self.base)
        self.form.addRow("device", self.device)
        self.form.addRow(self.card)
        self.form.addRow(row(self.load, self.reset))
        self.form.addRow("strength", row(self.strength, self.percent, self.apply))
        self.library = LibraryFold(session)
        self.form.addRow(self.library)
        self.refresh()

    def refresh(self) -> None:
        """Show the adapter and what can be done with it."""
        session = self.session
        adapter = session.adapter
        self.card.setText("no adapter: the base model as it is" if adapter is None else _describe(adapter))
        self.card.setToolTip("" if adapter is None else plain_tip(_details(adapter)))
        self._show_bases()
        self._show_device()
        none = "there is no adapter"
        explain(self.reset, session.busy or ("" if adapter else none), RESET)
        explain(self.load, session.busy, "Load an adapter file (or drop one on napari).")
        self.strength.setEnabled(adapter is not None)
        self.strength.setValue(round(PERCENT * session.strength))
        self.percent.setText(f"{self.strength.value()} %")
        explain(self.apply, session.rescaling.cannot, APPLY)
        self.base.setEnabled(not session.job)
        self.set_state(f"{self._shown_base()}, {self._shown_adapter()}")

    def _shown_base(self) -> str:
        chosen = self.session.options.base
        spec = BASES.get(chosen)
        return "bundled" if spec is not None and spec.state.startswith("bundled") else Path(chosen).name

    def _shown_adapter(self) -> str:
        adapter = self.session.adapter
        if adapter is None:
            return "no adapter"
        title = shortened(adapter.title, MAX_HEADER_TITLE)
        return f"adapter {title}{strength_words(self.session.strength)}"

    def _show_bases(self) -> None:
        """Say where the weights of each base are, and which base is chosen."""
        for position, spec in enumerate(BASES.values()):
            self.base.setItemText(position, f"{spec.name} ({_state(spec)})")
        chosen = self.session.options.base
        if self.base.findData(chosen) < 0:
            self.base.insertItem(self.base.count() - 1, Path(chosen).name, chosen)
        self.base.setCurrentIndex(self.base.findData(chosen))

    def _show_device(self) -> None:
        chosen = self.session.options.device
        self.device.blockSignals(True)
        if self.device.findText(chosen) < 0:
            self.device.addItem(chosen)
        self.device.setCurrentText(chosen)
        self.device.blockSignals(False)

    def _choose_base(self, position: int) -> None:
        chosen = self.base.itemData(position)
        if chosen == LOCAL:
            chosen, _ = QFileDialog.getOpenFileName(self, "Checkpoint of a SAM model", "", CHECKPOINTS)
        self.session.options.base = chosen or self.session.options.base
        self._show_bases()

    def _choose_device(self, device: str) -> None:
        self.session.options.device = device
        self.session.previewing.refresh()

    def _set_strength(self, percent: int) -> None:
        if percent != round(PERCENT * self.session.strength):
            self.session.set_strength(percent / PERCENT)

    def _load(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Load a SALT adapter", "", ADAPTER_FILES)
        if path:
            self.session.load_adapter(Path(path))


def _state(spec: BaseSpec) -> str:
    state = spec.state
    return (
        f"download {spec.size / 1e6:.0f} MB"
        if state.startswith("download") and spec.size
        else state.split(" ")[0]
    )


def _describe(adapter: LoadedAdapter) -> str:
    card = adapter.card
    classes = class_names(card.shown_classes)
    dice = list(card.held_out_dice.values())
    score = f", held-out Dice {sum(dice) / len(dice):.2f}" if dice else ""
    saved = "" if adapter.path else " - not saved yet"
    size = f"{len(adapter.content) / 1e3:.0f} kB"
    texts = (
        shortened(adapter.title, MAX_SHOWN_TITLE),
        f"{classes}{score}",
        f"{size}, base {card.base_model}",
    )
    title, found, about = map(escape, texts)
    return f"<b>{title}</b>{saved}<br>{found}<br>{about}"


def _details(adapter: LoadedAdapter) -> str:
    card, training = adapter.card, adapter.card.training
    lines = [
        shortened(card.description, MAX_SHOWN_TEXT),
        f"author: {card.author}" if card.author else "",
        f"license: {card.license}" if card.license else "",
        f"trained {training.get('date', '')}: {training.get('steps', '?')} steps",
        f"held out: {shortened(training.get('held_out', ''), MAX_SHOWN_TEXT)}",
        f"method: {METHODS[card.method].title}",
        f"pixel scale {card.preprocess.pixel_scale:.3g}",
        f"orientation {'any' if card.preprocess.turns else 'fixed'}",
    ]
    return "\n".join(line for line in lines if line)
