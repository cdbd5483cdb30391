"""Adapters of the bundled base for benchmarks of what is done with them, trained on sets of `sets.py`."""

from pathlib import Path

from sets import SETS, own_part, paint_of

import napari_salt as ns

STEPS = 30


def trained(name: str, folder: Path, steps: int = STEPS) -> ns.Adapter:
    """The adapter of a set's three painted slices (seed 0), from the folder if it is there."""
    part = own_part(name)
    config = ns.TrainConfig(steps=steps, seed=0, device="cpu", independent=SETS[name].independent)
    path = folder / f"{name}-{steps}.salt.safetensors"
    return kept(path, part.image, paint_of(name).labels, config, part.pixel_size)


def kept(path: Path, image, paint, config: ns.TrainConfig, pixel_size: float | None) -> ns.Adapter:
    """The adapter at `path`, or a new one that is kept there."""
    if not path.exists():
        ns.train(image, paint, config, pixel_size=pixel_size).save(path)
    return ns.Adapter.load(path)
