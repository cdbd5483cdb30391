"""TOML tables as dataclasses and configs: read strictly, and written as people would write them."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import asdict, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from napari_salt.terms.config import SegmentConfig, TrainConfig
from napari_salt.terms.errors import InputError
from napari_salt.terms.limits import made_of
from napari_salt.terms.options import Option, changed, options_of, values_of
from napari_salt.terms.registry import BASES, split_size
from napari_salt.terms.slice_ranges import shown_slices
from napari_salt.terms.text import printable, shortened

__all__ = ["chosen", "config_of", "entries_of", "keys_of", "path_from", "row_of", "set_in", "shown"]

T = TypeVar("T")
Config = TypeVar("Config", TrainConfig, SegmentConfig)


def entries_of(given: Mapping[str, Any], name: str, short: str) -> list[tuple[str, Any]]:
    """Entries of a list of tables, with what to call them; a text stands for the key `short` alone."""
    entries = given.get(name, [])
    if not isinstance(entries, list):
        raise InputError(f"{name} is no list; write [[{name}]] before each")
    as_tables = [{short: each} if isinstance(each, str) else each for each in entries]
    return [(f"{name} {number}", entry) for number, entry in enumerate(as_tables, start=1)]


def keys_of(where: str, given: Any, known: Collection[str]) -> dict[str, Any]:
    """A table's values by key, with ``_`` for ``-``; an unknown key is refused."""
    if not isinstance(given, dict):
        raise InputError(f"{where} is {shown(given)}; give a table of keys: {_listed(known)}")
    values: dict[str, Any] = {}
    for key, value in given.items():
        name = key.replace("-", "_")
        if name not in known:
            near = get_close_matches(name, known, 1)
            meant = f"did you mean {as_written(near[0])!r}?" if near else f"there are {_listed(known)}"
            raise InputError(f"{where} has no key {shown(key)}; {meant}")
        if name in values:
            raise InputError(f"{where} has {key!r} twice; leave one out")
        values[name] = value
    return values


def row_of(kind: type[T], where: str, given: Any, shared: Mapping[str, Any] | None = None) -> T:
    """A dataclass of a table's values; `shared` ones count where the table has none."""
    values = keys_of(where, given, [each.name for each in fields(kind)])  # type: ignore[arg-type]
    try:
        return made_of(kind, where, {**(shared or {}), **values})
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    except ValueError as error:
        raise InputError(f"{error}; see docs/project.md") from error


def config_of(where: str, given: Any, config: Config) -> Config:
    """`config` with the options that a table sets, by the names that the command line has."""
    options = options_of(type(config))
    if isinstance(given, dict) and {"class_names", "class-names"} & set(given):
        raise InputError(f"{where} has names of classes; give each class a [[classes]] with value and name")
    values = keys_of(where, given, [name for name in options if name != "class_names"])
    try:
        return changed(config, {name: _value(options[name], value) for name, value in values.items()})
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def _value(option: Option, given: Any) -> Any:
    """The value of an option, from a text as the command line takes it, or from another TOML value."""
    if isinstance(given, str):
        return option.of_text(given)
    value = tuple(given) if isinstance(given, list) else given
    option.check(value)
    return value


def set_in(entry: Any) -> dict[str, Any]:
    """Mapping[str, Any] of a dataclass that are not as by default, by their keys in the file."""
    default = {each.name: each.default for each in fields(entry)}
    return {as_written(n): value for n, value in asdict(entry).items() if value != default[n]}


def chosen(config: TrainConfig | SegmentConfig, folder: Path) -> dict[str, Any]:
    """Options of `config` that are not as by default, by their keys in the file."""
    values = values_of(config)
    options = options_of(type(config))
    chosen = {name: values[name] for name in values if values[name] != options[name].default}
    if "slices" in chosen:
        chosen["slices"] = shown_slices(chosen["slices"])
    base = chosen.get("base")
    if base is not None and split_size(str(base))[0] not in BASES:
        chosen["base"] = path_from(folder, Path(str(base)).absolute())
    return {as_written(n): list(v) if isinstance(v, tuple) else v for n, v in chosen.items()}


def as_written(name: str) -> str:
    """A key as it stands in the file, like a flag of the command line without its dashes."""
    return name.replace("_", "-")


def _listed(known: Collection[str]) -> str:
    return ", ".join(map(as_written, known))


def shown(value: Any) -> str:
    """A value in a message: short, on one line."""
    return shortened(printable(repr(value)), 60)


def path_from(folder: Path, path: Path) -> str:
    """`path` as seen from `folder`, with slashes; absolute where it is on another drive."""
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:
        return path.absolute().as_posix()
