"""Settings, as frozen dataclasses that can be imported without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from napari_salt.terms.errors import InputError
from napari_salt.terms.methods import CHOICES, DEFAULT_METHOD
from napari_salt.terms.options import check_options, documented, option
from napari_salt.terms.planes import PLANES, Plane, Planes
from napari_salt.terms.preprocess import HOUNSFIELD, Preprocess

__all__ = [
    "PRESET_MINUTES",
    "CtWindow",
    "Orientation",
    "Painted",
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

Painted = Literal["classes", "objects"]
"""Whether label values are classes or numbers of objects."""

CtWindow = Literal["auto", "soft-tissue", "lung", "bone", "brain"]
"""Which intensities the model sees."""

Orientation = Literal["auto", "fixed", "any"]
"""Whether all slices have the same orientation."""

MAX_VIEWS = 4
MAX_LORA_RANK = 1024
"""More than any layer of SAM has use for; a limit on what an adapter's file can allocate."""

DEVICE = "Where to compute: auto takes the GPU if there is one, else cpu, cuda, cuda:N or mps."

PRESET_MINUTES: Mapping[str, float] = {"fast": 1.5, "balanced": 4.0, "thorough": 12.0}


@documented
@dataclass(frozen=True)
class SaltConfig:
    """Which layers are adapted, and how much of each; SALT has all of this, other methods only some."""

    rank: Rank = option(
        0.5,
        "Top singular values that get a scale and a shift: a number, a share of all of the layer's (a float "
        "from 0 to 1), or auto: the fewest that hold the energy.",
        "advanced",
    )
    lora_rank: int = option(
        8,
        "Rank of the update: of the remaining subspace (SALT), or of the whole weight (LoRA).",
        "advanced",
        label="low rank",
        low=0,
        high=MAX_LORA_RANK,
    )
    energy: float = option(
        0.9,
        "Share of the squared singular values that rank auto keeps.",
        "advanced",
        above=0,
        high=1,
        step=0.05,
    )
    targets: tuple[str, ...] = option(
        (),
        "Parts of the model that are adapted, by prefixes of module names, whole components only: "
        "image_encoder takes all of the encoder, image_encoder.layers.3 its fourth stage. Empty: those of "
        "the base model.",
        "advanced",
    )
    train_vectors: bool = option(
        True,
        "Train one-dimensional parameters of the targets (norms and biases) as well.",
        "advanced",
        label="train norms and biases",
    )

    def __post_init__(self) -> None:
        check_options(self)


@documented
@dataclass(frozen=True)
class TrainConfig:
    """How an adapter is trained.

    Parameters
    ----------
    class_colors
        "#rrggbb" colours by label value.
    group
        Number of consecutive slices of one time point, in a time series: the same slice of another time
        point tells too much about one that is held out. None: all.
    salt
        Ranks and targets; what the method does not have is left out of account.
    """

    base: str = option(
        "lite-medsam",
        "Base model (see napari-salt bases) or a checkpoint file of SAM's kinds; @512 after it asks for "
        "inputs of 512 pixels instead of the native size.",
        "model",
    )
    preset: str = option(
        "balanced",
        "How long to train: longer is better up to a point.",
        "training",
        choices={name: f"{name} ({minutes:g} min)" for name, minutes in PRESET_MINUTES.items()},
    )
    minutes: float | None = option(
        None,
        "Time to train, in place of the preset's; on the command line also such as 90s, 5m or 1h.",
        "training",
        above=0,
        unit="minutes",
        nothing="by the preset",
        step=0.5,
    )
    steps: int | None = option(
        None,
        "Number of steps, in place of the preset's time; with a time as well, the first to run out ends "
        "training.",
        "advanced",
        low=1,
        nothing="by time",
    )
    slices: tuple[int, ...] | None = option(
        None, "Slices to learn from.", "paint", nothing="all that are painted"
    )
    painted: Painted = option(
        "classes",
        "What label values are. Classes: all objects of a class have one value. Objects: each object has a "
        "value of its own, as Cellpose and StarDist write them; what separates touching ones is learnt as "
        "well.",
        "paint",
        label="labels are",
        choices={"classes": "classes", "objects": "numbers of objects"},
    )
    unpainted: Unpainted = option(
        "background",
        "What unpainted pixels of a painted slice mean. Background: paint slices completely. Ignore "
        "(unknown): strokes are enough, but paint background with a label of its own.",
        "paint",
        choices={"background": "background", "ignore": "unknown"},
    )
    background_label: int | None = option(
        None,
        "The painted label that means background where unpainted is unknown.",
        "paint",
        low=1,
        nothing="1",
    )
    class_names: Mapping[int, str] = option({}, "Names of the classes by label value.", "paint")
    class_colors: Mapping[int, str] = field(default_factory=dict)
    independent: bool = option(
        False,
        "Slices are unrelated images: each has its own brightness, and nothing is smoothed across them.",
        "paint",
        label="slices are unrelated images",
    )
    group: int | None = None
    pixel_scale: float | None = option(
        None,
        "How many pixels the model sees for each pixel of the image. It looks at as many as its input has at "
        "a time: below 1 it sees more of the image at once, above 1 more detail. Automatic goes by the size "
        "of what is painted.",
        "paint",
        above=0,
        nothing="automatic",
        step=0.25,
    )
    orientation: Orientation = option(
        "auto",
        "Fixed: up is up on every slice (anatomy). Any: a turned or mirrored slice is as good (cells). "
        "Automatic takes it for fixed where classes keep their place from slice to slice, or where pixels "
        "are known to be of 50 micrometres or more.",
        "paint",
        choices={"auto": "automatic", "fixed": "fixed", "any": "any"},
    )
    window: CtWindow = option(
        "auto",
        "Intensities that become black and white. Automatic: by percentiles of each stack. The others are of "
        "CT, in Hounsfield units, the same in all stacks (soft tissue -160 to 240, lung -1350 to 150, bone "
        "-450 to 1050, brain 0 to 80); the adapter keeps it.",
        "advanced",
        label="CT window",
        choices={"auto": "automatic", **{name: name.replace("-", " ") for name in HOUNSFIELD}},
    )
    plane: Plane = option(
        "z",
        "Which planes of the volume are painted and learnt from: those that follow each other along z (as "
        "they are stored), y or x; or axial, coronal or sagittal ones, where the file says how the patient "
        "lies in it. Voxels that are no cubes are seen undistorted on planes across the stored slices.",
        "paint",
        choices=PLANES,
    )
    seed: int = option(
        0,
        "Seed of initialisation, crops and augmentation: the same seed and number of steps give the same "
        "adapter.",
        "advanced",
        low=0,
    )
    device: str = option("auto", DEVICE, "model")
    method: str = option(
        DEFAULT_METHOD,
        "What is changed of the base. SALT: scale and shift of the top singular values, and a low-rank "
        "update of the rest. LoRA: a low-rank update. S-SAM: scale and shift of all singular values. "
        "Decoder: the whole mask decoder, and nothing of the image encoder; the adapter's file is large.",
        "advanced",
        choices=CHOICES,
    )
    salt: SaltConfig = SaltConfig()
    learning_rate: float | None = option(
        None,
        "Highest learning rate of the schedule. Automatic: 0.004 for one stack, 0.002 for unrelated images "
        "and several stacks.",
        "advanced",
        above=0,
        step=0.0005,
        nothing="automatic",
    )
    batch_size: int | None = option(
        None,
        "Crops in a step. Automatic: 1 on a CPU (more steps beat larger ones there), 4 on a GPU.",
        "advanced",
        low=1,
        nothing="automatic",
    )

    def __post_init__(self) -> None:
        check_options(self)
        if self.background_label is not None and self.unpainted == "background":
            raise InputError("background_label needs unpainted='ignore'; set both or neither")
        if self.plane != "z" and self.independent:
            raise InputError(f"unrelated images have no plane {self.plane}; use plane z")
        if self.plane != "z" and self.group is not None:
            raise InputError(f"plane {self.plane} of a time series is not supported; use plane z")
        _check_group(self.group)


