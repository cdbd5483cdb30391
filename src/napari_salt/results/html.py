"""Pieces of an HTML page that needs nothing from outside; all text is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from napari_salt.terms.card import ClassInfo
from napari_salt.terms.text import printable

__all__ = ["keys", "page", "pairs", "rows", "text"]

STYLE = """
body{font:15px/1.45 system-ui,sans-serif;color:#222;max-width:62rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem}h2{font-size:1.15rem;margin-top:2rem;border-bottom:1px solid #ccc}
table{border-collapse:collapse;margin:.5rem 0}
td,th{padding:.15rem .8rem .15rem 0;text-align:left;vertical-align:top;font-weight:normal}
th{font-weight:600}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}.long{overflow-wrap:anywhere}
figure{display:inline-block;margin:.3rem 1rem .8rem 0}figcaption,.key,small{color:#555;font-size:.85rem}
svg{width:29rem;max-width:100%}
img{height:16rem;max-width:100%;image-rendering:pixelated;margin-right:2px}.key{margin-right:1rem}
.patch{display:inline-block;width:.8em;height:.8em;margin-right:.3em;border:1px solid #888}
"""
NOTHING_FROM_OUTSIDE = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
UNITS = {"um2": "(µm²)", "um3": "(µm³)", "mm2": "(mm²)", "mm3": "(mm³)", "ml": "(mL)"}


def page(title: str, body: str) -> str:
    """Give a whole page; `title` is text, `body` is HTML."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{NOTHING_FROM_OUTSIDE}">'
        f"<title>{text(title)}</title><style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def text(value: Any) -> str:
    """Give any value as text that HTML shows as it is; a list with commas."""
    if isinstance(value, list | tuple) and all(isinstance(each, str | int | float) for each in value):
        value = ", ".join(map(str, value))
    return escape(printable(str(value), keep="\n"))


def pairs(facts: Mapping[str, Any]) -> str:
    """Give a table of names and values; without those that are empty."""
    lines = "".join(
        f'<tr><th>{text(key)}</th><td class="long">{text(value)}</td></tr>'
        for key, value in facts.items()
        if value not in ("", None, (), [], {})
    )
    return f"<table>{lines}</table>"


def rows(table: Sequence[Mapping[str, Any]]) -> str:
    """Give a table with one line for each row; real numbers are to four digits."""
    if not table:
        return "<p>Nothing was found.</p>"
    kinds = {key: "" if isinstance(value, str) else ' class="n"' for key, value in table[0].items()}
    head = "".join(f"<th{kinds[key]}>{text(_titled(key))}</th>" for key in table[0])
    lines = ("".join(f"<td{kinds[k]}>{text(_number(v))}</td>" for k, v in row.items()) for row in table)
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def keys(classes: Sequence[ClassInfo]) -> str:
    """Give colours with the names that they stand for."""
    return "".join(
        f'<span class="key"><span class="patch" style="background:{text(info.color)}"></span>'
        f"{text(info.name)}</span>"
        for info in classes
    )


def _titled(column: str) -> str:
    return " ".join(UNITS.get(word, word) for word in column.split("_"))


def _number(value: Any) -> Any:
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else value
