"""Prompts of a user (clicks and a box), as a frozen dataclass that can be imported without torch."""

from __future__ import annotations

from dataclasses import dataclass

from napari_salt.terms.errors import InputError

__all__ = ["PromptSet"]


@dataclass(frozen=True)
class PromptSet:
    """Clicks and a box that single out one object of a slice.

    Coordinates are in pixels of the image; the centre of the first pixel is (0, 0).

    Parameters
    ----------
    points
        (y, x) of each click.
    positive
        Whether each click is on the object; as many as there are points.
    box
        (top, left, bottom, right) around the object.
    """

    points: tuple[tuple[float, float], ...] = ()
    positive: tuple[bool, ...] = ()
    box: tuple[float, float, float, float] | None = None

    def __post_init__(self) -> None:
        if len(self.points) != len(self.positive):
            raise InputError(
                f"there are {len(self.points)} points but {len(self.positive)} signs; give one for each point"
            )
        if self.box is not None and not (self.box[0] < self.box[2] and self.box[1] < self.box[3]):
            raise InputError(f"the box {self.box} is empty; give (top, left, bottom, right)")

    def check(self, size: tuple[int, int]) -> None:
        """Raise InputError without positive click or box, or if one lies outside an image (height, width)."""
        if not any(self.positive) and self.box is None:
            raise InputError("there is no prompt; click on the object, or draw a box around it")
        corners = () if self.box is None else (self.box[:2], self.box[2:])
        for y, x in (*self.points, *corners):
            if not (-0.5 <= y <= size[0] - 0.5 and -0.5 <= x <= size[1] - 0.5):
                raise InputError(
                    f"the prompt at y={y:g}, x={x:g} is outside the image of {size[0]}x{size[1]} pixels; "
                    "place it inside"
                )
