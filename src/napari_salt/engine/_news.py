"""What the engine's process tells napari while it does what `_requests` ask, and asks for. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from napari_salt.results.table import Measured
from napari_salt.terms.card import AdapterCard
from napari_salt.terms.events import Preview, SliceResult, TrainingEvent

if TYPE_CHECKING:
    pass

__all__ = [
    "Arrived",
    "Compared",
    "Downloading",
    "Failed",
    "Finished",
    "Judged",
    "Logged",
    "Looked",
    "Mask",
    "MeasuredMore",
    "ReadAdapter",
    "ReadSlice",
    "Rescaled",
    "SliceScored",
    "SliceSegmented",
    "StrokesFound",
    "Trained",
    "Written",
]


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
    lost
        Whether the engine's process can compute no more, as its GPU is lost to it. It is ended then, and the
        next request starts another.
    """

    request: str
    message: str
    fault: str = ""
    details: str = ""
    lost: bool = False
