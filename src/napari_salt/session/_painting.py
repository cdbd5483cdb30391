"""Painting on the chosen labels layer: tools, classes, and what is complete. No Qt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np
from napari.layers import Labels

from napari_salt.session._colors import recolored
from napari_salt.session._guard import Connections
from napari_salt.session._layers import replace_value
from napari_salt.terms.card import ClassInfo

if TYPE_CHECKING:
    from napari_salt.session._prompting import Prompting
    from napari_salt.session._state import SessionState

__all__ = ["Painting", "Tool"]

Tool = Literal["paint", "erase", "fill", "prompt", ""]
"""What a click on the canvas does; "" is anything else, such as moving the view."""

MOST_BRUSH = 40
LARGEST_CLASS = 255


class Painting:
    """Tools and classes of the labels layer that is painted on.

    Parameters
    ----------
    session
        Its labels layer is followed.
    prompting
        Prompts are a tool, too.
    """

    def __init__(self, session: SessionState, prompting: Prompting) -> None:
        self._session, self._prompting = session, prompting
        self._following = Connections()
        self._followed: Labels | None = None

    def begin(self) -> None:
        """Add an empty labels layer, name its first class, and choose a brush that fits the image."""
        session = self._session
        session.make_labels()
        labels, source = session.labels, session.source
        if labels is None or source is None:
            return
        if not session.classes:
            self.add_class()
        labels.brush_size = _brush_size(min(source.stack.shape[1:3]))
        self.use("paint")

    def follow(self) -> None:
        """Follow the tool and the selected label of the session's labels layer."""
        labels = self._session.labels
        if labels is self._followed:
            return
        self._following.cut()
        self._followed = labels
        if labels is not None:
            self._following.add(self._on_tool, labels.events.mode, labels.events.selected_label)
        self._session.changed.tool.emit()

    # Tools ------------------------------------------------------------------------------------------

    @property
    def tool(self) -> Tool:
        """What a click on the canvas does."""
        labels = self._session.labels
        if self._prompting.active:
            return "prompt"
        mode = "" if labels is None else str(labels.mode)
        tools: Mapping[str, Tool] = {"paint": "paint", "erase": "erase", "fill": "fill"}
        return tools.get(mode, "")

    def use(self, tool: Tool) -> None:
        """Take a tool, with the labels layer active; the tool in use is put away.

        Clicks go either to the brush or to prompts: prompts switch napari's tools off.
        """
        session = self._session
        labels = session.labels
        if labels is None:
            return
        again = tool == self.tool
        session.viewer.layers.selection.active = labels
        labels.mode = "pan_zoom" if again or tool in ("prompt", "") else tool
        self._prompting.activate(tool == "prompt" and not again)
        session.changed.tool.emit()

    def _on_tool(self) -> None:
        """A tool of napari's takes the clicks from the prompts."""
        labels, prompting = self._session.labels, self._prompting
        if labels is not None and str(labels.mode) in ("paint", "erase", "fill") and prompting.active:
            prompting.activate(False)
        self._session.changed.tool.emit()

    # Classes ----------------------------------------------------------------------------------------

    def add_class(self) -> int:
        """Add a class with the smallest free label value, and select it; give the value (0: none free)."""
        session = self._session
        taken = {info.value for info in session.classes} | {session.options.background_label}
        value = next((value for value in range(1, LARGEST_CLASS + 1) if value not in taken), 0)
        if not value:
            session.problem.emit(
                f"all labels up to {LARGEST_CLASS} are classes; delete or merge one", "labels"
            )
            return 0
        session.added_classes.add(value)
        self.select(value)
        session.changed.paint.emit()
        return value

    def select(self, value: int) -> None:
        """Paint with this class."""
        if self._session.labels is not None:
            self._session.labels.selected_label = value

    def select_known(self, value: int) -> None:
        """Paint with this class if there is one."""
        if value in {info.value for info in self._session.classes}:
            self.select(value)

    def color(self, value: int, color: str) -> None:
        """Show the class in `color`, "#rrggbb"."""
        labels = self._session.labels
        if labels is not None:
            labels.colormap = recolored(labels, value, color)
            self._session.changed.paint.emit()

    def delete_class(self, value: int) -> None:
        """Erase all paint of a class, in one step that Ctrl-Z takes back, and take it off the list."""
        self._replace(value, 0)
        self._session.added_classes.discard(value)
        self._session.changed.paint.emit()

    def merge_class(self, value: int, into: int) -> None:
        """Let all paint of a class be that of another one, in one step that Ctrl-Z takes back."""
        self._session.added_classes.add(into)
        self._replace(value, into)
        self._session.added_classes.discard(value)
        self.select(into)
        self._session.changed.paint.emit()

    def _replace(self, value: int, other: int) -> None:
        session = self._session
        if session.labels is None or session.source is None or session.paint is None:
            return
        session.count_paint()
        slices = session.paint.slices_of(value)
        replace_value(session.labels, session.source, slices, value, other)
        session.edited(slices)

    # What is complete -------------------------------------------------------------------------------

    def mark(self, index: int, *, complete: bool) -> None:
        """Say whether a slice is complete."""
        session = self._session
        if session.labels is not None and complete != session.is_complete(index):
            session.marked.setdefault(session.labels, {})[index] = "background" if complete else "ignore"
            session.changed.paint.emit()

    @property
    def to_do(self) -> str:
        """What paint would help before the first training, class by class, in one sentence; or ""."""
        session = self._session
        paint = session.paint
        if paint is None or not paint.slices or session.adapter is not None:
            return ""
        known = [info for info in session.classes if info.value != session.options.background_label]
        missing = [_name(info) for info in known if not paint.pixels(info.value)]
        if missing:
            return f"To do: paint {', '.join(missing)}."
        once = [_name(info) for info in known if len(paint.slices_of(info.value)) == 1]
        if once and session.slice_count > 1:
            return f"To do: a second slice with {', '.join(once)}, if there is one."
        return ""


def _name(info: ClassInfo) -> str:
    return f"“{info.name}”"


def _brush_size(side: int) -> int:
    """Diameter of a brush for an image whose shorter side has `side` pixels: objects grow slower."""
    return int(np.clip(round(0.6 * side**0.5), 1, MOST_BRUSH))
