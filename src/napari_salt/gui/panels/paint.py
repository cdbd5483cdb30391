"""The Paint panel: labels layer, classes, tools, painted slices, and prompts that paint faster."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from napari.layers import Labels
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QListWidget, QListWidgetItem, QPushButton
from superqt import QElidingLabel

from napari_salt.gui.panels._classes import ClassList
from napari_salt.gui.panels._layer_box import fill_layers, layer_box
from napari_salt.gui.panels._options import OptionControls
from napari_salt.gui.panels._panel import Fold, Panel, button, checkbox, explain, row, words
from napari_salt.gui.panels._strip import SliceStrip
from napari_salt.gui.panels.next import NextPanel
from napari_salt.session._guard import connect
from napari_salt.terms.slice_ranges import shown_slices
from napari_salt.terms.text import printable

if TYPE_CHECKING:
    from napari_salt.session._painting import Tool
    from napari_salt.session._session import Session

__all__ = ["PaintPanel"]

LAYER_ROLE = Qt.ItemDataRole.UserRole
NEW = "Make an empty labels layer that fits the image, and take the brush."
PROMPT = (
    "Point at an object to see its mask, and click on it to keep that (Alt-click: not this), or drag a box "
    "around it. Shift-M paints the mask as the selected class, and the next object follows; Ctrl-Z undoes it."
)
TOOLS: dict[Tool, tuple[str, str]] = {
    "paint": ("Brush", "Paint the selected class; the size is in napari's layer controls, and keys [ and ]."),
    "erase": ("Erase", "Erase paint."),
    "fill": ("Fill", "Fill what the paint encloses, or a painted area, with the selected class."),
    "prompt": ("Prompt", PROMPT),
}
COMPLETE = (
    "What is not painted on this slice is background. Off: this slice has strokes only, and what is not "
    "painted is unknown. Strokes and complete slices go together in one stack."
)
ACCEPT = "Paint the mask as the selected class (Shift-M)."
KEEP = "Learn from this image and its labels also when others are chosen: one training from several stacks."
LIST_HEIGHT = 60


class PaintPanel(Panel):
    """Controls for labels, classes, painted slices and prompts."""

    def __init__(self, session: Session) -> None:
        changed = session.changed
        updates = (
            changed.image,
            changed.labels,
            changed.paint,
            changed.options,
            changed.adapter,
            changed.prompt,
            changed.job,
            changed.tool,
        )
        super().__init__("2 Paint", session, updates)
        self._make_labels_box()
        self.classes = ClassList(session)
        self.form.addRow(self.classes)
        self.to_do = words()
        self.form.addRow(self.to_do)
        self._make_tools()
        self._make_strip()
        self.next = NextPanel(session)
        self.form.addRow(self.next)
        self._make_details()
        self._make_pairs()
        self.refresh()

    def _make_labels_box(self) -> None:
        session = self.session
        self.labels = layer_box(
            "The labels layer that you paint on; it is never written to behind your back."
        )
        connect(self.labels.activated, lambda i: session.set_labels(self.labels.itemData(i)))
        self.new = button("New", NEW, session.painting.begin)
        self.new.setMaximumWidth(56)
        self.problem = words()
        self.align = button("Align", "Lay the labels layer on the image.", session.align_labels)
        self.form.addRow("labels", row(self.labels, self.new))
        self.form.addRow(self.problem)
        self.form.addRow(self.align)

    def _make_tools(self) -> None:
        painting, prompting = self.session.painting, self.session.prompting
        self.tools: dict[Tool, QPushButton] = {}
        for tool, (text, tooltip) in TOOLS.items():
            made = button(text, tooltip, partial(painting.use, tool))
            made.setObjectName("tool")
            made.setCheckable(True)
            self.tools[tool] = made
        self.prompt = self.tools["prompt"]
        self.form.addRow(row(*self.tools.values()))
        self.accept = button("Accept mask", ACCEPT, prompting.accept)
        self.forget = button("Clear", "Forget the prompt.", prompting.clear)
        self.prompt_words = words()
        self.prompt_buttons = row(self.accept, self.forget)
        self.form.addRow(self.prompt_words)
        self.form.addRow(self.prompt_buttons)

    def _make_strip(self) -> None:
        session = self.session
        self.strip = SliceStrip(session.go_to)
        self.painted = QElidingLabel()  # one line: of many slices the strip says enough
        self.painted.setTextFormat(Qt.TextFormat.PlainText)
        self.painted.setElideMode(Qt.TextElideMode.ElideMiddle)
        self.complete = checkbox(
            "this slice is complete",
            COMPLETE,
            lambda on: session.painting.mark(session.current_slice, complete=on),
        )
        self.form.addRow(self.strip)
        self.form.addRow(self.painted)
        self.form.addRow(self.complete)

    def _make_details(self) -> None:
        self.details = Fold("details")
        self.settings = OptionControls(self.session, "train", "paint")
        self.details_form = Panel.form_of(self.details)
        self.settings.add_to(self.details_form)
        self.form.addRow(self.details)

    def _make_pairs(self) -> None:
        self.keep = button("Keep pair", KEEP, self.session.keep_pair)
        self.drop = button("Drop pair", "Learn from the selected pair no more.", self._drop)
        self.pairs = QListWidget()
        self.pairs.setToolTip("Image and labels that training learns from as well.")
        self.pairs.setFixedHeight(LIST_HEIGHT)
        self.several = Fold("several stacks")
        form = Panel.form_of(self.several)
        form.addRow(row(self.keep, self.drop))
        form.addRow(self.pairs)
        self.details_form.addRow(self.several)

    def refresh(self) -> None:
        """Show the session's state."""
        session = self.session
        fill_layers(self.labels, session.viewer.layers, Labels, session.labels)
        explain(self.new, session.no_image, NEW)
        self.problem.setText(printable(session.misfit))
        self.problem.setVisible(bool(session.misfit))
        self.align.setVisible(session.misplaced)
        self.classes.refresh()
        self._show_tools()
        self.show_slices()
        self.settings.refresh()
        self.settings.set_visible("background_label", session.options.background_label is not None)
        self.next.setVisible(session.adapter is not None)
        self._fill_pairs()
        self.set_state(self._summary())

    def _summary(self) -> str:
        session = self.session
        if session.misfit:
            return "labels do not fit"
        places = len(session.painted_places)
        if not places:
            return "nothing painted yet"
        kinds = len(session.paint.values) if session.paint else 0
        return f"{_counted(kinds, 'class', 'classes')} on {_counted(places, 'slice', 'slices')}"

    def show_slices(self) -> None:
        """Show which slices are painted, and which one is shown."""
        session, painting = self.session, self.session.painting
        places, plane = session.painted_places, session.plane
        shown, stored = session.current_slice, plane == "z"
        complete = {i for i in {*places, *session.marks} if session.is_complete(i)} if stored else set(places)
        self.strip.setVisible(session.labels is not None and stored and session.slice_count > 1)
        self.strip.show_slices(session.slice_count, shown, places if stored else (), complete)
        names = shown_slices(places) if stored else ", ".join(f"{plane} = {place}" for place in places)
        self.painted.setText(f"painted: {names or 'nothing yet'}; shown: {shown}")
        self.painted.setToolTip(f"painted slices: {names}" if names else "")
        self.painted.setVisible(session.labels is not None)
        self.complete.setVisible(session.labels is not None and stored and not session.misfit)
        self.complete.blockSignals(True)
        self.complete.setChecked(session.is_complete(shown))
        self.complete.blockSignals(False)
        self.to_do.setText(painting.to_do)
        self.to_do.setVisible(bool(painting.to_do))

    def _show_tools(self) -> None:
        painting, prompting = self.session.painting, self.session.prompting
        reason = prompting.cannot
        for tool, control in self.tools.items():
            explain(control, reason, TOOLS[tool][1])
            control.setChecked(painting.tool == tool)
        none = "" if prompting.has_mask else "there is no mask"
        explain(self.accept, none, ACCEPT)
        explain(self.forget, none, "Forget the prompt.")
        for widget in (self.prompt_words, self.prompt_buttons):
            widget.setVisible(prompting.active)
        took = "" if prompting.seconds is None else f" Last mask: {prompting.seconds:.2f} s."
        self.prompt_words.setText(PROMPT + took)

    def _fill_pairs(self) -> None:
        session = self.session
        chosen = self.pairs.currentRow()
        self.pairs.clear()
        for pair in session.pairs:
            item = QListWidgetItem(printable(pair.name))
            item.setData(LAYER_ROLE, pair.labels)
            self.pairs.addItem(item)
        self.pairs.setCurrentRow(min(max(chosen, 0), len(session.pairs) - 1))
        for widget in (self.pairs, self.drop):
            widget.setVisible(bool(session.pairs))
        explain(self.keep, "" if session.paint else "choose an image and labels that fit it first", KEEP)

    def _drop(self) -> None:
        item = self.pairs.currentItem()
        if item is not None:
            self.session.drop_pair(item.data(LAYER_ROLE))


def _counted(count: int, one: str, more: str) -> str:
    return f"{count} {one if count == 1 else more}"
