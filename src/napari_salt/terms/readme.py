"""The page that goes with an adapter that is given to others: what its file says, in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator

from napari_salt.terms.card import AdapterCard
from napari_salt.terms.methods import METHODS
from napari_salt.terms.registry import BASES, split_size
from napari_salt.terms.text import printable

__all__ = ["body_of"]

MARKUP = re.compile(r"([\\`*_{}\[\]()<>#|&~$])")
WHAT = (
    "This is an adapter for [napari-salt](https://pypi.org/project/napari-salt): a small file of changes "
    "with which a Segment Anything model segments the classes below. It holds no image, and no weights of "
    "the base."
)
CARE = (
    "Held-out Dice was measured on paint that the training had not seen, of the same stack. Look at what it "
    "finds in your own images before you count on it."
)


def body_of(card: AdapterCard, name: str, source: str) -> str:
    """Describe an adapter in Markdown; texts of its file are shown literally.

    Parameters
    ----------
    card
        Its metadata.
    name
        Name of its file, without the ending.
    source
        What ``napari-salt adapters add`` takes to get it.
    """
    about = _plain(card.description) or "No description was given."
    rows = [f"| {what} | {_plain(value)} |" for what, value in _facts(card)]
    command = f'napari-salt segment stack.tif --adapter "{name}" --out segmented.tif'
    lines = [f"# {_plain(card.name or name)}", "", about, "", WHAT, "", "| | |", "|---|---|", *rows, ""]
    lines += ["| value | class | held-out Dice |", "|---|---|---|", *_classes(card), "", "```bash"]
    lines += ["pip install napari-salt", f"napari-salt adapters add {source}", command, "```", "", CARE, ""]
    return "\n".join(lines)


def _facts(card: AdapterCard) -> Iterator[tuple[str, str]]:
    preprocess, training = card.preprocess, card.training
    base = BASES.get(split_size(card.base_model)[0])
    yield (
        "base model",
        card.base_model + (f" (its weights: {base.licence})" if base else " (a local checkpoint)"),
    )
    yield "method", METHODS[card.method].title
    yield "author", card.author
    yield "license of the adapter", card.license
    size = preprocess.pixel_size
    yield "pixel size", f"{size:g} micrometres" if size else "unknown"
    yield "images", "colour" if preprocess.channels == 3 else "grey"
    for what in ("date", "steps", "data_shape"):
        if what in training:
            yield f"training: {what.replace('_', ' ')}", str(training[what])


def _classes(card: AdapterCard) -> Iterator[str]:
    dice = card.held_out_dice
    for info in card.shown_classes:
        score = f"{dice[info.value]:.2f}" if info.value in dice else "not scored"
        yield f"| {info.value} | {_plain(info.name)} | {score} |"


def _plain(text: str) -> str:
    """Text that Markdown shows as it is, on one line for each of its own."""
    lines = (MARKUP.sub(r"\\\1", line) for line in printable(text, "\n").split("\n"))
    return "  \n".join(lines)
