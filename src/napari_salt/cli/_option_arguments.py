"""Flags of the command line for the options of training and segmenting, and how their values are read."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection
from typing import Any

from napari_salt.terms.errors import InputError
from napari_salt.terms.options import Option, options_of

__all__ = ["add_options", "parser_of", "read_by"]

METAVARS = {
    "base": "NAME|CHECKPOINT[@SIZE]",
    "class_names": "1=nucleus,2=...",
    "rank": "N|SHARE|auto",
    "pixel_scale": "S|auto",
}


def add_options(
    parser: argparse.ArgumentParser, config: type[Any], names: Collection[str] | None = None
) -> None:
    """Add flags for the options of `config`, or for those in `names`; an option not given is not set."""
    for option in options_of(config).values():
        if names is not None and option.name not in names:
            continue
        about: dict[str, Any] = {"default": argparse.SUPPRESS, "dest": option.name, "help": _help(option)}
        if option.kind == "flag":
            unlike = "store_false" if option.default else "store_true"
            flag = "--no-" + option.name.replace("_", "-") if option.default else option.flag
            parser.add_argument(flag, action=unlike, **about)
        else:
            action = parser.add_argument(
                option.flag, type=parser_of(option), metavar=_metavar(option), **about
            )
            _complete_from(action, option)


def _complete_from(action: argparse.Action, option: Option) -> None:
    """Let shells complete the value of an option that has choices, or names a base model."""

    def words(**_: Any) -> list[str]:
        if option.name != "base":
            return list(option.choices)
        from napari_salt.terms.registry import BASES

        return list(BASES)

    if option.choices or option.name == "base":
        action.completer = words  # type: ignore[attr-defined]


def _help(option: Option) -> str:
    nothing = f" (default: {option.nothing})" if option.nothing else ""
    default = (
        "" if option.kind == "flag" or not option.default else f" (default: {option.shown(option.default)})"
    )
    text = f"do not: {option.text[0].lower()}{option.text[1:]}" if option.default is True else option.text
    return (text + nothing + default).replace("%", "%%")


def _metavar(option: Option) -> str:
    if option.choices:
        return "|".join(option.choices)
    return METAVARS.get(option.name) or {"whole": "N", "slices": "3,12", "parts": "PART,..."}.get(
        option.kind, option.name.upper()
    )


def parser_of(option: Option) -> Callable[[str], Any]:
    """How argparse reads the value of an option."""

    def parse(text: str) -> Any:
        try:
            return option.of_text(text)
        except InputError as error:
            own = str(error).startswith(f"{option.name} is ")
            told = f"{text} is not {option.values}" if own else str(error)
            raise argparse.ArgumentTypeError(told) from error

    return parse


def read_by(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """`parse` for argparse, which tells what is wrong with the argument."""

    def read(text: str) -> Any:
        try:
            return parse(text)
        except InputError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return read
