"""``napari-salt completion``: what a shell needs to complete commands, options and their values."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

__all__ = ["SHELLS", "complete", "completion", "is_asked"]

SHELLS = ("bash", "zsh", "fish")
ASKS = "_ARGCOMPLETE"
"""Environment variable with which a shell asks for completions."""


def completion(options: argparse.Namespace) -> tuple[dict[str, Any], bool]:
    """``napari-salt completion``: print the shell's code."""
    from argcomplete.shell_integration import shellcode

    code = shellcode(["napari-salt"], shell=options.shell)  # nosec B604 # its name, no command
    if not options.json:
        sys.stdout.write(f"{code.strip()}\n")
    return {"shell": options.shell, "code": code}, False


def is_asked() -> bool:
    """Whether a shell asks for completions."""
    return ASKS in os.environ


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell, and end the process."""
    import argcomplete

    argcomplete.autocomplete(parser)
