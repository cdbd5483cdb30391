"""The adapter: what training changed, as a value that can be saved, sent, checked and loaded."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from napari_salt.core.adapt.fit import REMEDY, check_layers
from napari_salt.core.adapt.methods import adaptation
from napari_salt.core.adapt.segmenter import DEAD_PARTS, Segmenter
from napari_salt.core.bases.load import BASES, BaseModel, load_base, split_size
from napari_salt.terms.cache import known_checkpoint
from napari_salt.terms.card import AdapterCard, ClassInfo, class_names
from napari_salt.terms.errors import AdapterError
from napari_salt.terms.files import write_adapter_file
from napari_salt.terms.tensor_checks import OF_CLASSES, named
from napari_salt.terms.text import printable, reason, shortened

__all__ = ["Adapter", "ClassInfo"]


@dataclass(frozen=True, kw_only=True, repr=False)
class Adapter(AdapterCard):
    """Everything that turns a base model into a trained segmenter (see `AdapterCard` for the rest).

    Parameters
    ----------
    tensors
        float32 CPU tensors by parameter name of the `Segmenter`. SALT's low-rank parts refer to the
        canonical SVD of the base's weights, so they mean the same on every machine.
    """

    tensors: Mapping[str, Tensor]

    def __repr__(self) -> str:
        called = f"{printable(shortened(self.name, 60))!r}, " if self.name else ""
        names = printable(class_names(self.shown_classes))
        return (
            f"<Adapter {called}classes {names}; base {printable(self.base_model)}, "
            f"{self.parameter_count:,} parameters>"
        )

    @property
    def parameter_count(self) -> int:
        """Number of scalars in `tensors`."""
        return sum(tensor.numel() for tensor in self.tensors.values())

    @property
    def size_bytes(self) -> int:
        """Size of the adapter's file in bytes."""
        return len(self.to_bytes())

    def build(
        self,
        device: torch.device | str = "cpu",
        base: BaseModel | None = None,
        *,
        adapted: bool = True,
    ) -> Segmenter:
        """Load the base and put this adapter on it.

        Parameters
        ----------
        device
            Where the base is loaded; not used if `base` is given.
        base
            A freshly loaded base to use instead of loading one; its module is changed in place.
        adapted
            Whether the base's weights are adapted; if not, only the tensors of the classes are used, which
            shows how the base performs without adaptation.

        Returns
        -------
        Segmenter
            In eval mode, on the base's device.

        Raises
        ------
        AdapterError
            If the base is not the one this adapter was trained on, or a tensor does not fit it.
        BaseModelError
            If the base cannot be loaded (see `load_base`).
        """
        if base is None:
            base = load_base(self.base_reference(), device)
        self.check_base(base)
        salt = self.salt if adapted else None
        if salt is not None:
            self._check_layers(base)
        segmenter = Segmenter(base.module, base.spec, len(self.classes), salt, self.method)
        tokens = {name: tensor for name, tensor in self.tensors.items() if name in OF_CLASSES}
        kept = self if adapted else replace(self, tensors=tokens)
        kept.write_to(segmenter)
        return segmenter

    def base_reference(self) -> str:
        """Reference of the base for `load_base`: its name, or the path of its checkpoint on this machine.

        Raises
        ------
        AdapterError
            If the base is unknown, or a local checkpoint that was not used on this machine yet.
        BaseModelError
            If the base cannot take the input size.
        """
        name, input_size = split_size(self.base_model)
        if name in BASES:
            if input_size is not None:
                BASES[name].at(input_size)  # before anything is downloaded or computed
            return self.base_model
        kind, _, file = name.partition(":")
        if not file:
            raise AdapterError(
                f"the adapter needs base model {self.base_model!r}, unknown to this version "
                f"(it knows {', '.join(BASES)}); update napari-salt"
            )
        path = known_checkpoint(f"sha256:{self.base_sha256}", f"weights:{self.weights_sha256}")
        if path is None:
            raise AdapterError(
                f"the adapter needs the {kind} checkpoint {file!r} (sha256 {self.base_sha256}), which was "
                "not used on this machine yet; get it from the adapter's author and give its path as --base"
            )
        return str(path) if input_size is None else f"{path}@{input_size}"

    def check_base(self, base: BaseModel) -> None:
        """Raise AdapterError if `base` is not the one this adapter was trained on."""
        same = self.base_sha256 == base.sha256 or self.weights_sha256 == base.weights_sha256
        if not same:
            raise AdapterError(
                f"the adapter was trained on base model {self.base_model!r} "
                f"(sha256 {self.base_sha256[:12]}...), not on this {base.spec.name!r} "
                f"(sha256 {base.sha256[:12]}...); use the base it was trained on"
            )

    def _check_layers(self, base: BaseModel) -> None:
        parts = adaptation(self.method).parts
        if parts:
            settled = replace(self.salt, targets=self.salt.targets or base.spec.targets)
            shapes = {name: tuple(tensor.shape) for name, tensor in self.tensors.items()}
            check_layers(shapes, base.module, settled, parts, DEAD_PARTS)

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
        """Extend the adapter to more classes.

        Parameters
        ----------
        segmenter
            Made for all of `values`; supplies the initial tensors of the new classes.
        values
            Label values of all classes, beginning with those of this adapter.
        """
        tensors = dict(self.tensors)
        for name in OF_CLASSES:
            fresh = segmenter.get_parameter(name).detach().cpu()[len(self.classes) : len(values)]
            tensors[name] = torch.cat([tensors[name], fresh])
        return replace(self, tensors=tensors)

    def save(self, path: str | os.PathLike[str], **texts: str) -> Path:
        """Write the adapter's file; an existing file is replaced only when the new one is complete.

        Parameters
        ----------
        path
            The file.
        texts
            Name, description, author and license in the file, where they are to be others than the adapter's.

        Raises
        ------
        AdapterError
            If the folder is missing or cannot be written to, or the disk is full.
        """
        return write_adapter_file(path, self.with_texts(texts).to_bytes())

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
        card = AdapterCard.read(source)
        try:
            with safe_open(source, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise AdapterError(
                f"{source} is not a readable adapter file ({reason(error)}); get a fresh copy"
            ) from error
        return cls._made(source, card, tensors)

    @classmethod
    def _made(cls, source: Path, card: AdapterCard, tensors: dict[str, Tensor]) -> Adapter:
        _check_tensors(source, tensors)
        _add_head(tensors)
        return cls(tensors=tensors, **{f.name: getattr(card, f.name) for f in fields(card)})

    @classmethod
    def from_bytes(cls, content: bytes) -> Adapter:
        """Read what `to_bytes` gave (see `load`)."""
        card = AdapterCard.from_bytes(content)
        try:
            tensors = load(content)
        except SafetensorError as error:
            raise AdapterError(f"no readable adapter ({reason(error)}); get a fresh copy") from error
        return cls._made(Path("adapter"), card, tensors)

    def to_bytes(self) -> bytes:
        """Give the content of the adapter's file."""
        return save({n: t.contiguous() for n, t in self.tensors.items()}, self.metadata())


def _check_tensors(source: Path, tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise AdapterError(f"{source}: tensor {named(name)} holds values that are not finite; retrain")


def _add_head(tensors: dict[str, Tensor]) -> None:
    """Add a class head of zeros to an adapter saved before class heads existed."""
    if "class_head" not in tensors and "class_tokens" in tensors:
        count, channels = tensors["class_tokens"].shape
        tensors["class_head"] = torch.zeros(count, channels + 1)


def _check_tensor(name: str, found: Tensor | None, expected: Tensor | None) -> None:
    if found is None:
        raise AdapterError(f"the adapter lacks tensor {named(name)}; {REMEDY}")
    if expected is None:
        raise AdapterError(f"the adapter holds tensor {named(name)}, which the model lacks; {REMEDY}")
    if found.shape != expected.shape:
        raise AdapterError(
            f"tensor {named(name)} has shape {tuple(found.shape)}, expected {tuple(expected.shape)}; {REMEDY}"
        )
