"""Split of the paint into a part to learn from and a part to score on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_salt.core.paint.annotations import IGNORE, PaintedSlice, Target

__all__ = ["Split", "hold_out"]

HELD_OUT_SHARE = 0.15
MIN_SLICES_TO_HOLD_OUT = 4
MIN_STACKS_TO_HOLD_OUT = 3


@dataclass(frozen=True)
class Split:
    """Paint to learn from and paint to score on; no pixel is in both.

    Parameters
    ----------
    training, held_out
        Slices with the other part's pixels set to `IGNORE`.
    description
        The split in words.
    leak_free
        False where a held-out slice lies next to one that training sees.
    """

    training: tuple[PaintedSlice, ...]
    held_out: tuple[PaintedSlice, ...]
    description: str
    leak_free: bool


def hold_out(slices: Sequence[PaintedSlice], group: int | None = None) -> Split:
    """Split the paint so that the score is honest.

    Of three stacks or more one is held out whole: of those that leave most classes to learn from, and then
    show most classes, the one nearest to a fifth of the slices. Else, with four slices or more, whole slices
    are held out: up to a fifth of them (at least one), so that each class remains in training; those that
    show most classes come first, then those without a painted neighbour, then the middle ones. With fewer,
    one contiguous block of each slice: the strip or rectangle whose shares of the paint and of every class
    come closest to 15 %.

    Slices of the same place are held out together: one position at all its time points, or, where these
    are more than a fifth of the slices, the same block of neighbouring slices and of all time points.

    Parameters
    ----------
    slices
        All paint, stack by stack, in order.
    group
        Number of slices of one time point, in a time series; None: no time series.
    """
    if len({painted.stack for painted in slices}) >= MIN_STACKS_TO_HOLD_OUT:
        return _hold_out_stack(slices)
    units = _units(slices, group)
    count = max(1, len(slices) // 5)
    candidates = [unit for unit in units if len(unit) <= count]
    if len(slices) >= MIN_SLICES_TO_HOLD_OUT and len(units) > 1 and candidates:
        return _hold_out_slices(slices, units, count, group)
    training, held_out = [], []
    blocks = _blocks(slices, group)
    for painted, block in zip(slices, blocks, strict=True):
        training.append(replace(painted, target=np.where(block, IGNORE, painted.target)))
        held_out.append(replace(painted, target=np.where(block, painted.target, IGNORE)))
    return Split(tuple(training), tuple(held_out), f"a block of {_names(slices, slices)}", leak_free=True)


Unit = tuple[PaintedSlice, ...]
"""Slices of one position, at all their time points."""


def _place(painted: PaintedSlice, group: int | None) -> tuple[int, int]:
    """Stack, and position in it."""
    return painted.stack, painted.index if group is None else painted.index % group


def _names(slices: Iterable[PaintedSlice], every: Iterable[PaintedSlice]) -> str:
    """Such as "slice 3, 7", or "slice 3 of stack 1, slice 7 of stack 2" where `every` are of several."""
    by_stack: dict[int, list[str]] = {}
    for painted in slices:
        by_stack.setdefault(painted.stack, []).append(str(painted.index))
    if not any(painted.stack for painted in every):
        return f"slice {', '.join(by_stack[0])}"
    return ", ".join(f"slice {', '.join(indices)} of stack {n + 1}" for n, indices in by_stack.items())


def _units(slices: Sequence[PaintedSlice], group: int | None) -> list[Unit]:
    by_place: dict[tuple[int, int], list[PaintedSlice]] = {}
    for painted in slices:
        by_place.setdefault(_place(painted, group), []).append(painted)
    return [tuple(by_place[place]) for place in sorted(by_place)]


def _classes_in(slices: Iterable[PaintedSlice]) -> set[int]:
    return set().union(*(set(np.unique(painted.target).tolist()) for painted in slices)) - {IGNORE}


def _apart(some: Iterable[PaintedSlice], others: Iterable[PaintedSlice], group: int | None) -> float:
    """Least distance between positions of slices of both; infinite between stacks."""
    theirs = [_place(painted, group) for painted in others]
    ours = [_place(painted, group) for painted in some]
    return min(
        abs(position - other) if stack == another else math.inf
        for stack, position in ours
        for another, other in theirs
    )


def _hold_out_stack(slices: Sequence[PaintedSlice]) -> Split:
    by_stack: dict[int, list[PaintedSlice]] = {}
    for painted in slices:
        by_stack.setdefault(painted.stack, []).append(painted)

    def merit(stack: int) -> tuple[int, int, float]:
        others = [painted for painted in slices if painted.stack != stack]
        left, shown = len(_classes_in(others)), len(_classes_in(by_stack[stack]))
        return left, shown, -abs(len(by_stack[stack]) / len(slices) - 1 / 5)

    chosen = max(by_stack, key=merit)
    training = tuple(painted for painted in slices if painted.stack != chosen)
    return Split(training, tuple(by_stack[chosen]), f"stack {chosen + 1}", leak_free=True)


def _hold_out_slices(
    slices: Sequence[PaintedSlice], units: Sequence[Unit], count: int, group: int | None
) -> Split:
    every = _classes_in(slices)

    def others(*positions: int) -> list[PaintedSlice]:
        return [painted for i, unit in enumerate(units) if i not in positions for painted in unit]

    def merit(position: int) -> tuple[int, float, int]:
        unit = units[position]
        inner = -abs(2 * position - len(units) + 1)
        return len(every & _classes_in(unit)), min(_apart(unit, others(position), group), 2), inner

    picked: list[int] = []
    fitting = [position for position, unit in enumerate(units) if len(unit) <= count]
    for position in sorted(fitting, key=merit, reverse=True):
        taken = sum(len(units[i]) for i in (*picked, position))
        if taken <= count and every <= _classes_in(others(*picked, position)) | {0}:
            picked.append(position)
    if not picked:
        picked = [min(fitting, key=lambda position: abs(position - len(units) // 2))]
    chosen = {_place(painted, group) for position in picked for painted in units[position]}
    held_out = tuple(painted for painted in slices if _place(painted, group) in chosen)
    training = tuple(painted for painted in slices if _place(painted, group) not in chosen)
    apart = _apart(held_out, training, group)
    text = _names(held_out, slices) + ("" if apart > 1 else " (next to a slice that training sees)")
    return Split(training, held_out, text, leak_free=apart > 1)


def _blocks(slices: Sequence[PaintedSlice], group: int | None) -> list[NDArray[np.bool_]]:
    """Block of each slice; neighbours, and time points of one position, share theirs."""
    blocks: dict[tuple[int, int], NDArray[np.bool_]] = {}
    near: list[PaintedSlice] = []
    for unit in _units(slices, group):
        if near and _apart(unit, near, group) > 1:
            near = []
        near = [*near, *unit]
        block = _block([painted.target for painted in near])
        blocks |= {(painted.stack, painted.index): block for painted in near}
    return [blocks[painted.stack, painted.index] for painted in slices]


def _block(targets: Sequence[Target]) -> NDArray[np.bool_]:
    """Mask of the block whose share of each class and of all paint comes closest to 15 %."""
    values = sorted(set().union(*(np.unique(target).tolist() for target in targets)) - {IGNORE})
    masks = [sum((target != IGNORE).astype(np.int64) for target in targets)]
    masks += [sum((target == value).astype(np.int64) for target in targets) for value in values]
    sums = [np.pad(mask.cumsum(0).cumsum(1), ((1, 0), (1, 0))) for mask in masks]
    totals = np.array([s[-1, -1] for s in sums], np.float64)

    def distance(box: tuple[int, int, int, int]) -> float:
        top, bottom, left, right = box
        inside = [s[bottom, right] - s[top, right] - s[bottom, left] + s[top, left] for s in sums]
        return float(np.abs(np.array(inside) / totals - HELD_OUT_SHARE).sum())

    shape = targets[0].shape
    top, bottom, left, right = min(_boxes(*shape), key=distance)
    block = np.zeros(shape, bool)
    block[top:bottom, left:right] = True
    return block


def _boxes(height: int, width: int) -> Iterable[tuple[int, int, int, int]]:
    """Candidate blocks: strips across and down, and rectangles, at up to 25 places along each axis."""
    for share_y, share_x in (
        (HELD_OUT_SHARE, 1.0),
        (1.0, HELD_OUT_SHARE),
        (0.39, 0.39),
        (0.3, 0.5),
        (0.5, 0.3),
    ):
        rows, columns = max(1, round(height * share_y)), max(1, round(width * share_x))
        for top in np.unique(np.linspace(0, height - rows, 25).astype(int)):
            for left in np.unique(np.linspace(0, width - columns, 25).astype(int)):
                yield int(top), int(top) + rows, int(left), int(left) + columns
