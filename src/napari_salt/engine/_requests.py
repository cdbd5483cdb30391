"""What napari asks the engine's process for, and answers to it. Imports no torch.

A **job** (`Train`, `Segment`, `Suggest`, `Measure`, `Write`, `Rescale`, `Fetch`) takes long and ends with one
`Finished` or `Failed`; a job that arrives while another runs is queued. An **aside** (`Look`, `Ask`,
`Compare`) is answered between two steps of a job, or at once.
Arrays and adapters stay in napari: the engine gets a `StackInfo` or an adapter's digest, and asks for each
slice that it needs (`ReadSlice`), and for the file of an adapter that it does not hold (`ReadAdapter`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from napari_salt.results.kinds import By
from napari_salt.terms.card import AdapterCard
from napari_salt.terms.config import SegmentConfig, TrainConfig, Unpainted
from napari_salt.terms.planes import NOTHING_KNOWN, Voxels

if TYPE_CHECKING:
    from napari_salt.io._format import Layout

__all__ = [
    "ASIDES",
    "AdapterRead",
    "Answer",
    "Aside",
    "Ask",
    "Compare",
    "Fetch",
    "Job",
    "Look",
    "Measure",
    "PaintedStack",
    "Request",
    "Rescale",
    "Segment",
    "SliceRead",
    "StackInfo",
    "Stop",
    "Suggest",
    "Train",
    "Write",
]


@dataclass(frozen=True, kw_only=True)
class StackInfo:
    """A stack in napari's process: its number there, shape (Z, Y, X[, 3]), and dtype as a string."""

    key: int
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, kw_only=True)
class PaintedStack:
    """An image and its labels (Z, Y, X); `pixel_size` is in micrometres, None if unknown.

    `voxels` are needed for planes across the slices; `marks` say what unpainted means on single slices.
    """

    image: StackInfo
    labels: StackInfo
    pixel_size: float | None = None
    voxels: Voxels = NOTHING_KNOWN
    marks: Mapping[int, Unpainted] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train on the paint of `stacks`; `init` is the digest of the adapter to go on from.

    `strokes_known`: the user has already been asked whether the paint is strokes.
    """

    stacks: tuple[PaintedStack, ...]
    config: TrainConfig
    init: str | None = None
    strokes_known: bool = False


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Segment slices of `image`.

    Parameters
    ----------
    adapter
        Digest of the adapter.
    config
        How to segment, and which slices.
    pixel_size
        Micrometres per pixel of the stored slices, None if unknown.
    voxels
        Needed for planes across the slices.
    strength
        How much of the adapter is applied, 0 to 1.5; 0: the base model with only what belongs to the classes.
    probabilities
        Whether to send the probabilities, too.
    """

    image: StackInfo
    adapter: str
    config: SegmentConfig
    pixel_size: float | None = None
    voxels: Voxels = NOTHING_KNOWN
    strength: float = 1.0
    probabilities: bool = False


@dataclass(frozen=True, kw_only=True)
class Suggest:
    """Score slices by how unsure the adapter of digest `adapter` is; `pixel_size` in micrometres."""

    image: StackInfo
    adapter: str
    config: SegmentConfig
    pixel_size: float | None = None


@dataclass(frozen=True, kw_only=True)
class Rescale:
    """Make the adapter that is the one of digest `adapter` with a `strength` (see `Segment`)."""

    adapter: str
    strength: float


@dataclass(frozen=True, kw_only=True)
class Fetch:
    """Get adapters from `source` (see `napari_salt.terms.fetching.fetched`)."""

    source: str


@dataclass(frozen=True, kw_only=True)
class Measure:
    """Measure `labels`, and the intensities of `image` in them.

    The other parameters are those of `napari_salt.results.measure.measure_events`.
    """

    labels: StackInfo
    image: StackInfo | None
    by: By
    pixel_size: tuple[float, ...] | None
    unit: str
    class_names: Mapping[int, str]
    independent: bool
    group: int | None
    to_world: NDArray[Any] | None
    numbered: bool = False


@dataclass(frozen=True, kw_only=True)
class Write:
    """Write `labels` into the file `path`, which is there as a whole or not at all."""

    labels: StackInfo
    path: Path
    layout: Layout


@dataclass(frozen=True, kw_only=True)
class Look:
    """Preview the square around `centre` (y, x), in pixels, of slice `index`.

    It shows what the adapter of digest `adapter` finds with a `strength` (see `Segment`); or, if `learnt` and
    while a training runs, what that has learnt so far.
    """

    image: StackInfo
    index: int
    centre: tuple[float, float]
    adapter: str | None = None
    strength: float = 1.0
    learnt: bool = False
    pixel_size: float | None = None
    device: str = "auto"


@dataclass(frozen=True, kw_only=True)
class Ask:
    """Ask for the base model's mask of a prompt on slice `index`; positions are in pixels.

    Without points and a box only the slice's embedding is computed, ahead of the first prompt.

    Parameters
    ----------
    base
        Name or checkpoint of the base model.
    number
        Given back in the answer, to tell the answers apart.
    points
        (y, x) of each point.
    positive
        For each point, whether it is in the object.
    box
        (top, left, bottom, right).
    device
        Where to compute: "auto", "cpu", "cuda" or "mps".
    """

    image: StackInfo
    index: int
    base: str
    number: int
    points: tuple[tuple[float, float], ...] = ()
    positive: tuple[bool, ...] = ()
    box: tuple[float, float, float, float] | None = None
    device: str = "auto"


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Ask how unlike `image` the stack is that an adapter was trained on; `pixel_size` in micrometres.

    `name` is given back in the answer.
    """

    image: StackInfo
    name: str
    card: AdapterCard
    pixel_size: float | None = None


@dataclass(frozen=True, kw_only=True)
class Stop:
    """End the running job and keep its results so far."""


@dataclass(frozen=True, kw_only=True)
class SliceRead:
    """The answer to `ReadSlice`: the values, (Y, X[, 3]), or None and what went wrong."""

    plane: NDArray[Any] | None
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class AdapterRead:
    """The answer to `ReadAdapter`: the bytes of the file; None if it is no longer offered."""

    content: bytes | None


Job = Train | Segment | Suggest | Measure | Write | Rescale | Fetch
Aside = Look | Ask | Compare
Answer = SliceRead | AdapterRead
Request = Job | Aside | Stop | Answer
ASIDES = ("Look", "Ask", "Compare")
"""Names of the asides, as in `Failed.request`."""
