"""Limits of an adapter file's metadata, checked before anything is allocated."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, TypeVar

from napari_salt.terms.text import plain, printable, shortened

__all__ = [
    "CLASS_COLOR",
    "CLASS_NAME",
    "MAX_CLASS_NAME",
    "MAX_FILE_BYTES",
    "MAX_HEADER_BYTES",
    "Rule",
    "longest",
    "made_of",
    "parsed",
    "text_of",
]

T = TypeVar("T")

MAX_FILE_BYTES, MAX_HEADER_BYTES = 1_000_000_000, 4_000_000
MAX_JSON, MAX_ENTRIES, MAX_DEPTH, MAX_NUMBER = 1_000_000, 100_000, 5, 2**63
MAX_STACKS = 1000
MAX_TEXT, MAX_DESCRIPTION, MAX_SENTENCE, MAX_CLASS_NAME = 500, 20_000, 200_000, 200
MAX_TARGETS = 1_000


@dataclass(frozen=True)
class Rule:
    """What a value must be: in words, and as a test of any JSON value."""

    expected: str
    holds: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _are_two_numbers(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(map(_is_number, value))


def _whole(low: int, high: int) -> Rule:
    return Rule(f"a whole number from {low} to {high}", lambda v: type(v) is int and low <= v <= high)


def _number(low: float, high: float) -> Rule:
    return Rule(f"a number from {low:g} to {high:g}", lambda v: _is_number(v) and low <= v <= high)


def _text(most: int = MAX_TEXT, pattern: str = "", what: str = "text") -> Rule:
    shape = re.compile(pattern or ".*", re.DOTALL)

    def holds(value: Any) -> bool:
        return isinstance(value, str) and len(value) <= most and shape.fullmatch(value) is not None

    return Rule(f"{what} of at most {most} characters", holds)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TEXT


def _several(entry: Rule, most: int, least: int = 0) -> Rule:
    def holds(value: Any) -> bool:
        return (
            isinstance(value, list | tuple) and least <= len(value) <= most and all(map(entry.holds, value))
        )

    return Rule(f"a list of {least} to {most}, each {entry.expected}", holds)


CLASS_NAME = _text(MAX_CLASS_NAME)
CLASS_COLOR = Rule(
    "a colour such as #e6194b", lambda v: isinstance(v, str) and bool(re.fullmatch("#[0-9a-fA-F]{6}", v))
)
FLAG = Rule("true or false", lambda v: isinstance(v, bool))
SHARE = _number(0, 1)
HASH = _text(128, "[0-9a-f]+", "a hash")
COUNT = _whole(0, 10**12)

TEXTS: Mapping[str, Rule] = {
    "base_model": _text(300, r"[^/\\]+", "the name of a base model, which is no path,"),
    "base_sha256": HASH,
    "weights_sha256": HASH,
    "border": _text(10, "[0-9]*", "a label value"),
    "divided": _text(10, r"(0\.[0-9]+)?", "a number between 0 and 1"),
    "smallest": _text(12, r"([0-9]+\.[0-9]+)?", "an area in pixels"),
    "name": _text(),
    "description": _text(MAX_DESCRIPTION),
    "author": _text(),
    "license": _text(),
}

TYPES: Mapping[str, Rule] = {
    "int": Rule("a whole number", lambda v: type(v) is int),
    "float": Rule("a number", _is_number),
    "float | None": Rule("a number or nothing", lambda v: v is None or _is_number(v)),
    "str": _text(),
    "str | None": Rule("a text", lambda v: v is None or _is_text(v)),
    "int | None": Rule("a whole number", lambda v: v is None or type(v) is int),
    "int | str | None": Rule(
        "a whole number or a text", lambda v: v is None or type(v) is int or _is_text(v)
    ),
    "float | str | None": Rule("a number or a text", lambda v: v is None or _is_number(v) or _is_text(v)),
    "Plane": _text(),
    "bool": FLAG,
    "Rank": Rule("a number or 'auto'", lambda v: _is_number(v) or v == "auto"),
    "tuple[float, float]": Rule("two numbers", _are_two_numbers),
    "tuple[float, float] | None": Rule("two numbers or nothing", lambda v: v is None or _are_two_numbers(v)),
    "tuple[str, ...]": _several(_text(), MAX_TARGETS),
}
"""Types of settings in the file, by the name of their annotation; the dataclasses check the ranges."""

STACK: Mapping[str, Rule] = {
    "painted_slices": _several(COUNT, MAX_ENTRIES),
    "data_shape": _several(COUNT, 4),
    "data_sha256": HASH,
}
"""Rules for the metadata of a stack that an adapter was trained on."""


def _is_stack(value: Any) -> bool:
    return isinstance(value, dict) and all(
        key in value and rule.holds(value[key]) for key, rule in STACK.items()
    )


DICE = Rule(
    "label values with numbers from 0 to 1",
    lambda v: (
        isinstance(v, dict)
        and all(re.fullmatch("[0-9]{1,10}", key) and SHARE.holds(dice) for key, dice in v.items())
    ),
)


def _is_measurement(value: Any) -> bool:
    return (
        isinstance(value, list | tuple) and len(value) == 2 and COUNT.holds(value[0]) and DICE.holds(value[1])
    )


TRAINING: Mapping[str, Rule] = {
    **STACK,
    "more_stacks": _several(Rule("the facts of a stack", _is_stack), MAX_STACKS),
    "data_type": _text(),
    "date": _text(),
    "seed": _whole(0, 2**63 - 1),
    "steps": COUNT,
    "warm_steps": COUNT,
    "seconds": _number(0, 1e12),
    "losses": _several(_number(-1e12, 1e12), 10_000),
    "intensities": _several(_several(_several(_number(-1e6, 1e6), 100, 1), 100, 1), 4),
    "held_out": _text(MAX_SENTENCE),
    "held_out_dice": DICE,
    "dice_curve": _several(Rule("a step with Dice by label value", _is_measurement), 10_000),
    "leak_free": FLAG,
    "unpainted": _text(),
    "device": _text(),
    "napari_salt": _text(),
    "torch": _text(),
    "platform": _text(),
}
"""Rules for the metadata of a training. Other keys are allowed; those that the program uses belong here."""


def longest(field: str) -> int:
    """Largest number of characters of the text `field`."""
    return MAX_DESCRIPTION if field == "description" else MAX_TEXT


def text_of(metadata: Mapping[str, str], field: str) -> str:
    """A text field, as plain text.

    Raises
    ------
    ValueError
        If it is missing though it must be there, too long, or of another form.
    """
    text = printable(metadata.get(field, ""), "\n" if field == "description" else "")
    _check(field, text, TEXTS[field])
    return text


def parsed(metadata: Mapping[str, str], field: str) -> Any:
    """The JSON of a field, its texts plain.

    Raises
    ------
    ValueError
        If it is missing, no JSON, too large, nested too deep, or holds enormous numbers or NaN.
    """
    text = metadata.get(field, "")
    if len(text) > MAX_JSON:
        raise ValueError(f"{field} has {len(text)} characters, expected at most {MAX_JSON}")
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(f"{field} is nested deeper than {MAX_DEPTH}") from None
    except ValueError:
        raise ValueError(f"{field} is {_shown(text)}, expected valid JSON") from None
    if _count(field, value, MAX_DEPTH) > MAX_ENTRIES:
        raise ValueError(f"{field} has more than {MAX_ENTRIES} entries")
    return _training(plain(value)) if field == "training" else plain(value)


def made_of(kind: type[T], what: str, values: Any) -> T:
    """Dataclass `kind` from JSON `values`, each of the type that its annotation names.

    Parameters
    ----------
    what
        Name of the whole in messages, such as "preprocess".

    Raises
    ------
    ValueError
        Naming the first setting that is unknown, missing, of another type, or out of range.
    """
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in _table(what, values).items()}
    for name, value in given.items():
        if name not in known:
            raise ValueError(f"{what} has the unknown setting {_shown(name)}")
        _check(f"{what}: {name}", value, TYPES[str(known[name].type)])
    for name, field in known.items():
        if name not in given and field.default is MISSING:
            raise ValueError(f"{what} lacks {name}")
    return kind(**given)


def _check(name: str, value: Any, rule: Rule) -> None:
    if not rule.holds(value):
        raise ValueError(f"{name} is {_shown(value)}, expected {rule.expected}")


def _shown(value: Any) -> str:
    """A value in a message: short, on one line."""
    text = printable(repr(value))
    return shortened(text, 60) + (
        f" ({len(value)} characters)" if len(text) > 60 and type(value) is str else ""
    )


def _table(what: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} is {_shown(value)}, expected a table of settings")  # noqa: TRY004
    return value


def _count(field: str, value: Any, depth: int) -> int:
    """Number of entries in `value`; raises ValueError where depth, texts or numbers exceed the limits."""
    if isinstance(value, list | dict):
        if depth == 0:
            raise ValueError(f"{field} is nested deeper than {MAX_DEPTH}")
        if isinstance(value, list):
            return 1 + sum(_count(field, entry, depth - 1) for entry in value)
        named = ((f"{field}: {shortened(printable(key), 60)}", entry) for key, entry in value.items())
        return 1 + sum(1 + _count(name, entry, depth - 1) for name, entry in named)
    if isinstance(value, str) and len(value) > MAX_SENTENCE:
        raise ValueError(f"{field} holds a text of {len(value)} characters, expected at most {MAX_SENTENCE}")
    if _is_number(value) and not -MAX_NUMBER <= value <= MAX_NUMBER:  # NaN fails both comparisons
        raise ValueError(f"{field} is {_shown(value)}, expected numbers up to {MAX_NUMBER:.2g}")
    return 1


def _training(facts: Any) -> dict[str, Any]:
    """Check the metadata of a training, and that its entries agree; returns it as a dict."""
    for key, value in _table("training", facts).items():
        if key in TRAINING:
            _check(f"training: {key}", value, TRAINING[key])
    for stack in (facts, *facts.get("more_stacks", ())):
        painted, shape = stack.get("painted_slices", ()), stack.get("data_shape", ())
        if painted and not (shape and max(painted) < shape[0] and len(set(painted)) == len(painted)):
            raise ValueError(
                f"training: painted_slices is {_shown(painted)}, expected different slices of data_shape "
                f"{shape}"
            )
    return dict(facts)
