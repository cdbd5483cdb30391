"""Options as arguments of the command line."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Collection, Sequence
from typing import Any

from napari_salt.terms.options import options_of, values_of

__all__ = ["arguments_of", "command_line"]


def arguments_of(config: Any, left_out: Collection[str] = ()) -> list[str]:
    """Arguments that set the options of `config` that differ from their defaults.

    Parameters
    ----------
    config
        A `TrainConfig` or `SegmentConfig`.
    left_out
        Names of options to leave out.
    """
    known, found = options_of(type(config)), []
    for name, value in values_of(config).items():
        option = known[name]
        if name in left_out or value == option.default or value is None:
            continue
        if option.kind == "flag":
            found.append(option.flag if value else f"--no-{option.flag.removeprefix('--')}")
        else:
            found += [option.flag, option.shown(value).replace(", ", ",")]
    return found


def command_line(arguments: Sequence[str]) -> str:
    """The arguments as one line for this system's shell, quoted where that is needed."""
    return subprocess.list2cmdline(arguments) if os.name == "nt" else shlex.join(arguments)
