"""The status line of napari says what keys do on the layer that is painted on: digits choose classes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from napari.settings import get_settings

from napari_salt.session._guard import Connections

if TYPE_CHECKING:
    from napari.layers import Labels

__all__ = ["KeyHelp", "rewritten"]

CLASSES = "keys <1> to <9> choose a class"
TOOLS = "napari:activate_labels"
ONE = re.compile(r"use <([1-9])> for ([^,]+)")


class KeyHelp:
    """Corrects the help of one labels layer at a time.

    Parameters
    ----------
    viewer
        Its status line is corrected at once.
    """

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        self._layer: Labels | None = None
        self._own = ""
        self._connections = Connections()

    def follow(self, layer: Labels | None) -> None:
        """Correct the help of this layer, and give the last one its own back."""
        self._connections.cut()
        if self._layer is not None:
            self._layer.help = self._own
        self._layer = layer
        if layer is not None:
            self._connections.add(self._correct, layer.events.help)
            self._correct()

    def _correct(self) -> None:
        layer = self._layer
        if layer is None or layer.help.startswith(CLASSES):
            return
        self._own = layer.help
        layer.help = rewritten(layer.help, _letters())
        if self._viewer.layers.selection.active is layer:
            self._viewer.help = layer.help


def rewritten(text: str, letters: Mapping[str, str]) -> str:
    """The help `text` with what digits do here, and tools by their letters; those without one are left out.

    Parameters
    ----------
    text
        As napari has it: ``use <2> for activate the paint brush, ...``.
    letters
        Another key of a tool, by its digit.
    """
    found = [(letters.get(key), what) for key, what in ONE.findall(text)]
    tools = [f"<{key}> {what.removeprefix('activate the ')}" for key, what in found if key]
    return ", ".join([CLASSES, *tools])


def _letters() -> dict[str, str]:
    """Second keys of napari's tools for labels, by the first."""
    shortcuts = get_settings().shortcuts.shortcuts
    keys = [[str(key) for key in given] for name, given in shortcuts.items() if name.startswith(TOOLS)]
    return {given[0]: given[1] for given in keys if len(given) > 1}