@documented
@dataclass(frozen=True)
class SegmentConfig:
    """How a stack is segmented.

    Parameters
    ----------
    group
        Number of consecutive slices that belong together, such as those of one time point;
        nothing is averaged across groups. None: all.
    """

    slices: tuple[int, ...] | None = option(
        None, "Slices to segment; the others become 0.", "segmenting", nothing="all"
    )
    overlap: int = option(
        48,
        "Pixels that neighbouring tiles share, in the model's input.",
        "segmenting",
        low=0,
        unit="pixels",
    )
    batch_size: int | None = option(
        None,
        "Tiles computed at once, halved when memory runs out. Automatic: by torch 1, on CUDA as many as fit, "
        "by OpenVINO as many as keep all threads at work.",
        "segmenting",
        label="tiles at once",
        low=1,
        nothing="automatic",
    )
    device: str = option("auto", DEVICE, "model")
    quality: Literal["fast", "best"] = option(
        "best",
        "Best: all of a slice is looked at in all views. Fast: in one, and again where that is unsure.",
        "segmenting",
        choices={"fast": "fast", "best": "best"},
    )
    views: int | None = option(
        None,
        "Turned and mirrored views of each slice that are averaged: better, and slower by as much. "
        "Automatic: 4 (fast: 2) where the adapter was trained with turns, else 1.",
        "segmenting",
        low=1,
        high=MAX_VIEWS,
        nothing="automatic",
    )
    min_size: int = option(
        0,
        "Objects of a class with fewer pixels in a slice become background.",
        "segmenting",
        label="smallest",
        low=0,
        unit="pixels",
    )
    fill_holes: bool = option(
        False, "Background that one class encloses in a slice takes its value.", "segmenting"
    )
    smooth: bool = option(
        False,
        "Average each slice's probabilities with its neighbours' (1:2:1), unless slices are unrelated.",
        "segmenting",
        label="smooth across slices",
    )
    objects: bool = option(
        False,
        "Give every object of the volume a number of its own. Touching objects come apart where the adapter "
        "has learnt from numbers of objects.",
        "segmenting",
        label="separate objects",
    )
    plane: Literal["auto"] | Planes = option(
        "auto",
        "On which planes of the volume it is segmented (see train). Automatic: those the adapter was trained "
        "on. All: on those along z, y and x, averaged, for volumes that look alike from all sides; three "
        "times the work.",
        "segmenting",
        choices={"auto": "the adapter's", **PLANES, "all": "all three, averaged"},
    )
    group: int | None = None
    runtime: Runtime = option(
        "auto",
        "What computes on a CPU. Automatic: OpenVINO where it is installed and there is enough to do. Their "
        "results differ by rounding.",
        "segmenting",
        choices={"auto": "automatic", "torch": "torch", "openvino": "OpenVINO"},
    )

    def __post_init__(self) -> None:
        check_options(self)
        _check_group(self.group)

    def planes_for(self, preprocess: Preprocess) -> Planes:
        """The planes to segment on: those that are chosen, or the adapter's."""
        return preprocess.plane if self.plane == "auto" else self.plane


def _check_group(group: int | None) -> None:
    if group is not None and group < 1:
        raise InputError(f"group is {group}; give a number of slices from 1")
