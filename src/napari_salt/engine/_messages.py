"""What napari and the engine's process say to each other. Imports no torch.

A **job** (`Train`, `Segment`, `Suggest`) runs for long and ends with one `Finished` or `Failed`; one that
comes while another runs waits for it. `Look` and `Ask` are answered between two steps of a job, or at once.
Arrays and adapters stay where they are: the engine is told a `StackInfo`, or an adapter's digest, and asks
for a slice (`ReadSlice`), or once for the file of an adapter that it does not know (`ReadAdapter`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from napari_salt.terms.card import AdapterCard
from napari_salt.terms.config import SegmentConfig, TrainConfig
from napari_salt.terms.events import Preview, SliceResult, TrainingEvent

__all__ = [
    "AdapterRead",
    "Answer",
    "Ask",
    "Downloading",
    "Failed",
    "Finished",
    "Job",
    "Judged",
    "Logged",
    "Look",
    "Looked",
    "Mask",
    "ReadAdapter",
    "ReadSlice",
    "Request",
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
]


@dataclass(frozen=True, kw_only=True)
class StackInfo:
    """A stack that lies in napari's process: its number there, shape (Z, Y, X[, 3]) and dtype."""

    key: int
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, kw_only=True)
class PaintedStack:
    """An image with paint."""

    image: StackInfo
    labels: StackInfo
    pixel_size: float | None = None


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train on the paint of `stacks`; `init` is the digest of the adapter to go on from.

    `strokes_known` says that the user has been asked whether the paint is strokes.
    """

    stacks: tuple[PaintedStack, ...]
    config: TrainConfig
    init: str | None = None
    strokes_known: bool = False


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Segment slices of `image` with the adapter of that digest.

    With `adapted` off, by the base model with the class tokens alone.
    """

    image: StackInfo
    adapter: str
    config: SegmentConfig
    pixel_size: float | None = None
    adapted: bool = True
    probabilities: bool = False


@dataclass(frozen=True, kw_only=True)
class Suggest:
    """Score slices by how unsure the adapter of that digest is of them."""

    image: StackInfo
    adapter: str
    config: SegmentConfig
    pixel_size: float | None = None


@dataclass(frozen=True, kw_only=True)
class Look:
    """Preview the square around `centre` (y, x) of slice `index`.

    While a training on this image runs, with what it has learnt so far; else with the adapter of the digest
    `adapter`.
    """

    image: StackInfo
    index: int
    centre: tuple[float, float]
    adapter: str | None = None
    adapted: bool = True
    pixel_size: float | None = None
    device: str = "auto"


@dataclass(frozen=True, kw_only=True)
class Ask:
    """Ask the base model `base` for the mask of a prompt on slice `index`; None only readies the slice.

    `number` tells the answers apart.
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
class Stop:
    """End the running job and keep its results so far."""


@dataclass(frozen=True, kw_only=True)
class SliceRead:
    """The answer to `ReadSlice`: the values, or what went wrong."""

    plane: NDArray[Any] | None
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class AdapterRead:
    """The answer to `ReadAdapter`: the bytes of the file."""

    content: bytes


Job = Train | Segment | Suggest
Answer = SliceRead | AdapterRead
Request = Job | Look | Ask | Stop | Answer


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
    """A moment of the training; `adapter` is the file of ``event.adapter``, which itself is None."""

    event: TrainingEvent[AdapterCard]
    adapter: bytes | None = None


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
    """The paint looks like strokes though unpainted means background; nothing was trained."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Held-out Dice, by label value, of a forest on the same paint; that it does better; what would help."""

    forest: Mapping[int, float]
    worse: str
    help: str


@dataclass(frozen=True, kw_only=True)
class SliceSegmented:
    """One slice is done; its probabilities are there if they were asked for."""

    result: SliceResult


@dataclass(frozen=True, kw_only=True)
class SliceScored:
    """How unsure the adapter is of one slice, and the slices to paint next as far as is known."""

    index: int
    uncertainty: float
    done: int
    total: int


@dataclass(frozen=True, kw_only=True)
class Looked:
    """The answer to `Look`, None where there was nothing to look with, and the seconds it took."""

    preview: Preview | None
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Mask:
    """The answer to `Ask`: bool (Y, X), or None where the slice was only readied."""

    number: int
    index: int
    mask: NDArray[Any] | None
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A job has ended: run through, or stopped by the user."""

    stopped: bool = False


@dataclass(frozen=True, kw_only=True)
class Failed:
    """A request could not be answered; after a failed job no `Finished` follows.

    Parameters
    ----------
    request
        Class name of the request, or "" where the engine itself went down.
    message
        One line for the user, with the remedy.
    fault
        The setting at fault, "base" or "device", or "" where that is not known.
    details
        Traceback, for an error that is not the user's.
    """

    request: str
    message: str
    fault: str = ""
    details: str = ""
