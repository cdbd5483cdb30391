"""Whether a test notices that the wiring of an option is gone: one option and one surface at a time.

    python tests/benchmarks/mutations.py [--surface cli panel] [--option rank ...]

The option's value is dropped where the command line's arguments, or the panel's controls, become a config.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

from napari_salt.terms.config import SegmentConfig, TrainConfig
from napari_salt.terms.options import changed, options_of

TESTS = Path(__file__).parents[1]
SURFACES = {
    "cli": ("napari_salt.cli._inputs.changed", ["test_options.py", "-k", "command_line"]),
    "panel": ("napari_salt.session._options.changed", ["test_widget_options.py", "-k", "every_option"]),
}
ELSEWHERE = ("base", "slices", "class_names")
"""What the panel takes from the list of bases, the paint and the table of classes."""
DROPPED = "NAPARI_SALT_DROPPED_OPTION"


@pytest.fixture(autouse=True)
def _without_an_option(monkeypatch):
    """As a plugin of pytest: drop an option from what a surface sets."""
    surface, config, name = os.environ[DROPPED].split(":")

    def without(old, values):
        kept = {n: v for n, v in values.items() if n != name or type(old).__name__ != config}
        return changed(old, kept)

    monkeypatch.setattr(SURFACES[surface][0], without)


def noticed(surface: str, config: str, name: str) -> bool:
    """Whether the tests of the surface fail without the option."""
    arguments = [str(TESTS / SURFACES[surface][1][0]), *SURFACES[surface][1][1:]]
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "mutations", *arguments],
        env=os.environ | {DROPPED: f"{surface}:{config}:{name}", "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        check=False,
        text=True,
    )
    if run.returncode not in (0, 1):
        raise RuntimeError(run.stdout + run.stderr)
    return run.returncode == 1


def main() -> None:
    """Try all; the exit code is 1 if one was not noticed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--surface", nargs="+", choices=[*SURFACES], default=[*SURFACES])
    parser.add_argument("--option", nargs="+")
    asked = parser.parse_args()
    missed = 0
    for surface in asked.surface:
        for config in (TrainConfig, SegmentConfig):
            for name in options_of(config):
                if (asked.option and name not in asked.option) or (surface == "panel" and name in ELSEWHERE):
                    continue
                found = noticed(surface, config.__name__, name)
                missed += not found
                said = "noticed" if found else "NOT NOTICED"
                sys.stdout.write(f"{surface:6} {config.__name__:14} {name:17} {said}\n")
                sys.stdout.flush()
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
