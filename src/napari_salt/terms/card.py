"""Metadata of an adapter file, read from the safetensors header without torch."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from safetensors import SafetensorError, safe_open

from napari_salt.terms.config import SaltConfig
from napari_salt.terms.errors import AdapterError, InputError
from napari_salt.terms.limits import (
    CLASS_COLOR,
    CLASS_NAME,
    MAX_FILE_BYTES,
    MAX_HEADER_BYTES,
    longest,
    made_of,
    parsed,
    text_of,
)
from napari_salt.terms.methods import DEFAULT_METHOD, METHODS, Method, method_of_file
from napari_salt.terms.preprocess import Preprocess
from napari_salt.terms.tensor_checks import check_tensors, named
from napari_salt.terms.text import printable, reason, shortened

__all__ = [
    "TEXT_FIELDS",
    "AdapterCard",
    "ClassInfo",
    "check_texts",
    "class_names",
    "described",
    "parameters_in",
]

FORMAT, FORMAT_VERSION = "napari-salt", "1"
LATER = ("plane", "fade", "window")
"""Settings of the preprocessing that the first files did not have."""
OF_OBJECTS = ("border", "divided", "smallest")
"""What the file says of objects only where there are borders."""
DIVIDED = 0.25
"""Depth at which touching objects come apart, of an adapter that does not say."""
MAX_CLASSES, MAX_VALUE, SHOWN_CLASSES = 255, 2**31 - 1, 8
HEADER_LENGTH_BYTES = 8
TEXT_FIELDS = ("name", "description", "author", "license")


@dataclass(frozen=True)
class ClassInfo:
    """One class: its label value in the user's layer, its name, and a "#rrggbb" colour."""

    value: int
    name: str
    color: str

    def __post_init__(self) -> None:
        for key, rule in (("name", CLASS_NAME), ("color", CLASS_COLOR)):
            found = getattr(self, key)
            if not rule.holds(found):
                found = shortened(repr(found), 60)
                raise InputError(f"the {key} of class {self.value} is {found}; give {rule.expected}")


