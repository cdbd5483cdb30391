"""Tables, plot and pictures of the accuracy benchmark's results."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sets import BUDGETS, SETS, own_part
from skimage.segmentation import find_boundaries

METHODS: Mapping[str, str] = {
    "salt": "SALT",
    "lora": "LoRA",
    "s-sam": "S-SAM",
    "decoder": "decoder only",
    "forest": "forest, filters",
    "encoder-forest": "forest, encoder",
    "unet": "U-Net",
}
APART = 0.1
"""Between the dots of two methods, in rows of the plot."""
COLOURS = mpl.colormaps["tab10"].colors
Results = Mapping[str, Mapping[str, Any]]
Scores = Mapping[str, Any]


def key(name: str, method: str, budget: str = "three", seed: int = 0) -> str:
    """Name of a run in the results."""
    return f"{name}/{method}/{budget}/seed{seed}"


def table(results: Results) -> str:
    """Markdown: accuracy of each method on each set, SALT's place, seeds, budgets, and what methods cost."""
    parts = accuracy(results), places(results), seeds(results), budgets(results), costs(results)
    return "\n".join(filter(None, parts))


def accuracy(results: Results) -> str:
    """Mean Dice and mean HD95 by set and method, the best Dice in bold."""
    methods = _ran(results)
    rows = [["mean Dice (HD95, px)", *(METHODS[method] for method in methods)]]
    for title, scores in compared(results):
        best = max((round(s["mean_dice"], 3) for s in scores.values()), default=None)
        rows.append([title, *(cell(scores.get(method), best) for method in methods)])
    return markdown(rows)


def _ran(results: Results) -> list[str]:
    """Methods that have run on any set."""
    return [method for method in METHODS if any(key(name, method) in results for name in SETS)]


def compared(results: Results) -> Iterable[tuple[str, dict[str, Scores]]]:
    """Title and each method's scores with seed 0, of all sets and then of what is scored apart."""
    for name, chosen in SETS.items():
        found = {m: results[key(name, m)] for m in METHODS if key(name, m) in results}
        yield chosen.title, found
        if chosen.others or chosen.cases:
            apart = "other patients" if chosen.others else "other cases"
            yield f"{chosen.title}, {apart}", {m: scores["others"] for m, scores in found.items()}


def cell(scores: Scores | None, best: float | None) -> str:
    """Dice and HD95 as the table shows them."""
    if scores is None:
        return "-"
    dice = f"{scores['mean_dice']:.3f}"
    distances = [c["hd95"] for c in scores["classes"].values() if c["hd95"] is not None]
    shown = f"**{dice}**" if round(scores["mean_dice"], 3) == best else dice
    return f"{shown} ({np.mean(distances):.1f})" if distances else shown


def places(results: Results) -> str:
    """SALT's place by mean Dice among the methods that have run on all sets."""
    rows = list(compared(results))
    methods = [method for method in METHODS if all(method in scores for _, scores in rows)]
    whole = rows if methods else []
    lines = []
    for title, scores in whole:
        dice = {method: round(scores[method]["mean_dice"], 3) for method in methods}
        best = max(dice, key=dice.__getitem__)
        place = 1 + sum(other > dice["salt"] for other in dice.values())
        shared = "" if list(dice.values()).count(dice["salt"]) == 1 else ", shared"
        behind = "" if place == 1 else f", {dice[best] - dice['salt']:.3f} behind {METHODS[best]}"
        lines.append(f"- {title}: place {place} of {len(dice)}{shared}{behind}\n")
    if not whole:
        return ""
    means = {m: np.mean([scores[m]["mean_dice"] for _, scores in whole]) for m in methods}
    told = ", ".join(f"{METHODS[m]} {means[m]:.3f}" for m in sorted(means, key=lambda m: -means[m]))
    return f"Mean over the {len(whole)} rows: {told}. SALT's place:\n\n{''.join(lines)}"


def seeds(results: Results) -> str:
    """Mean over three seeds, and the spread, of the methods that have them."""
    ran = [m for m in METHODS if any(key(name, m, seed=2) in results for name in SETS)]
    if not ran:
        return ""
    rows = [["mean of three seeds (lowest to highest)", *(METHODS[method] for method in ran)]]
    for name, chosen in SETS.items():
        found = {m: [results.get(key(name, m, seed=seed)) for seed in range(3)] for m in ran}
        if all(all(scores) for scores in found.values()):
            dice = [[s["mean_dice"] for s in scores if s] for scores in found.values()]
            cells = [f"{np.mean(d):.3f} ({min(d):.3f} to {max(d):.3f})" for d in dice]
            rows.append([chosen.title, *cells])
    return markdown(rows) if len(rows) > 1 else ""


