"""Messages between napari and the engine's process. Imports no torch.

A **job** (`Train`, `Segment`, `Suggest`, `Measure`, `Write`, `Rescale`, `Fetch`) takes long and ends with
one `Finished` or `Failed`; a job that arrives while another runs is queued. An **aside** (`Look`, `Ask`,
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
from napari_salt.results.table import Measured
from napari_salt.terms.card import AdapterCard
from napari_salt.terms.config import SegmentConfig, TrainConfig, Unpainted
from napari_salt.terms.events import Preview, SliceResult, TrainingEvent
from napari_salt.terms.planes import NOTHING_KNOWN, Voxels

if TYPE_CHECKING:
    from napari_salt.io._format import Layout

__all__ = [
    "ASIDES",
    "AdapterRead",
    "Answer",
    "Arrived",
    "Aside",
    "Ask",
    "Compare",
    "Compared",
    "Downloading",
    "Failed",
    "Fetch",
    "Finished",
    "Job",
    "Judged",
    "Logged",
    "Look",
    "Looked",
    "Mask",
    "Measure",
    "MeasuredMore",
    "ReadAdapter",
    "ReadSlice",
    "Request",
    "Rescale",
    "Rescaled",
    "Segment",
    "SliceRead",
    "SliceScored",
    "SliceSegmented",
    "StackInfo",
    "Stop",
    "StrokesFound",
    "Suggest",
    "Train",
    "Trained",
    "Write",
    "Written",
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

    During a training it shows what has been learnt so far, else what the adapter of digest `adapter` finds
    with a `strength` (see `Segment`).
    """

    image: StackInfo
    index: int
    centre: tuple[float, float]
    adapter: str | None = None
    strength: float = 1.0
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
    """The answer to `ReadAdapter`: the bytes of the file."""

    content: bytes


Job = Train | Segment | Suggest | Measure | Write | Rescale | Fetch
Aside = Look | Ask | Compare
Answer = SliceRead | AdapterRead
Request = Job | Aside | Stop | Answer
ASIDES = ("Look", "Ask", "Compare")
"""Names of the asides, as in `Failed.request`."""


@dataclass(frozen=True, kw_only=True)
class ReadSlice:
    """The engine needs slice `index` of stack `key`."""

    key: int
    index: int


@dataclass(frozen=True, kw_only=True)
class ReadAdapter:
    """The engine needs the file of the adapter with this digest."""

    digest: str


@dataclass(frozen=True, kw_only=True)
class Trained:
    """An event of the training. ``event.adapter`` is None here; `adapter` has the bytes of its file."""

    event: TrainingEvent[AdapterCard]
    adapter: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class Rescaled:
    """The bytes of the file of the adapter that was asked for by `Rescale`."""

    adapter: bytes


@dataclass(frozen=True, kw_only=True)
class Arrived:
    """An adapter that was asked for by `Fetch`: the name of its file, and the content, not checked yet."""

    name: str
    content: bytes


@dataclass(frozen=True, kw_only=True)
class Downloading:
    """The base model `name` is being downloaded: bytes so far, and of all (0 if the server sent no size)."""

    name: str
    received: int
    total: int

    @property
    def text(self) -> str:
        """How much has arrived, in words."""
        of = f" of {self.total / 1e6:.0f}" if self.total else ""
        return f"downloading {self.name}: {self.received / 1e6:.0f}{of} MB"


@dataclass(frozen=True, kw_only=True)
class Logged:
    """What a module of the core has logged: the module, the level, and the text."""

    name: str
    level: int
    text: str


@dataclass(frozen=True, kw_only=True)
class StrokesFound:
    """The paint looks like strokes, but unpainted means background; nothing was trained."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The comparison of a trained adapter with a random forest on the same paint.

    Parameters
    ----------
    forest
        The forest's held-out Dice by label value.
    worse
        A sentence that the forest does better, or "" if it does not.
    help
        What would help most.
    """

    forest: Mapping[int, float]
    worse: str
    help: str


@dataclass(frozen=True, kw_only=True)
class SliceSegmented:
    """One slice is done; without `Segment.probabilities` its probabilities have shape (0, Y, X)."""

    result: SliceResult


@dataclass(frozen=True, kw_only=True)
class SliceScored:
    """How unsure the adapter is of slice `index`; `done` of `total` slices are scored."""

    index: int
    uncertainty: float
    done: int
    total: int


@dataclass(frozen=True, kw_only=True)
class MeasuredMore:
    """How far a measurement is, and what it has found."""

    event: Measured


@dataclass(frozen=True, kw_only=True)
class Written:
    """How many of the slices of a file are written."""

    done: int
    total: int


@dataclass(frozen=True, kw_only=True)
class Looked:
    """The answer to `Look`: the preview, None if there was no adapter, and the seconds it took."""

    preview: Preview | None
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Mask:
    """The answer to `Ask` `number`: bool (Y, X), None without a prompt, and the seconds it took."""

    number: int
    index: int
    mask: NDArray[Any] | None
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Compared:
    """The answer to `Compare`: misfit (0: alike; infinite: it cannot be used) and what that is made of."""

    name: str
    misfit: float
    words: str


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A job has ended: completed, or stopped by the user."""

    stopped: bool = False


@dataclass(frozen=True, kw_only=True)
class Failed:
    """A request could not be answered; after a failed job no `Finished` follows.

    Parameters
    ----------
    request
        Class name of the request, or "" if the engine's process ended unexpectedly.
    message
        One line for the user, with the remedy.
    fault
        The setting at fault, "base" or "device", or "" if not known.
    details
        Traceback, for an error that is not the user's.
    """

    request: str
    message: str
    fault: str = ""
    details: str = ""
