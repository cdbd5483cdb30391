"""Curves as SVG, to be put into HTML."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from napari_salt.results.html import keys
from napari_salt.terms.card import ClassInfo

__all__ = ["Curve", "chart"]

WIDTH, HEIGHT = 460, 220
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 12, 40
TICKS = 4


@dataclass(frozen=True)
class Curve:
    """Points joined by a line: their places, the name of the curve, and a "#rrggbb" colour."""

    x: Sequence[float]
    y: Sequence[float]
    name: str
    color: str


def chart(curves: Sequence[Curve], x_title: str, y_title: str, top: float | None = None) -> str:
    """Give an SVG of curves over one pair of axes; "" if there is no point.

    Parameters
    ----------
    curves
        What is drawn; y from 0, points that are no numbers are left out.
    x_title, y_title
        Titles of the axes.
    top
        Upper end of the y axis; None: the largest value.
    """
    places = [_points(curve) for curve in curves]
    points = [point for each in places for point in each]
    if not points:
        return ""
    right = max(x for x, _ in points) or 1.0
    high = top or max(y for _, y in points) or 1.0
    parts = [_axes(right, high, x_title, y_title)]
    for curve, each in zip(curves, places, strict=True):
        line = " ".join(f"{_across(x, right):.1f},{_up(y, high):.1f}" for x, y in each)
        color = escape(curve.color)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="1.5"/>')
        if len(each) == 1:
            x, y = line.split(",")
            parts.append(f'<circle cx="{x}" cy="{y}" r="3" fill="{color}"/>')
    legend = keys([ClassInfo(0, curve.name, curve.color) for curve in curves])
    drawn = "".join(parts)
    return f'<figure><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{drawn}</svg><p>{legend}</p></figure>'


def _points(curve: Curve) -> list[tuple[float, float]]:
    pairs = zip(curve.x, curve.y, strict=True)
    return [(float(x), float(y)) for x, y in pairs if math.isfinite(x) and math.isfinite(y)]


def _axes(right: float, high: float, x_title: str, y_title: str) -> str:
    """Both axes with numbers, lines across, and titles."""
    parts = []
    for tick in range(TICKS + 1):
        share = tick / TICKS
        x, y = _across(share * right, right), _up(share * high, high)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(_text(LEFT - 6, y + 4, f"{share * high:.3g}", "end"))
        parts.append(_text(x, HEIGHT - BOTTOM + 16, f"{share * right:.3g}", "middle"))
    parts.append(_text((LEFT + WIDTH) / 2, HEIGHT - 4, x_title, "middle"))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    turned = f' transform="rotate(-90 12 {middle:.1f})"'
    return "".join([*parts, _text(12, middle, y_title, "middle", turned)])


def _text(x: float, y: float, text: str, anchor: str, more: str = "") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="11" fill="#555"'
    return f"<text {place}{more}>{escape(text)}</text>"


def _across(x: float, right: float) -> float:
    return LEFT + x / right * (WIDTH - LEFT - RIGHT)


def _up(y: float, high: float) -> float:
    return HEIGHT - BOTTOM - min(y / high, 1.0) * (HEIGHT - TOP - BOTTOM)
