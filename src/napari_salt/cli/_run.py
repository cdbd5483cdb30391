"""``napari-salt run``: carry out a project's file."""

from __future__ import annotations

import argparse
from typing import Any

from napari_salt.cli._plan import say_plan
from napari_salt.cli._project import planned
from napari_salt.cli._project import run as carry_out
from napari_salt.cli._terminal import duration, tell
from napari_salt.terms.project import Project

__all__ = ["run"]


def run(options: argparse.Namespace) -> tuple[dict[str, Any], bool]:
    """``napari-salt run``."""
    project = Project.load(options.project)
    if options.dry_run:
        facts = planned(project)
        if not options.json:
            say_plan({name: value for name, value in facts.items() if name != "failed"})
        return facts, False
    done = carry_out(project)
    count, kept = len(done.segmentations), len(done.segmentations) - done.made
    told = f"{count} images are segmented ({done.made} now, {kept} before)"
    if done.failed:
        told += f"; not used: {', '.join(done.failed)}"
    if done.interrupted:
        told = f"stopped early; {told}; the same command goes on"
    tell(f"{told}: {duration(done.seconds)} in all")
    return {
        "adapter": str(done.adapter),
        "trained": done.trained,
        "segmented": done.made,
        "kept": kept,
        "failed": [{"file": file, "reason": reason} for file, reason in done.failed.items()],
        "table": None if done.table is None else str(done.table),
        "report": None if done.report is None else str(done.report),
        "seconds": done.seconds,
    }, done.interrupted