def budgets(results: Results) -> str:
    """Mean Dice with less paint, over the sets on which all methods shown have run."""
    ran = [m for m in METHODS if any(_with(results, name, m, "strokes") for name in SETS)]
    rows = [["mean Dice", "sets", *(METHODS[method] for method in ran)]]
    for budget, title in BUDGETS.items():
        found = [[_with(results, name, m, budget) for m in ran] for name in SETS]
        whole = [[np.mean(dice) for dice in row] for row in found if all(row)]
        if whole and ran:
            rows.append([title, str(len(whole)), *(f"{d:.3f}" for d in np.mean(whole, axis=0))])
    return markdown(rows) if len(rows) > 1 else ""


def _with(results: Results, name: str, method: str, budget: str) -> list[float]:
    """Mean Dice of all seeds that have run."""
    keys = [key(name, method, budget, seed) for seed in range(3)]
    return [results[k]["mean_dice"] for k in keys if k in results]


def costs(results: Results) -> str:
    """Medians over the sets: what training takes and leaves."""
    rows = [["method", "trained parameters", "adapter, MB", "steps in the budget", "s/step", "peak MB"]]
    for method, title in METHODS.items():
        own = [r for name, r in results.items() if name.split("/")[1] == method and "steps" in r]
        if own:
            names = ("trainable_parameters", "adapter_bytes", "steps", "seconds_per_step", "peak_memory_mb")
            count, size, steps, pace, memory = (np.median([r.get(name, 0) for r in own]) for name in names)
            numbers = [f"{count:,.0f}", f"{size / 1e6:.2f}", f"{steps:.0f}", f"{pace:.2f}", f"{memory:.0f}"]
            rows.append([title, *numbers])
    return markdown(rows) if len(rows) > 1 else ""


def markdown(rows: list[list[str]]) -> str:
    """A table whose first row is its head."""
    head, *body = rows
    return "".join(f"| {' | '.join(row)} |\n" for row in [head, ["---"] * len(head), *body])


def plot(results: Results, path: Path) -> None:
    """Mean Dice of every method on every set as dots, SALT's other seeds as small ones."""
    figure = Figure(figsize=(9, 6))
    axes = figure.subplots()
    rows = [(title, scores) for title, scores in compared(results) if scores]
    methods = _ran(results)
    for place, method in enumerate(methods):
        lane = APART * (len(methods) / 2 - place)  # or equal ones would hide each other
        points = [(s[method]["mean_dice"], lane - row) for row, (_, s) in enumerate(rows) if method in s]
        size, marker = (40, "D") if method == "salt" else (25, "o")
        axes.scatter(
            *np.reshape(points, (-1, 2)).T, s=size, marker=marker, label=METHODS[method], zorder=9 - place
        )
    titles = [title for title, _ in rows]
    for run, result in results.items():
        name, method, budget, seed = run.split("/")
        if method == "salt" and budget == "three" and seed != "seed0":
            lane = APART * len(methods) / 2
            axes.scatter(result["mean_dice"], lane - titles.index(SETS[name].title), s=12, marker="D", c="C0")
    axes.set_yticks([-row for row in range(len(rows))], titles)
    axes.set_xlabel("mean Dice on slices that were not painted")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    figure.savefig(path, dpi=130, bbox_inches="tight")


def pictures(results: Results, folder: Path) -> None:
    """One PNG per set in `folder`: a scored slice, its truth, and what each method found of it."""
    for name, chosen in SETS.items():
        ran = [method for method in METHODS if key(name, method) in results]
        kept = {method: folder / f"{key(name, method)}.npy" for method in ran}
        found = {method: np.load(file) for method, file in kept.items() if file.exists()}
        if not found:
            continue
        # A try scores fewer slices.
        place = min(len(chosen.scored) // 2, *(len(planes) - 1 for planes in found.values()))
        part, index = own_part(name), chosen.scored[place]
        panels = {f"slice {index}": np.zeros_like(part.truth[index]), "truth": part.truth[index]}
        for method, planes in found.items():
            dice = results[key(name, method)]["mean_dice"]
            panels[f"{METHODS[method]}, Dice {dice:.3f}"] = planes[place]
        figure = Figure(figsize=(20, 10.5), layout="tight")
        for axis, (title, labels) in zip(figure.subplots(3, 3).flat, panels.items(), strict=False):
            axis.imshow(overlaid(part.image[index], labels), interpolation="nearest")
            axis.set_title(title)
        for axis in figure.axes:
            axis.axis("off")
        figure.savefig(folder / f"{name}.png", dpi=70)


def overlaid(image: NDArray[Any], labels: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
    """`image` (Y, X) or (Y, X, 3) with its classes tinted and outlined, RGB from 0 to 1."""
    low, high = np.percentile(image, (0.5, 99.5))
    shown = np.clip((image - low) / max(high - low, 1), 0, 1).astype(np.float32)
    rgb = shown if shown.ndim == 3 else np.repeat(shown[..., None], 3, axis=-1)
    outlines = find_boundaries(labels, mode="inner")
    for value in np.unique(labels[labels > 0]):
        colour = np.array(COLOURS[(value - 1) % len(COLOURS)][:3], np.float32)
        rgb[labels == value] = 0.7 * rgb[labels == value] + 0.3 * colour
        rgb[outlines & (labels == value)] = colour
    return rgb
