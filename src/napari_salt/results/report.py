"""The report: one HTML file on an adapter and what it has found, for the methods section of a paper."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from napari_salt import __version__
from napari_salt.results.curves import Curve, chart
from napari_salt.results.html import keys, page, pairs, rows, text
from napari_salt.results.measure import measure
from napari_salt.results.pictures import embedded, overlaid, seen
from napari_salt.results.table import Table, write_text
from napari_salt.terms.card import AdapterCard, ClassInfo
from napari_salt.terms.errors import InputError
from napari_salt.terms.fingerprint import painted_slices
from napari_salt.terms.methods import METHODS
from napari_salt.terms.stack import StackLike, as_stack

__all__ = ["Found", "learning", "methods", "report", "report_html", "settings_of"]

PICTURES = 3
"""Of painted slices, and of others, at most."""
MOST_ROWS = 30


@dataclass(frozen=True)
class Found:
    """An image and its segmentation, for a report.

    Parameters
    ----------
    image
        (Z, Y, X) or (Z, Y, X, 3).
    labels
        Classes, (Z, Y, X); None: no segmentation.
    table
        Of the classes, as `measure` gives it; None: none.
    objects
        Of the objects; None: not measured.
    name
        Of the image.
    classes
        Names and colours that replace those of the adapter.
    settings
        How it was segmented, by name.
    """

    image: StackLike
    labels: StackLike | None = None
    table: Table | None = None
    objects: Table | None = None
    name: str = ""
    classes: tuple[ClassInfo, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


def report(
    path: str | os.PathLike[str],
    adapter: AdapterCard,
    image: StackLike | None = None,
    labels: StackLike | None = None,
    *,
    pixel_size: float | Sequence[float] | None = None,
    unit: str = "um",
    group: int | None = None,
    by: str = "classes",
    name: str = "",
    settings: Mapping[str, Any] | None = None,
) -> Path:
    """Write a report on an adapter, and on a segmentation, as one HTML file without links to anywhere.

    It has the settings and versions, a sentence for the methods section, learning curves, pictures of painted
    and other slices, and the volumes of the classes.

    Parameters
    ----------
    path
        Where to write, in an existing folder.
    adapter
        An `Adapter`, or its card.
    image
        What was segmented, (Z, Y, X) or (Z, Y, X, 3); None: nothing, or what the adapter was trained on.
    labels
        The segmentation of `image`, (Z, Y, X).
    pixel_size, unit, group
        As in `measure`.
    by
        "classes", or "numbers" if the labels are numbers of objects.
    name
        Name of the image.
    settings
        How it was segmented, by name.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        If labels and image do not fit, there are labels without an image, or the file cannot be written.
    """
    found = None
    if image is None and labels is not None:
        raise InputError("there are labels, but no image; give both")
    if image is not None:
        image = as_stack(image, "image")
        table = objects = None
        if labels is not None:
            labels = as_stack(labels, "labels")
            measured = measure(
                labels,
                image,
                by="numbers" if by == "numbers" else "classes",
                pixel_size=pixel_size,
                unit=unit,
                class_names={info.value: info.name for info in adapter.shown_classes},
                independent=adapter.preprocess.independent,
                group=group,
            )
            table, objects = (None, measured) if by == "numbers" else (measured, None)
        found = Found(image, labels, table, objects, name, settings=settings or {})
    return write_text(path, report_html(adapter, found))


def report_html(adapter: AdapterCard, found: Found | None = None) -> str:
    """Give the HTML of a report.

    Parameters
    ----------
    adapter
        The adapter.
    found
        What it has found.
    """
    classes = (found.classes if found else ()) or adapter.shown_classes
    title = adapter.name or ", ".join(info.name for info in classes[:3])
    parts = [
        f"<h1>{text(title)}</h1><p>{text(adapter.description)}</p>",
        f"<h2>Methods</h2><p>{text(methods(adapter, found))}</p>",
        "" if found is None else _pictures(adapter, found, classes),
        "" if found is None else _tables(found, classes),
        learning(adapter, classes),
        settings_of(adapter, found),
    ]
    made = datetime.now(UTC).isoformat(timespec="seconds")
    parts.append(f"<p><small>Written by napari-salt {text(__version__)}, {made}</small></p>")
    return page(f"{title}: napari-salt report", "\n".join(part for part in parts if part))


def methods(adapter: AdapterCard, found: Found | None) -> str:
    """Sentences for the methods section of a paper."""
    facts = adapter.training
    count = sum(len(each.get("painted_slices", ())) for each in (facts, *facts.get("more_stacks", ())))
    painted = f"{count} painted slice{'' if count == 1 else 's'}"
    shape = facts.get("data_shape")
    of = f" of a stack of {shape[0]} slices of {shape[1]} x {shape[2]} pixels" if shape else ""
    more = len(facts.get("more_stacks", ()))
    of += f" and {more} more stack{'' if more == 1 else 's'}" if more else ""
    names = ", ".join(info.name for info in adapter.shown_classes)
    told = (
        f"Segmentation of {names} was learnt with napari-salt {facts.get('napari_salt', '?')} (PyTorch "
        f"{facts.get('torch', '?')}): the base model {adapter.base_model} was adapted by "
        f"{METHODS[adapter.method].title} on {painted}{of}, in {facts.get('steps', '?')} steps "
        f"({facts.get('seconds', 0):.0f} s on {facts.get('device', '?')}, seed {facts.get('seed', '?')})."
    )
    dice = adapter.held_out_dice
    if dice:
        known = {info.value: info.name for info in adapter.classes}
        scores = ", ".join(f"{known.get(value, value)} {score:.3f}" for value, score in dice.items())
        told += f" Dice on held-out paint ({facts.get('held_out', '')}): {scores}."
    if found is not None and found.labels is not None:
        told += f" The adapter was then applied to {_length(found.image)} slices"
        told += f" of {found.name}." if found.name else "."
    return told


def _length(stack: StackLike) -> int:
    """Number of slices."""
    return int(stack.shape[0])


def _pictures(adapter: AdapterCard, found: Found, classes: Sequence[ClassInfo]) -> str:
    """Painted slices, and slices between them, each beside itself with the segmentation."""
    painted = painted_slices(found.image, adapter)
    others = [index for index in range(_length(found.image)) if index not in painted]
    colors = {} if found.objects is not None and found.table is None else {c.value: c.color for c in classes}
    figures = []
    for indices, told in ((painted, "painted"), (others, "not painted" if painted else "")):
        for index in _spread(indices):
            picture = seen(np.asarray(found.image[index]))
            images = [picture]
            if found.labels is not None:
                images.append(overlaid(picture, np.asarray(found.labels[index]), colors))
            shown = "".join(f'<img alt="slice {index}" src="{embedded(each)}">' for each in images)
            caption = f"slice {index}" + (f", {told}" if told else "")
            figures.append(f"<figure>{shown}<figcaption>{caption}</figcaption></figure>")
    return f"<h2>Slices</h2>{''.join(figures)}<p>{keys(classes)}</p>"


def _tables(found: Found, classes: Sequence[ClassInfo]) -> str:
    """Class volumes, and what the objects are like."""
    parts = []
    if found.table is not None:
        lines = list(found.table.rows())
        parts.append(f"<h2>Classes</h2>{rows(lines[:MOST_ROWS])}")
        if len(lines) > MOST_ROWS:
            parts.append(f"<p>The first {MOST_ROWS} of {len(lines)} rows.</p>")
    if found.objects is not None:
        parts.append(f"<h2>Objects</h2>{rows(_of_objects(found.objects, classes))}")
    return "".join(parts)


def _of_objects(table: Table, classes: Sequence[ClassInfo]) -> list[dict[str, Any]]:
    """For each class: how many objects, and the median and quartiles of their size."""
    size = next(
        (name for name in table.columns if name.startswith(("volume_", "area_"))),
        next(name for name in table.columns if name in ("voxels", "pixels")),
    )
    alone = classes[0].name if len(classes) == 1 else "all"
    names = table.columns.get("class_name", np.array([alone] * len(table), object))
    lines = []
    for name in dict.fromkeys(names.tolist()):
        sizes = table[size][names == name]
        low, middle, high = np.percentile(sizes, (25, 50, 75))
        lines.append({
            "class_name": name, "objects": len(sizes), f"median_{size}": middle,
            "lower_quartile": low, "upper_quartile": high,
        })  # fmt: skip
    return lines


def learning(adapter: AdapterCard, classes: Sequence[ClassInfo]) -> str:
    """Curves of the loss and of the held-out Dice."""
    facts = adapter.training
    losses = facts.get("losses", ())
    places = np.linspace(0, facts.get("steps", len(losses)), len(losses) + 1)[1:].tolist()
    curves = [chart([Curve(places, losses, "loss", "#444444")], "step", "loss")]
    lines = []
    for info in classes:
        scores = [(step, dice.get(str(info.value))) for step, dice in facts.get("dice_curve", ())]
        known = [(step, dice) for step, dice in scores if dice is not None]
        lines.append(Curve([x for x, _ in known], [y for _, y in known], info.name, info.color))
    curves.append(chart(lines, "step", "held-out Dice", top=1.0))
    return f"<h2>Learning</h2>{''.join(curves)}" if any(curves) else ""


def settings_of(adapter: AdapterCard, found: Found | None) -> str:
    """All settings, versions and hashes."""
    facts = dict(adapter.training)
    options = facts.pop("options", {})
    hidden = ("losses", "dice_curve", "intensities", "more_stacks", "painted_slices", "held_out_dice")
    stacks = (adapter.training, *adapter.training.get("more_stacks", ()))
    painted = "; ".join(", ".join(map(str, each.get("painted_slices", ()))) for each in stacks)
    about = {
        "name": adapter.name,
        "author": adapter.author,
        "license": adapter.license,
        "base model": adapter.base_model,
        "SHA-256 of the base": adapter.base_sha256,
        "method": METHODS[adapter.method].title,
        "classes": ", ".join(f"{info.value}: {info.name}" for info in adapter.shown_classes),
        "painted slices": painted,
        **{key.replace("_", " "): value for key, value in facts.items() if key not in hidden},
    }
    parts = [f"<h2>Adapter and training</h2>{pairs(about)}"]
    if options:
        parts.append(f"<h2>Options of training</h2>{pairs(options)}")
    if found is not None and found.settings:
        parts.append(f"<h2>Segmenting</h2>{pairs(found.settings)}")
    return "".join(parts)


def _spread(indices: Sequence[int]) -> list[int]:
    """Up to `PICTURES` of them, evenly spread."""
    if len(indices) <= PICTURES:
        return list(indices)
    places = np.linspace(0, len(indices) - 1, PICTURES + 2)[1:-1]
    return [indices[round(place)] for place in places.tolist()]
