"""The adapter: what training changed, as a value that can be saved, sent, checked and loaded."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from napari_salt.core.bases import BASES, BaseModel, load_base
from napari_salt.core.config import Preprocess, SaltConfig
from napari_salt.core.errors import AdapterError
from napari_salt.core.segmenter import Segmenter

__all__ = ["Adapter", "ClassInfo"]

T = TypeVar("T")

FORMAT, FORMAT_VERSION, PEFT_TYPE = "napari-salt", "1", "SALT"
SCALARS: Mapping[str, type | tuple[type, ...]] = {
    "int": int,
    "float": (int, float),
    "str": str,
    "bool": bool,
}
"""Types that settings in the file must have, by the name of their annotation."""
TEXT_FIELDS = ("name", "description", "author", "license")


@dataclass(frozen=True)
class ClassInfo:
    """One class: its label value in the user's layer, its name, and a "#rrggbb" colour."""

    value: int
    name: str
    color: str


@dataclass(frozen=True)
class Adapter:
    """Everything that turns a base model into a trained segmenter.

    Parameters
    ----------
    tensors
        float32 CPU tensors by parameter name of the `Segmenter`. The low-rank parts refer to the
        canonical SVD of the base's weights, so they mean the same on every machine.
    base_model, base_sha256, weights_sha256
        Registry name of the base, hash of its file, and hash of its weights.
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

    tensors: Mapping[str, Tensor]
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

    @property
    def parameter_count(self) -> int:
        """Number of scalars that differ from the base."""
        return sum(tensor.numel() for tensor in self.tensors.values())

    @property
    def size_bytes(self) -> int:
        """Size of the adapter's file."""
        return len(self._serialized())

    def build(self, device: torch.device | str = "cpu", base: BaseModel | None = None) -> Segmenter:
        """Load the base and put this adapter on it.

        Parameters
        ----------
        base
            A freshly loaded base to take over instead of loading one.

        Raises
        ------
        AdapterError
            If the base is not the one this adapter was trained on, or a tensor does not fit it.
        """
        if base is None:
            if self.base_model not in BASES:
                raise AdapterError(
                    f"the adapter needs base model {self.base_model!r}, unknown to this version "
                    f"(it knows {', '.join(BASES)}); update napari-salt"
                )
            base = load_base(self.base_model, device)
        self.check_base(base)
        segmenter = Segmenter(base.module, base.spec, len(self.classes), self.salt)
        self.write_to(segmenter)
        return segmenter

    def check_base(self, base: BaseModel) -> None:
        """Raise AdapterError if `base` is not the one this adapter was trained on."""
        same = self.base_sha256 == base.sha256 or self.weights_sha256 == base.weights_sha256
        if not same:
            raise AdapterError(
                f"the adapter was trained on base model {self.base_model!r} "
                f"(sha256 {self.base_sha256[:12]}...), not on this {base.spec.name!r} "
                f"(sha256 {base.sha256[:12]}...); use the base it was trained on"
            )

    def write_to(self, segmenter: Segmenter) -> None:
        """Copy this adapter's tensors into the parameters of `segmenter`.

        Raises
        ------
        AdapterError
            Naming the first tensor that is missing, unknown, or of another shape.
        """
        parameters = {n: p for n, p in segmenter.named_parameters() if p.requires_grad}
        for name in sorted(set(parameters) | set(self.tensors)):
            _check_tensor(name, self.tensors.get(name), parameters.get(name))
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(self.tensors[name])

    def widened(self, segmenter: Segmenter, values: Sequence[int]) -> Adapter:
        """Extend the adapter to more classes: its own first, as `values` begins with them.

        The tokens of the new classes are those that `segmenter` was made with.
        """
        tensors = dict(self.tensors)
        for name in ("class_tokens", "output_tokens"):
            fresh = segmenter.get_parameter(name).detach().cpu()[len(self.classes) : len(values)]
            tensors[name] = torch.cat([tensors[name], fresh])
        return replace(self, tensors=tensors)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the adapter's file; a file that was there stays whole until the new one is complete.

        Raises
        ------
        AdapterError
            If the folder is missing or cannot be written to, or the disk is full.
        """
        target = Path(path)
        try:
            handle, partial = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        except OSError as error:
            raise AdapterError(
                f"cannot write to {target.parent}: {error.strerror}; choose another folder"
            ) from error
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(self._serialized())
                file.flush()
                os.fsync(file.fileno())
            Path(partial).chmod(0o644)
            Path(partial).replace(target)
        except BaseException as error:
            Path(partial).unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise AdapterError(
                    f"{target} cannot be written: {error.strerror}; make room, or choose another place"
                ) from error
            raise
        return target

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Adapter:
        """Read an adapter's file; runs no code from it.

        Raises
        ------
        AdapterError
            If it is not a napari-salt adapter, of another version, damaged, or holds values that
            are not finite.
        """
        source = Path(path)
        if not source.is_file():
            raise AdapterError(f"there is no adapter at {source}; check the path")
        try:
            with safe_open(source, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise AdapterError(
                f"{source} is not a readable adapter file ({error}); get a fresh copy"
            ) from error
        return _from_file(source, metadata, tensors)

    def _serialized(self) -> bytes:
        metadata = {
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
        return save({n: t.contiguous() for n, t in self.tensors.items()}, metadata)


def _from_file(source: Path, metadata: Mapping[str, str], tensors: dict[str, Tensor]) -> Adapter:
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
    for name, tensor in tensors.items():
        if tensor.dtype != torch.float32:
            raise AdapterError(f"{source}: tensor {name!r} is {tensor.dtype}, expected torch.float32")
        if not torch.isfinite(tensor).all():
            raise AdapterError(f"{source}: tensor {name!r} holds values that are not finite; retrain")
    try:
        return Adapter(
            tensors=tensors,
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


def _check_tensor(name: str, found: Tensor | None, expected: Tensor | None) -> None:
    remedy = "the file is damaged or belongs to another version of napari-salt; get a fresh copy"
    if found is None:
        raise AdapterError(f"the adapter lacks tensor {name!r}; {remedy}")
    if expected is None:
        raise AdapterError(f"the adapter holds tensor {name!r}, which the model lacks; {remedy}")
    if found.shape != expected.shape:
        raise AdapterError(
            f"tensor {name!r} has shape {tuple(found.shape)}, expected {tuple(expected.shape)}; {remedy}"
        )
