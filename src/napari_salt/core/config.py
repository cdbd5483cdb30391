"""What is wanted, as frozen dataclasses that can be imported without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from napari_salt.core.errors import InputError

__all__ = [
    "PRESET_MINUTES",
    "Orientation",
    "Preprocess",
    "Rank",
    "Runtime",
    "SaltConfig",
    "SegmentConfig",
    "TrainConfig",
    "Unpainted",
]

Rank = int | float | Literal["auto"]
"""How many top singular values are scaled: a number, a share of all (a float in 0..1), or ``"auto"``."""

Runtime = Literal["auto", "torch", "openvino"]
"""What computes on a CPU."""

Unpainted = Literal["background", "ignore"]
"""What a pixel without paint means on a painted slice."""

Orientation = Literal["auto", "fixed", "any"]
"""Whether up is up on every slice."""

MAX_VIEWS = 4
MAX_SIZE_RATIO = 16
"""How far pixel sizes of training and use may be apart before a wrong unit is the likelier reason."""

PRESET_MINUTES: Mapping[str, float] = {"fast": 1.5, "balanced": 4.0, "thorough": 12.0}


@dataclass(frozen=True)
class SaltConfig:
    """Which layers SALT adapts, and how much of each.

    Parameters
    ----------
    rank
        Top singular values that get a scale and a shift: a number, a share of all singular values
        of the layer (a float from 0 to 1), or ``"auto"``: the fewest that hold `energy`.
    lora_rank
        Rank of the update of the remaining subspace.
    energy
        Share of the squared singular values that ``rank="auto"`` keeps, 0 to 1.
    targets
        Prefixes of module names, whole components only: ``"image_encoder"`` takes all of the
        encoder, ``"image_encoder.layers.3"`` its fourth stage. Empty: those of the base model.
    train_vectors
        Whether one-dimensional parameters of the targets (norms and biases) train as well.
    """

    rank: Rank = 0.5
    lora_rank: int = 8
    energy: float = 0.9
    targets: tuple[str, ...] = ()
    train_vectors: bool = True

    def __post_init__(self) -> None:
        share = isinstance(self.rank, float) and not 0.0 <= self.rank <= 1.0
        number = isinstance(self.rank, int) and self.rank < 0
        if share or number or (isinstance(self.rank, str) and self.rank != "auto"):
            raise InputError(
                f"rank is {self.rank!r}; give a whole number from 0, a share from 0.0 to 1.0, or 'auto'"
            )
        if self.lora_rank < 0:
            raise InputError(f"lora_rank is {self.lora_rank}; give a whole number from 0")
        if not 0.0 < self.energy <= 1.0:
            raise InputError(f"energy is {self.energy}; give a share above 0 and up to 1")


@dataclass(frozen=True)
class Preprocess:
    """How slices become model input. Stored in the adapter.

    Parameters
    ----------
    channels
        1 for grey, 3 for colour.
    pixel_scale
        Pixels that the model sees per image pixel.
    pixel_size
        Side of an image pixel of the training stack in micrometres, if known.
    independent
        Whether slices are unrelated images, each with its own intensity window.
    percentiles
        Shares in percent of the intensities that become 0 and 1.
    turns
        Whether quarter turns and mirror images are as good as the original.
    """

    channels: int = 1
    pixel_scale: float = 1.0
    pixel_size: float | None = None
    independent: bool = False
    percentiles: tuple[float, float] = (0.1, 99.9)
    turns: bool = False

    def scale_for(self, pixel_size: float | None) -> float:
        """Pixel scale for a stack with pixels of `pixel_size` micrometres.

        An object keeps its size in the model's input when both pixel sizes are known.
        """
        if pixel_size is None or self.pixel_size is None:
            return self.pixel_scale
        ratio = pixel_size / self.pixel_size
        if not 1 / MAX_SIZE_RATIO <= ratio <= MAX_SIZE_RATIO:
            raise InputError(
                f"pixels of {pixel_size:g} micrometres are {ratio:.3g} times those the adapter was trained "
                f"on ({self.pixel_size:g}); check the pixel size and unit in the file"
            )
        return self.pixel_scale * ratio


@dataclass(frozen=True)
class TrainConfig:
    """How an adapter is trained.

    Parameters
    ----------
    base
        Registry name of the base model or path of a checkpoint, with ``@SIZE`` after it where the input
        is not to have the native size.
    preset
        Budget by name: ``"fast"``, ``"balanced"`` or ``"thorough"``; `minutes` or `steps` override it.
    minutes, steps
        Budget of wall-clock time, of optimiser steps, or both (the first to run out ends training).
    slices
        Slices to learn from; by default those with paint.
    unpainted
        What unpainted pixels of a painted slice mean: ``"background"``, or ``"ignore"`` (nothing).
    background_label
        With ``"ignore"``, the painted label that means background (default 1).
    class_names, class_colors
        Names and "#rrggbb" colours by label value.
    independent
        Whether slices are unrelated images.
    pixel_scale
        Pixels that the model sees per image pixel; None chooses it from what is painted.
    orientation
        ``"fixed"`` where up is up on every slice (anatomy), ``"any"`` where a turned or mirrored slice
        is as good (cells); ``"auto"`` takes it for fixed where classes keep their place from slice to slice.
    seed
        Seed of initialisation, crops and augmentation.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:N"`` or ``"mps"``.
    salt
        Ranks and targets.
    learning_rate
        Highest learning rate of the schedule.
    batch_size
        Crops per step; None means 1 on a CPU (more steps beat larger ones there) and 4 on a GPU.
    """

    base: str = "lite-medsam"
    preset: str = "balanced"
    minutes: float | None = None
    steps: int | None = None
    slices: tuple[int, ...] | None = None
    unpainted: Unpainted = "background"
    background_label: int | None = None
    class_names: Mapping[int, str] = field(default_factory=dict)
    class_colors: Mapping[int, str] = field(default_factory=dict)
    independent: bool = False
    pixel_scale: float | None = None
    orientation: Orientation = "auto"
    seed: int = 0
    device: str = "auto"
    salt: SaltConfig = SaltConfig()
    learning_rate: float = 2e-3
    batch_size: int | None = None

    def __post_init__(self) -> None:
        if self.preset not in PRESET_MINUTES:
            raise InputError(f"unknown preset {self.preset!r}; use {', '.join(PRESET_MINUTES)}")
        if self.unpainted not in ("background", "ignore"):
            raise InputError(f"unpainted is {self.unpainted!r}; use 'background' or 'ignore'")
        if self.orientation not in get_args(Orientation):
            raise InputError(f"orientation is {self.orientation!r}; use {', '.join(get_args(Orientation))}")
        for name in ("minutes", "steps", "pixel_scale", "learning_rate", "batch_size"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise InputError(f"{name} is {value}; give a number above 0")
        if self.background_label is not None and self.unpainted == "background":
            raise InputError("background_label needs unpainted='ignore'; set both or neither")
        if self.background_label is not None and self.background_label < 1:
            raise InputError(f"background_label is {self.background_label}; give a painted label, from 1")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"seed is {self.seed}; give a whole number from 0")


@dataclass(frozen=True)
class SegmentConfig:
    """How a stack is segmented.

    Parameters
    ----------
    slices
        Slices to segment; by default all.
    overlap
        Pixels that neighbouring tiles share, in the model's input.
    batch_size
        Tiles computed at once, halved when memory runs out. None: by torch 1, on CUDA as many as fit; by
        OpenVINO as many as keep all threads at work.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:N"`` or ``"mps"``.
    views
        Turned and mirrored views of each slice that are averaged, 1 to 4; each costs as much as the
        first. None takes 4 where the adapter says that orientation means nothing, else 1.
    min_size
        Objects of a class with fewer pixels in a slice become background.
    fill_holes
        Whether background that one class encloses in a slice takes its value.
    smooth
        Whether the probabilities of neighbouring slices are averaged, unless slices are unrelated;
        the slices then come in the order of the stack, each after its successor was computed.
    group
        Number of consecutive slices that belong together, such as those of one time point;
        nothing is averaged across groups. None: all.
    runtime
        What computes on a CPU: ``"torch"``, ``"openvino"``, or ``"auto"``, which takes OpenVINO where it
        is installed and there is enough to do. Their results differ by rounding.
    """

    slices: tuple[int, ...] | None = None
    overlap: int = 48
    batch_size: int | None = None
    device: str = "auto"
    views: int | None = None
    min_size: int = 0
    fill_holes: bool = False
    smooth: bool = False
    group: int | None = None
    runtime: Runtime = "auto"

    def __post_init__(self) -> None:
        if self.runtime not in get_args(Runtime):
            raise InputError(f"runtime is {self.runtime!r}; use one of {', '.join(get_args(Runtime))}")
        if self.overlap < 0:
            raise InputError(f"overlap is {self.overlap}; give a number of pixels from 0")
        if self.batch_size is not None and self.batch_size < 1:
            raise InputError(f"batch_size is {self.batch_size}; give a whole number from 1")
        if self.views is not None and not 1 <= self.views <= MAX_VIEWS:
            raise InputError(f"views is {self.views}; give a whole number from 1 to {MAX_VIEWS}")
        if self.min_size < 0:
            raise InputError(f"min_size is {self.min_size}; give a number of pixels from 0")
        if self.group is not None and self.group < 1:
            raise InputError(f"group is {self.group}; give a number of slices from 1")