@dataclass(frozen=True, kw_only=True)
class AdapterCard:
    """An adapter without its tensors.

    Parameters
    ----------
    base_model, base_sha256, weights_sha256
        Registry name of the base (``KIND:FILE`` for a local checkpoint; then ``@SIZE``, unless the
        input size is the native one), hash of its file, and hash of its weights.
    method
        How the base was adapted: a name of `napari_salt.terms.methods.METHODS`.
    salt
        Ranks and targets.
    classes
        The classes, in the order of the class tokens.
    preprocess
        How slices become model input.
    training
        How it was trained: date, steps, seconds, seed, losses, held-out Dice, versions.
    border
        Label value of the class that is the borders of objects; 0: there is none. Where there is, the only
        other class is the insides of objects.
    divided
        How deep a waist must be at which touching objects come apart, 0 to 1 (see `core.paint.dividing`); of
        no use where there are no borders.
    smallest
        Area of the smallest objects that are kept, where each is largest, in pixels of the model's input (see
        `core.paint.objects.smallest_area`); 0: it is not known.
    name, description, author, license
        Free text.
    """

    base_model: str
    base_sha256: str
    weights_sha256: str
    method: str = DEFAULT_METHOD
    salt: SaltConfig
    classes: tuple[ClassInfo, ...]
    preprocess: Preprocess
    training: Mapping[str, Any] = field(default_factory=dict)
    border: int = 0
    divided: float = DIVIDED
    smallest: float = 0.0
    name: str = ""
    description: str = ""
    author: str = ""
    license: str = ""

    @property
    def values(self) -> tuple[int, ...]:
        """Label value of each class."""
        return tuple(c.value for c in self.classes)

    @property
    def shown_classes(self) -> tuple[ClassInfo, ...]:
        """The classes that a user knows of: all but borders of objects."""
        return tuple(info for info in self.classes if info.value != self.border)

    @property
    def shown_values(self) -> tuple[int, ...]:
        """Label value that each class is shown as: the borders of objects as what they surround."""
        inside = self.shown_classes[0].value
        return tuple(inside if value == self.border else value for value in self.values)

    @property
    def held_out_dice(self) -> dict[int, float]:
        """Dice by label value of the classes that could be scored on held-out paint."""
        return {int(value): dice for value, dice in self.training.get("held_out_dice", {}).items()}

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> AdapterCard:
        """Read the description in an adapter's file; of its tensors only the shapes are checked.

        Raises
        ------
        AdapterError
            If it is missing, not a napari-salt adapter, of another version, or damaged.
        """
        return cls.from_metadata(Path(path), *_header(Path(path)))

    @classmethod
    def from_bytes(cls, content: bytes) -> AdapterCard:
        """Read the description in the content of an adapter's file (see `read`)."""
        header, _ = _parts_of(content)
        metadata = header.pop("__metadata__")
        shapes = {name: about["shape"] for name, about in header.items()}
        dtypes = {name: about["dtype"] for name, about in header.items()}
        return cls.from_metadata(Path("adapter"), metadata, shapes, dtypes)

    @classmethod
    def from_metadata(
        cls,
        source: Path,
        metadata: Mapping[str, str],
        shapes: Mapping[str, Sequence[int]],
        dtypes: Mapping[str, str],
    ) -> AdapterCard:
        """Check and parse the header's strings (see `read` for errors).

        Parameters
        ----------
        source
            Named in errors.
        metadata
            The header's strings.
        shapes
            Shape of each tensor, by name.
        dtypes
            Type of each tensor in the words of safetensors, by name.
        """
        method = _method(source, metadata)
        try:
            card = cls(
                base_model=text_of(metadata, "base_model"),
                base_sha256=text_of(metadata, "base_sha256"),
                weights_sha256=text_of(metadata, "weights_sha256"),
                method=method.name,
                salt=_settled(method, made_of(SaltConfig, "config", parsed(metadata, "config"))),
                classes=_classes(parsed(metadata, "classes")),
                preprocess=made_of(Preprocess, "preprocess", parsed(metadata, "preprocess")),
                training=parsed(metadata, "training"),
                border=int(text_of(metadata, "border") or 0),
                divided=float(text_of(metadata, "divided") or DIVIDED),
                smallest=float(text_of(metadata, "smallest") or 0),
                **{name: text_of(metadata, name) for name in TEXT_FIELDS},
            )
            check_tensors(shapes, dtypes, card.salt, len(card.classes))
            if card.border and (len(card.classes) != 2 or card.border != card.values[1]):
                raise ValueError(f"border is {card.border}, expected the second of two classes")  # noqa: TRY301
        except ValueError as error:
            raise AdapterError(
                f"{source}: damaged adapter description ({reason(error)}); get a fresh copy"
            ) from error
        return card

    def with_texts(self, texts: Mapping[str, str]) -> Self:
        """The same with other texts (name, description, author, license); those not given stay.

        Raises
        ------
        AdapterError
            If one is none of these, or too long.
        """
        check_texts(texts)
        return replace(self, **texts)  # type: ignore[arg-type]

    def metadata(self) -> dict[str, str]:
        """Give the strings of the file's header (the inverse of `from_metadata`).

        Raises
        ------
        AdapterError
            If a text is longer than a file may hold.
        """
        check_texts({name: getattr(self, name) for name in TEXT_FIELDS})
        return {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "peft_type": METHODS[self.method].peft_type,
            "base_model": self.base_model,
            "base_sha256": self.base_sha256,
            "weights_sha256": self.weights_sha256,
            "config": json.dumps(asdict(self.salt)),
            "classes": json.dumps([asdict(c) for c in self.classes]),
            "preprocess": json.dumps(_as_written(self.preprocess)),
            "training": json.dumps(dict(self.training)),
            **({name: str(getattr(self, name)) for name in OF_OBJECTS} if self.border else {}),
            **{name: getattr(self, name) for name in TEXT_FIELDS},
        }


def parameters_in(path: str | os.PathLike[str]) -> int:
    """Count the scalars in an adapter's file (see `AdapterCard.read` for errors)."""
    _, shapes, _ = _header(Path(path))
    return sum(math.prod(shape) for shape in shapes.values())


def class_names(classes: Sequence[ClassInfo]) -> str:
    """Names of up to 8 classes, shortened and separated by commas, and the number of the others."""
    names = ", ".join(shortened(info.name, 40) for info in classes[:SHOWN_CLASSES])
    more = len(classes) - SHOWN_CLASSES
    return f"{names} and {more} more" if more > 0 else names


def described(content: bytes, **texts: str) -> bytes:
    """Give an adapter's file with other texts (name, description, author, license); the rest stays.

    Raises
    ------
    AdapterError
        If `content` is not an adapter's file, or a text is none of these.
    """
    check_texts(texts)
    header, tensors = _parts_of(content)
    header["__metadata__"] |= texts
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % HEADER_LENGTH_BYTES)  # the format wants aligned tensors
    return len(text).to_bytes(HEADER_LENGTH_BYTES, "little") + text + tensors


def _parts_of(content: bytes) -> tuple[dict[str, Any], bytes]:
    """The header and the rest: safetensors reads a header's strings from files only."""
    length = int.from_bytes(content[:HEADER_LENGTH_BYTES], "little")
    end = HEADER_LENGTH_BYTES + length
    try:
        if length > MAX_HEADER_BYTES:
            raise ValueError(f"its header claims {length} bytes, more than {MAX_HEADER_BYTES}")  # noqa: TRY301
        header = json.loads(content[HEADER_LENGTH_BYTES:end])
        _check_entries(header)
    except (RecursionError, ValueError) as error:
        raise AdapterError(f"no adapter's file ({reason(error)}); get a fresh copy") from error
    return header, content[end:]


