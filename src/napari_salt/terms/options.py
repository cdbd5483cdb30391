"""Options of training and segmenting, each declared once: as a field of a config.

The command line's flags, the panel's controls, the checks and the reference page come from these fields.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from inspect import cleandoc
from numbers import Integral, Real
from textwrap import fill, indent
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from napari_salt.terms.errors import InputError
from napari_salt.terms.slice_ranges import parse_slices
from napari_salt.terms.units import minutes_of

__all__ = ["Option", "changed", "check_options", "documented", "option", "options_of", "values_of"]

Config = TypeVar("Config")

KEY = "option"


@dataclass(frozen=True)
class Kind:
    """What values of one type are: in words, as a test, and from and to text."""

    says: str
    fits: Callable[[Any], bool]
    parse: Callable[[str], Any] = str
    shown: Callable[[Any], str] = str


@dataclass(frozen=True)
class Option:
    """What a user may set.

    Parameters
    ----------
    name
        The field's name.
    kind
        ``"flag"``, ``"whole"``, ``"number"``, ``"text"``, ``"choice"``, ``"rank"``, ``"slices"``, ``"parts"``
        (texts) or ``"names"`` (texts by whole number).
    default
        Value unless set; None may be a value.
    text
        What it means, in a sentence or two.
    label
        What stands beside its control in the panel.
    group
        Where it is shown: ``"model"``, ``"paint"``, ``"training"``, ``"advanced"`` or ``"segmenting"``.
    low, high
        Limits, both allowed.
    above
        Limit that is not allowed.
    unit
        Unit of a number.
    nothing
        What None means, in a word or two; "" where None is no value.
    choices
        Values to choose from, and what the panel shows for each.
    step
        By how much the arrows of its control change it.
    """

    name: str
    kind: str
    default: Any
    text: str
    label: str
    group: str
    low: float | None = None
    high: float | None = None
    above: float | None = None
    unit: str = ""
    nothing: str = ""
    choices: Mapping[str, str] = field(default_factory=dict)
    step: float | None = None

    @property
    def flag(self) -> str:
        """Its flag on the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def values(self) -> str:
        """What it may be, in words, such as "a whole number from 1 to 4"."""
        if self.choices:
            *others, last = self.choices
            return f"{', '.join(others)} or {last}"
        limits = (
            ("above", self.above),
            ("from", self.low),
            ("and up to" if self.above is not None else "to", self.high),
        )
        span = "".join(f" {word} {limit}" for word, limit in limits if limit is not None)
        return KINDS[self.kind].says + (f" of {self.unit}" if self.unit else "") + span

    @property
    def rule(self) -> str:
        """What may be given, what None means, and the default, in sentences."""
        nothing = f" None: {self.nothing}." if self.nothing else ""
        default = "" if self.default is None else f" Default {self.shown(self.default) or 'empty'}."
        return f"{self.values[0].upper()}{self.values[1:]}.{nothing}{default}"

    def check(self, value: Any) -> None:
        """Raise InputError if `value` is not one of its values."""
        if not ((value is None and self.nothing) or self._has(value)):
            raise InputError(f"{self.name} is {value!r}; give {self.values}")

    def parse(self, text: str) -> Any:
        """The value that `text` stands for.

        Raises
        ------
        InputError
            If there is none.
        """
        parse = minutes_of if self.unit == "minutes" else KINDS[self.kind].parse
        try:
            value = parse(text.strip())
        except InputError:
            raise
        except ValueError:
            raise InputError(f"{self.name} is {text!r}; give {self.values}") from None
        self.check(value)
        return value

    def of_text(self, text: str) -> Any:
        """As `parse`; also None, for the words that stand for it.

        Raises
        ------
        InputError
            If there is no such value.
        """
        return None if self.nothing and text in ("auto", self.nothing) else self.parse(text)

    def shown(self, value: Any) -> str:
        """`value` as text, as a user would write it."""
        return "" if value is None else KINDS[self.kind].shown(value)

    def _has(self, value: Any) -> bool:
        if self.choices:
            return isinstance(value, str) and value in self.choices
        if not KINDS[self.kind].fits(value):
            return False
        return self.kind not in ("whole", "number") or (
            math.isfinite(value)
            and (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
            and (self.above is None or value > self.above)
        )


def option(default: Any, text: str, group: str, **facts: Any) -> Any:
    """A field of a config that users set; see `Option` for the facts. The type comes from the annotation."""
    about = {KEY: {"text": text, "group": group, **facts}}
    if isinstance(default, dict):
        return field(default_factory=dict, metadata=about)
    return field(default=default, metadata=about)


def documented(config: type[Config]) -> type[Config]:
    """Add the options to the docstring of a config, before its other parameters."""
    title, _, others = (config.__doc__ or "").partition("\n\n")
    lines = ["Parameters", "----------"]
    for each in options_of(config).values():
        lines += [each.name, indent(fill(f"{each.text} {each.rule}", 96), "    ")]
    rest = cleandoc(others).removeprefix("Parameters\n----------\n")
    config.__doc__ = "\n".join([title, "", *lines, rest])
    return config


def options_of(config: type[Any]) -> dict[str, Option]:
    """Options of a config by name, those of the configs in it included."""
    if config not in _KNOWN:
        hints = get_type_hints(config)
        found: dict[str, Option] = {}
        for each in fields(config):
            if is_dataclass(hints[each.name]):
                found |= options_of(hints[each.name])
            elif KEY in each.metadata:
                found[each.name] = _made(each, hints[each.name])
        _KNOWN[config] = found
    return _KNOWN[config]


def check_options(config: Any) -> None:
    """Raise InputError at the first option of `config` itself with a value that it cannot have."""
    known = options_of(type(config))
    for each in fields(config):
        if each.name in known:
            known[each.name].check(getattr(config, each.name))


def values_of(config: Any) -> dict[str, Any]:
    """Values of all options by name."""
    values: dict[str, Any] = {}
    for each in fields(config):
        value = getattr(config, each.name)
        if is_dataclass(value):
            values |= values_of(value)
        elif KEY in each.metadata:
            values[each.name] = value
    return values


def changed(config: Config, values: Mapping[str, Any]) -> Config:
    """`config` with other values of some options.

    Raises
    ------
    InputError
        If an option cannot have its value.
    TypeError
        If there is no such option.
    """
    rest, own = dict(values), {}
    for each in fields(config):  # type: ignore[arg-type]
        value = getattr(config, each.name)
        if is_dataclass(value) and not isinstance(value, type):
            inner = {name: rest.pop(name) for name in options_of(type(value)) if name in rest}
            own[each.name] = changed(value, inner)
        elif each.name in rest:
            own[each.name] = rest.pop(each.name)
    if rest:
        raise TypeError(f"{type(config).__name__} has no option {', '.join(rest)}")
    return replace(config, **own)  # type: ignore[type-var]


_KNOWN: dict[type[Any], dict[str, Option]] = {}


def _made(each: Any, hint: Any) -> Option:
    facts = dict(each.metadata[KEY])
    kind = _kind_of(hint)
    choices = facts.pop("choices", {value: value for value in _literals(hint)} if kind == "choice" else {})
    facts.setdefault("label", each.name.replace("_", " "))
    default = each.default_factory() if callable(each.default_factory) else each.default
    return Option(each.name, "choice" if choices else kind, default, choices=choices, **facts)


def _kind_of(hint: Any) -> str:
    kinds = [part for part in _parts(hint) if part is not NoneType]
    if len(kinds) > 1:
        return "rank"
    (kind,) = kinds
    if get_origin(kind) is tuple:
        return "slices" if get_args(kind)[0] is int else "parts"
    origins = {Literal: "choice", Mapping: "names"}
    return origins.get(get_origin(kind)) or {bool: "flag", int: "whole", float: "number", str: "text"}[kind]


def _literals(hint: Any) -> tuple[str, ...]:
    return tuple(value for part in _parts(hint) for value in get_args(part))


def _parts(hint: Any) -> tuple[Any, ...]:
    """Members of a union, or the type itself."""
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _is_rank(value: Any) -> bool:
    if isinstance(value, str):
        return value == "auto"
    return (_is_whole(value) and value >= 0) or (isinstance(value, float) and 0.0 <= value <= 1.0)


def _is_text(value: Any) -> bool:
    return isinstance(value, str | os.PathLike)


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_list_of(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda values: (
        isinstance(values, Sequence) and not isinstance(values, str) and all(map(fits, values))
    )


def _parse_rank(text: str) -> int | float | str:
    if text == "auto":
        return text
    return int(text) if text.isdigit() else float(text)


def _parse_parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _parse_names(text: str) -> dict[int, str]:
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(value.strip().isdigit() and name.strip() for value, _, name in pairs):
        raise InputError(f"{text!r} is not a list such as 1=nucleus,2=membrane")
    return {int(value): name.strip() for value, _, name in pairs}


def _joined(values: Sequence[Any]) -> str:
    return ", ".join(map(str, values))


KINDS: Mapping[str, Kind] = {
    "flag": Kind("True or False", lambda value: isinstance(value, bool)),
    "whole": Kind("a whole number", _is_whole, int),
    "number": Kind("a number", _is_number, float),
    "text": Kind("a text", _is_text),
    "choice": Kind("a choice", lambda value: isinstance(value, str)),
    "rank": Kind("a whole number from 0, a share from 0.0 to 1.0, or auto", _is_rank, _parse_rank),
    "slices": Kind("slices such as 3,12 or 0-9", _is_list_of(_is_whole), parse_slices, _joined),
    "parts": Kind(
        "names such as mask_decoder", _is_list_of(lambda v: isinstance(v, str)), _parse_parts, _joined
    ),
    "names": Kind(
        "names such as 1=nucleus,2=membrane",
        lambda value: isinstance(value, Mapping),
        _parse_names,
        lambda value: ",".join(f"{number}={name}" for number, name in value.items()),
    ),
}
