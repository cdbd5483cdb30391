"""What comes next: the step of the work, what to do in it, and which sections show it. No Qt, no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from napari_salt.session._state import JOBS
from napari_salt.terms.text import shortened

if TYPE_CHECKING:
    from napari_salt.session._session import Session

__all__ = ["Advice", "Step", "advise"]

Step = Literal["image", "paint", "train", "segment", "share", "results"]
MAX_NAME = 30


@dataclass(frozen=True)
class Advice:
    """What to do next.

    Parameters
    ----------
    step
        The section that has the control for it.
    text
        One sentence that names the action.
    shown
        Sections that are needed for it, `step` among them.
    """

    step: Step
    text: str
    shown: frozenset[Step]


def advise(session: Session) -> Advice:
    """Say what comes next in a session."""
    if session.job:
        return _while_running(session)
    if session.source is None:
        return _advice("image", "Open an image, or try the sample.")
    if session.adapter is None:
        return _without_adapter(session)
    return _with_adapter(session)


def _while_running(session: Session) -> Advice:
    if session.job == "train":
        return _advice("train", "Training. Go on painting meanwhile, or stop when the preview is good.")
    if session.job == "segment":
        return _advice("segment", "Segmenting. Slices appear as they are done.")
    if session.job == "suggest":
        return _advice("paint", "Looking for the slices that painting would teach most.")
    return _advice("paint", f"{JOBS[session.job].capitalize()}. Go on painting meanwhile.")


def _without_adapter(session: Session) -> Advice:
    if session.labels is None:
        return _advice("paint", "Press New for a layer to paint on.")
    if session.misfit:
        return _advice("paint", "Choose labels that fit the image, or press New.")
    if session.paint is None or not session.paint.slices:
        return _advice("paint", f"Paint the class {_selected(session)} on this slice.")
    if session.training.cannot:
        return _advice("paint", "The paint needs a change before training (see 3 Train).", "train")
    return _advice("train", f"Train on {_painted(session)}, or paint more.", "paint")


def _with_adapter(session: Session) -> Advice:
    segmenting, training = session.segmenting, session.training
    if session.painting.tool and session.paint is not None and not session.paint.slices:
        return _advice("paint", f"Paint {_selected(session)}, or segment with the adapter.", "segment")
    if not session.correcting.cannot:
        return _advice("results", "Learn from what you have painted over in the result.", "segment")
    if segmenting.left:
        return _advice("segment", f"Resume: {len(segmenting.left)} slices are left.")
    if not segmenting.finished:
        what = "the stack" if session.slice_count > 1 else "the image"
        if training.history.steps:
            return _advice("segment", f"Segment {what}, or paint more.", "train")
        return _advice("segment", f"Segment {what} with the adapter.")
    if training.new_paint and not training.cannot:
        return _advice("train", "Train again: it goes on from the adapter with the new paint.", "paint")
    if session.adapter is not None and session.adapter.path is None:
        return _advice(
            "share", "Save the adapter, or paint over what is wrong in the result to correct it.", "segment"
        )
    return _advice(
        "share", "Send the file to a colleague, or paint over what is wrong in the result.", "segment"
    )


def _selected(session: Session) -> str:
    return f"“{shortened(session.selected_class.name, MAX_NAME)}”"


def _painted(session: Session) -> str:
    count = len(session.painted_places)
    return "the painted slice" if count == 1 else f"the {count} painted slices"


def _advice(step: Step, text: str, *others: Step) -> Advice:
    return Advice(step, text, frozenset({step, *others}))