def _check_entries(header: Any) -> None:
    """Raise ValueError for a header that is not one of safetensors with strings."""
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("its header has no table of texts")
    for name, about in header.items():
        if name != "__metadata__" and not (isinstance(about, dict) and _is_entry(about)):
            raise ValueError(f"its header does not say what {named(name)} is")


def _is_entry(about: Mapping[str, Any]) -> bool:
    shape = about.get("shape")
    sides = shape if isinstance(shape, list) else [None]
    return isinstance(about.get("dtype"), str) and all(type(side) is int and side >= 0 for side in sides)


def check_texts(texts: Mapping[str, str]) -> None:
    """Raise AdapterError for texts (by field of `TEXT_FIELDS`) too long to be read again, or unknown."""
    unknown = set(texts) - set(TEXT_FIELDS)
    if unknown:
        raise AdapterError(f"unknown texts {sorted(unknown)}; there are {', '.join(TEXT_FIELDS)}")
    for name in texts:
        try:
            text_of(texts, name)
        except ValueError:
            raise AdapterError(
                f"the {name} has {len(texts[name])} characters; shorten it to {longest(name)}"
            ) from None


def _header(source: Path) -> tuple[dict[str, str], dict[str, list[int]], dict[str, str]]:
    """The file's strings, and shapes and types of its tensors."""
    if not source.is_file():
        raise AdapterError(f"there is no adapter at {source}; check the path")
    try:
        _check_header(source)
        with safe_open(source, framework="numpy") as file:
            tensors = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            shapes = {name: tensor.get_shape() for name, tensor in tensors.items()}
            dtypes = {name: str(tensor.get_dtype()) for name, tensor in tensors.items()}
            return file.metadata() or {}, shapes, dtypes
    except (SafetensorError, OSError) as error:
        raise AdapterError(
            f"{source} is not a readable adapter file ({reason(error)}); get a fresh copy"
        ) from error


def _check_header(source: Path) -> None:
    """Refuse a file that is too large, or whose header is, to be read into memory."""
    size = source.stat().st_size
    if size > MAX_FILE_BYTES:
        raise AdapterError(
            f"{source} is not a readable adapter file (it has {size} bytes, more than "
            f"{MAX_FILE_BYTES}); get a fresh copy"
        )
    with source.open("rb") as file:
        length = int.from_bytes(file.read(HEADER_LENGTH_BYTES), "little")
    if length > MAX_HEADER_BYTES:
        raise AdapterError(
            f"{source} is not a readable adapter file (its header claims {length} bytes, more than "
            f"{MAX_HEADER_BYTES}); get a fresh copy"
        )


def _method(source: Path, metadata: Mapping[str, str]) -> Method:
    """The method that made the adapter, if the file is one of ours."""
    if metadata.get("format") != FORMAT:
        raise AdapterError(
            f"{source} is a safetensors file but no napari-salt adapter "
            f"(format {_short(metadata, 'format')}); choose a file that napari-salt saved"
        )
    if metadata.get("format_version") != FORMAT_VERSION:
        raise AdapterError(
            f"{source} has adapter format version {_short(metadata, 'format_version')}, this "
            f"napari-salt reads {FORMAT_VERSION!r}; update napari-salt"
        )
    method = method_of_file(metadata.get("peft_type"))
    if method is None:
        known = ", ".join(method.peft_type for method in METHODS.values())
        raise AdapterError(
            f"{source} is an adapter of type {_short(metadata, 'peft_type')}, this napari-salt reads "
            f"{known}; update napari-salt"
        )
    return method


def _settled(method: Method, salt: SaltConfig) -> SaltConfig:
    """Check that `salt` has the method's fixed values, and return it."""
    for name, value in method.fixed.items():
        if getattr(salt, name) != value:
            found = shortened(printable(repr(getattr(salt, name))), 60)
            raise ValueError(f"config: {name} is {found}, but is always {value!r} for {method.title}")
    return salt


def _as_written(preprocess: Preprocess) -> dict[str, Any]:
    """Its fields; without those of later versions where they change nothing, so that earlier ones read it."""
    default = asdict(Preprocess())
    values = asdict(preprocess).items()
    return {name: value for name, value in values if name not in LATER or value != default[name]}


def _short(metadata: Mapping[str, str], field: str) -> str:
    return shortened(printable(repr(metadata.get(field))), 40)


def _classes(entries: Any) -> tuple[ClassInfo, ...]:
    if not isinstance(entries, list) or not 1 <= len(entries) <= MAX_CLASSES:
        found = len(entries) if isinstance(entries, list | dict) else "none"
        raise ValueError(f"classes: there are {found}, expected a list of 1 to {MAX_CLASSES}")
    classes = tuple(made_of(ClassInfo, "classes", entry) for entry in entries)
    values = [info.value for info in classes]
    if not 1 <= min(values) <= max(values) <= MAX_VALUE or len(set(values)) < len(values):
        found = shortened(str(values), 60)
        raise ValueError(f"classes: label values {found}, expected different ones from 1 to {MAX_VALUE}")
    return classes
