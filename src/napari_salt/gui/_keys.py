"""Keys and their actions while the dock widget is open; napari ignores key bindings in manifests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_salt.session._session import Session

__all__ = ["KEYS"]


def _train_or_stop(session: Session) -> None:
    if session.job == "train":
        session.stop()
    else:
        session.training.start()


def _segment_slice(session: Session) -> None:
    session.segmenting.current_slice()


def _segment_stack(session: Session) -> None:
    session.segmenting.stack()


def _next_slice(session: Session) -> None:
    session.suggesting.go_to_next()


def _accept_mask(session: Session) -> None:
    session.prompting.accept()


def _compare(session: Session) -> None:
    session.comparing.start()


def _flip(session: Session) -> None:
    session.swiping.flip()


KEYS: Mapping[str, Callable[[Session], None]] = {
    "Shift-T": _train_or_stop,
    "Shift-S": _segment_slice,
    "Shift-D": _segment_stack,
    "Shift-N": _next_slice,
    "Shift-M": _accept_mask,
    "Shift-C": _compare,
    "Shift-X": _flip,
}
