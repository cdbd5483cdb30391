"""What an adapter's file tells of itself: read from its header, without torch and without its tensors."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError, safe_open

from napari_salt.core.config import Preprocess, SaltConfig
from napari_salt.core.errors import AdapterError

__all__ = ["AdapterCard", "ClassInfo", "described"]

T = TypeVar("T")

FORMAT, FORMAT_VERSION, PEFT_TYPE = "napari-salt", "1", "SALT"
SCALARS: Mapping[str, type | tuple[type, ...]] = {
    "int": int,
    "float": (int, float),
    "str": str,
    "bool": bool,
}
"""Types that settings in the file must have, by the name of their annotation."""
HEADER_LENGTH_BYTES = 8
TEXT_FIELDS = ("name", "description", "author", "license")


@dataclass(frozen=True)
class ClassInfo:
    """One class: its label value in the user's layer, its name, and a "#rrggbb" colour."""

    value: int
    name: str
    color: str


@dataclass(frozen=True, kw_only=True)
class AdapterCard:
    """An adapter without its tensors.

    Parameters
    ----------
    base_model, base_sha256, weights_sha256
        Registry name of the base (``KIND:FILE`` for a local checkpoint; then ``@SIZE``, unless the
        input size is the native one), hash of its file, and hash of its weights.
    salt
        Ranks and targets.
    classes
        The classes, in the order of the class tokens.
    preprocess
        How slices become model input.
    training
        How it was trained: date, steps, seconds, seed, losses, held-out Dice, versions.
    name, description, author, license
        Free text.
    """

    base_model: str
    base_sha256: str
    weights_sha256: str
    salt: SaltConfig
    classes: tuple[ClassInfo, ...]
    preprocess: Preprocess
    training: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    description: str = ""
    author: str = ""
    license: str = ""

    @property
    def values(self) -> tuple[int, ...]:
        """Label value of each class."""
        return tuple(c.value for c in self.classes)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> AdapterCard:
        """Read the description in an adapter's file; its tensors are not looked at.

        Raises
        ------
        AdapterError
            If it is not a napari-salt adapter, of another version, or damaged.
        """
        source = Path(path)
        if not source.is_file():
            raise AdapterError(f"there is no adapter at {source}; check the path")
        try:
            with safe_open(source, framework="numpy") as file:
                metadata = file.metadata() or {}
        except (SafetensorError, OSError) as error:
            raise AdapterError(
                f"{source} is not a readable adapter file ({error}); get a fresh copy"
            ) from error
        return cls.from_metadata(source, metadata)

    @classmethod
    def from_metadata(cls, source: Path, metadata: Mapping[str, str]) -> AdapterCard:
        """Check and parse the header's strings; `source` is named in errors (see `read`)."""
        _check_format(source, metadata)
        try:
            return cls(
                base_model=metadata["base_model"],
                base_sha256=metadata["base_sha256"],
                weights_sha256=metadata["weights_sha256"],
                salt=_config(SaltConfig, json.loads(metadata["config"])),
                classes=_classes(json.loads(metadata["classes"])),
                preprocess=_config(Preprocess, json.loads(metadata["preprocess"])),
                training=dict(json.loads(metadata["training"])),
                **{name: metadata.get(name, "") for name in TEXT_FIELDS},
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise AdapterError(
                f"{source}: damaged adapter description ({type(error).__name__}: {error}); get a fresh copy"
            ) from error

    def metadata(self) -> dict[str, str]:
        """Give the strings of the file's header (the inverse of `from_metadata`)."""
        return {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "peft_type": PEFT_TYPE,
            "base_model": self.base_model,
            "base_sha256": self.base_sha256,
            "weights_sha256": self.weights_sha256,
            "config": json.dumps(asdict(self.salt)),
            "classes": json.dumps([asdict(c) for c in self.classes]),
            "preprocess": json.dumps(asdict(self.preprocess)),
            "training": json.dumps(dict(self.training)),
            **{name: getattr(self, name) for name in TEXT_FIELDS},
        }


def described(content: bytes, **texts: str) -> bytes:
    """Give an adapter's file with other texts (name, description, author, license); the rest stays.

    Raises
    ------
    AdapterError
        If `content` is not an adapter's file, or a text is none of these.
    """
    unknown = set(texts) - set(TEXT_FIELDS)
    if unknown:
        raise AdapterError(f"unknown texts {sorted(unknown)}; there are {', '.join(TEXT_FIELDS)}")
    length = int.from_bytes(content[:HEADER_LENGTH_BYTES], "little")
    end = HEADER_LENGTH_BYTES + length
    try:
        header = json.loads(content[HEADER_LENGTH_BYTES:end])
        header["__metadata__"] |= texts
    except (KeyError, TypeError, ValueError) as error:
        raise AdapterError(f"no adapter's file ({error}); get a fresh copy") from error
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % HEADER_LENGTH_BYTES)  # the format wants aligned tensors
    return len(text).to_bytes(HEADER_LENGTH_BYTES, "little") + text + content[end:]


def _check_format(source: Path, metadata: Mapping[str, str]) -> None:
    if metadata.get("format") != FORMAT:
        raise AdapterError(
            f"{source} is a safetensors file but no napari-salt adapter "
            f"(format {metadata.get('format')!r}); choose a file that napari-salt saved"
        )
    if metadata.get("format_version") != FORMAT_VERSION:
        raise AdapterError(
            f"{source} has adapter format version {metadata.get('format_version')!r}, this "
            f"napari-salt reads {FORMAT_VERSION!r}; update napari-salt"
        )
    if metadata.get("peft_type") != PEFT_TYPE:
        raise AdapterError(
            f"{source} is an adapter of type {metadata.get('peft_type')!r}, this napari-salt reads "
            f"{PEFT_TYPE!r}; update napari-salt"
        )


def _classes(entries: Sequence[Mapping[str, Any]]) -> tuple[ClassInfo, ...]:
    classes = tuple(_config(ClassInfo, entry) for entry in entries)
    values = [info.value for info in classes]
    if not values or min(values) < 1 or len(set(values)) < len(values):
        raise ValueError(f"label values {values}, expected different ones from 1")
    return classes


def _config(kind: type[T], values: Mapping[str, Any]) -> T:
    """Dataclass `kind` from JSON `values`; JSON's lists become tuples."""
    unknown = set(values) - {f.name for f in fields(kind)}  # type: ignore[arg-type]
    if unknown:
        raise ValueError(f"unknown settings {sorted(unknown)}")
    config = kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
    for field_ in fields(config):  # type: ignore[arg-type]
        found, expected = getattr(config, field_.name), SCALARS.get(str(field_.type))
        if expected is not None and not isinstance(found, expected):
            raise ValueError(f"{field_.name} is {found!r}, expected {field_.type}")
    return config
