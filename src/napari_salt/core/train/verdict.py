"""Verdict after a training: how the adapter compares with a random forest, and what would help most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from napari_salt.core.paint.annotations import Annotations
from napari_salt.core.paint.stacks import TrainingStack, read_paint
from napari_salt.core.train.forest import forest_held_out_dice
from napari_salt.core.train.run import GOOD
from napari_salt.core.train.validation import mean_dice
from napari_salt.terms.card import AdapterCard
from napari_salt.terms.config import TrainConfig
from napari_salt.terms.planes import Plane

__all__ = ["Verdict", "compared", "few_steps", "verdict_on", "what_helps"]

FEW_STEPS = 20
"""Fewer steps hardly change the base; a busy machine may take minutes for as few."""
RARE, BEHIND = 0.2, 0.1
"""A class with less than this share of the most painted one's pixels, found worse than the others by that."""
POOR = 0.7
"""Mean held-out Dice of several classes below which a wrong orientation is likely: it mixes them."""
MANY_SLICES = 5
"""With as many painted slices, time or another base helps more than one more slice."""


@dataclass(frozen=True)
class Verdict:
    """How good an adapter is, in words.

    Parameters
    ----------
    forest
        Held-out Dice by label value of a random forest on the same paint; empty where its features do not fit
        into memory.
    comparison
        The adapter beside the forest, or "" where nothing can be compared.
    worse
        Whether the forest does better.
    help
        What would help most.
    """

    forest: Mapping[int, float]
    comparison: str
    worse: bool
    help: str


def verdict_on(
    adapter: AdapterCard, stacks: Sequence[TrainingStack], config: TrainConfig, values: Sequence[int] = ()
) -> Verdict:
    """Train the forest on what `adapter` was trained on, and compare both.

    Parameters
    ----------
    adapter
        What came out of the training.
    stacks
        What it was trained on.
    config
        How it was trained.
    values
        Label values of the adapter that training continued from.
    """
    annotations = read_paint(stacks, config, values)
    try:
        forest = forest_held_out_dice(stacks, annotations, config)
    except MemoryError:  # a failed comparison must not lose the adapter
        forest = {}
    comparison, worse = compared(adapter.held_out_dice, forest)
    single = len(stacks) == 1 and not config.independent
    n_slices = stacks[0].image.shape[0] if single else None
    return Verdict(forest, comparison, worse, what_helps(adapter, annotations, n_slices, worse=worse))


def compared(adapter: Mapping[int, float], forest: Mapping[int, float]) -> tuple[str, bool]:
    """Compare held-out Dice by label value, of the classes that both have; whether the forest does better."""
    both = adapter.keys() & forest.keys()
    if not both:
        return "", False
    ours, theirs = (mean_dice(scores[value] for value in both) for scores in (adapter, forest))
    if round(ours, 2) < round(theirs, 2):
        text = "a random forest on the same paint does better than this adapter (held-out Dice "
        return text + f"{theirs:.2f} and {ours:.2f})", True
    return f"held-out Dice {ours:.2f}; a random forest on the same paint has {theirs:.2f}", False


def what_helps(adapter: AdapterCard, annotations: Annotations, n_slices: int | None, *, worse: bool) -> str:
    """What the user can do that most likely makes the adapter better.

    Parameters
    ----------
    adapter
        With its steps, seconds and held-out Dice.
    annotations
        What is painted.
    n_slices
        Length of the stack; None where there are several stacks, or unrelated images.
    worse
        Whether a random forest does better.
    """
    scores = adapter.held_out_dice
    few = few_steps(adapter)
    if few:
        return few
    another = _another_slice(annotations, n_slices, adapter.preprocess.plane)
    if not scores:
        return f"paint {another} as well: too little is painted to hold something out"
    rare = _rare_class(adapter, annotations)
    if rare is not None:
        name = next(info.name for info in adapter.classes if info.value == rare)
        return f"paint more of label {rare} ({name}): it is rarely painted, held-out Dice {scores[rare]:.2f}"
    if adapter.preprocess.turns and len(scores) > 1 and mean_dice(scores.values()) < POOR:
        return (
            "where up is up on all slices (anatomy), let orientation be fixed: crops were turned; or paint "
            f"{another} as well"
        )
    if mean_dice(scores.values()) >= GOOD and not worse:
        return f"look at {another}, and paint there what is found wrong"
    if len(annotations.slices) < MANY_SLICES:
        return f"paint {another} as well"
    longer = "train longer, or on a base for images of this kind (napari-salt bases)"
    return f"{longer}; or paint {another} as well" if worse else longer


def few_steps(adapter: AdapterCard) -> str:
    """Advice to train longer, if an adapter has had few steps; else ""."""
    steps, seconds = adapter.training["steps"], adapter.training["seconds"]
    if steps >= FEW_STEPS:
        return ""
    return (
        f"train longer: {seconds:.0f} s were enough for {steps} step{'s' * (steps != 1)} only, and below "
        f"{FEW_STEPS} little is learnt; other work slows a machine down"
    )


def _another_slice(annotations: Annotations, n_slices: int | None, plane: Plane) -> str:
    """The slice farthest from all paint and from the ends of the stack, which are often empty."""
    if n_slices is None:
        return "another image"
    known = np.array([-1, *(painted.index for painted in annotations.slices), n_slices])
    distance = np.abs(np.arange(n_slices)[:, None] - known).min(1)
    if distance.max() < 1:
        return "what is left of the painted slices"
    return f"slice {distance.argmax()}" + ("" if plane == "z" else f" of plane {plane}")


def _rare_class(adapter: AdapterCard, annotations: Annotations) -> int | None:
    """The class that is found worst, if it is also painted rarely."""
    scores = adapter.held_out_dice
    pixels = {
        value: sum(int((painted.target == number).sum()) for painted in annotations.slices)
        for number, value in enumerate(annotations.values, start=1)
    }
    worst = min(scores, key=lambda value: scores[value])
    others = [dice for value, dice in scores.items() if value != worst]
    if worst == adapter.border or not others or scores[worst] > fmean(others) - BEHIND:
        return None
    return worst if pixels.get(worst, 0) < RARE * max(pixels.values()) else None
