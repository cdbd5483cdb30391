"""The command ``suggest``."""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_salt.cli._terminal import Interruption, begun, duration, progress_bar, say, tell
from napari_salt.terms.config import SegmentConfig

if TYPE_CHECKING:
    pass
from napari_salt.cli._inputs import given, load, read_image, voxels_for

__all__ = ["suggest"]

Result = tuple[dict[str, Any], bool]


def suggest(options: argparse.Namespace) -> Result:
    """``napari-salt suggest``; after Ctrl-C the slices scored so far are ranked."""
    from napari_salt.core.segment.uncertainty import on_plane, uncertainty_events
    from napari_salt.terms.fingerprint import painted_slices
    from napari_salt.terms.ranking import MAX_CANDIDATES, rank_slices

    began = time.monotonic()
    image = read_image(options)
    adapter = load(options.adapter)
    config = given(options, SegmentConfig())
    voxels = voxels_for(image, config.planes_for(adapter.preprocess))
    stack, pixel_size = on_plane(image.data, adapter, config, image.pixel_size, voxels)
    painted = painted_slices(stack, adapter)
    total = min(MAX_CANDIDATES, stack.shape[0] - len(painted))
    events = uncertainty_events(stack, adapter, replace(config, plane="z"), pixel_size=pixel_size)
    scores: dict[int, float] = {}
    interruption = Interruption()
    with interruption.watched():
        started = begun(events)
        with progress_bar(total, "looking", "slice") as bar:
            for event in started:
                bar.update()
                scores[event.index] = event.uncertainty
                if interruption.requested:
                    break
    ranked = rank_slices(scores, painted, len(scores))
    if not options.json:
        for index in ranked:
            say(f"slice {index}: uncertainty {scores[index]:.3f}")
    ended = "stopped early; " if interruption.requested else ""
    tell(f"{ended}looked at {len(scores)} of {total} slices: {duration(time.monotonic() - began)} in all")
    return {
        "slices": [{"slice": index, "uncertainty": scores[index]} for index in ranked],
        "seconds": round(time.monotonic() - began, 2),
    }, interruption.requested
