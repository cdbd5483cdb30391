"""Text from files as plain text, without control characters, direction marks or line breaks."""

from __future__ import annotations

import logging
from typing import Any

__all__ = [
    "PlainFormatter",
    "plain",
    "printable",
    "reason",
    "shortened",
    "shown_size",
    "unmarked",
    "unpathed",
]

MARKUP = str.maketrans("<>&", "\u2039\u203a+")
PATHS = str.maketrans('/\\:|?*"', "\u2215\u2216\ua789\u00a6.\u2217'")

MAX_REASON = 300

JOINERS = "\u200c\u200d"
"""Invisible characters that some scripts need inside words."""


def printable(text: str, keep: str = "") -> str:
    r"""`text` with control, direction and other invisible characters as escapes, such as ``\x1b``.

    Parameters
    ----------
    keep
        Characters that are not escaped, such as a line break.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in JOINERS + keep else _escape(c) for c in text)


def reason(error: Exception) -> str:
    """What an exception says, for a message of ours: printable, one line, at most `MAX_REASON` characters."""
    text = shortened(" ".join(str(error).split()), MAX_REASON)
    return shortened(printable(text) or type(error).__name__, MAX_REASON)


def unmarked(text: str) -> str:
    """`text` with the characters of markup, ``<``, ``>`` and ``&``, replaced."""
    return text.translate(MARKUP)


def unpathed(text: str) -> str:
    """`text` as a file name: characters of markup and paths, such as slashes and colons, are replaced."""
    return unmarked(text).translate(PATHS)


def shortened(text: str, most: int) -> str:
    """`text`, or its beginning with an ellipsis: at most `most` characters."""
    return text if len(text) <= most else f"{text[: most - 1]}\u2026"


def shown_size(count: int) -> str:
    """A number of bytes to read, such as "107 kB"."""
    size, units = float(count), ["bytes", "kB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size /= 1000
        units.pop(0)
    return f"{size:.3g} {units[0]}"


def plain(value: Any) -> Any:
    """JSON value with all of its texts `printable`."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        return [plain(entry) for entry in value]
    if isinstance(value, dict):
        return {printable(key): plain(entry) for key, entry in value.items()}
    return value


class PlainFormatter(logging.Formatter):
    """Log lines without control characters: names of files, layers and adapters may hold any."""

    def format(self, record: logging.LogRecord) -> str:
        """Give the line."""
        return printable(super().format(record), keep="\n")


def _escape(character: str) -> str:
    if character.isspace() and ord(character) > 0x7F and character not in "\u2028\u2029\x85":
        return " "
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")
