"""The look of the panels in each of napari's themes."""

from __future__ import annotations

from typing import Any

__all__ = ["style_of"]

STYLE = """
QPushButton#header {{
    background: {foreground}; border: none; border-radius: 3px; margin: 1px 0px; padding: 3px 6px;
    text-align: left; font-weight: 600;
}}
QPushButton#header:checked {{ background: {foreground}; }}
QPushButton#header:hover {{ background: {primary}; }}
QLabel#state {{ color: {text}; background: transparent; font-weight: normal; }}
QLabel#next {{ border-left: 3px solid {current}; padding: 2px 0px 2px 7px; font-weight: 600; }}
QLabel#problem {{ color: {error}; }}
QPushButton[primary="true"]:enabled {{ background: {current}; }}
QPushButton#tool:checked {{ background: {current}; color: {text}; }}
"""


def style_of(theme: Any) -> str:
    """The style sheet of the dock in a theme of napari's."""
    names = ("foreground", "primary", "text", "current")
    light = sum(theme.background.as_rgb_tuple()[:3]) > 3 * 128
    colors = {name: getattr(theme, name).as_hex() for name in names}
    return STYLE.format(**colors, error="#b3261e" if light else "#ff7b72")
