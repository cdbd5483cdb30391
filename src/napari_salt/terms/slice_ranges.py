"""Lists of slices as people write them."""

from collections.abc import Iterable

from napari_salt.terms.errors import InputError

__all__ = ["check_slices", "parse_slices", "shown_slices"]

MAX_SLICE = 10_000_000


def parse_slices(text: str) -> tuple[int, ...]:
    """Sorted slice numbers of a list of numbers and ranges, ends included: ``"3,12"``, ``"0-9, 20"``.

    Raises
    ------
    InputError
        If `text` is anything else.
    """
    numbers: set[int] = set()
    for part in text.replace(" ", "").split(","):
        first, _, last = part.partition("-")
        if not first.isdigit() or (last and not last.isdigit()):
            raise InputError(f"{text!r} is not a list such as 3,12 or 0-9")
        if int(last or first) < int(first):
            raise InputError(f"{part} runs backwards; put the smaller number first")
        if int(last or first) >= MAX_SLICE:
            raise InputError(f"{text!r} names slices beyond {MAX_SLICE}")
        numbers.update(range(int(first), int(last or first) + 1))
    return tuple(sorted(numbers))


def check_slices(slices: Iterable[int], count: int, stack: object = "the stack") -> None:
    """Check that a stack of `count` slices has all of `slices`; `stack` names it in messages.

    Raises
    ------
    InputError
        Naming the first of them.
    """
    for index in slices:
        if not 0 <= index < count:
            raise InputError(f"slice {index} is out of range; {stack} has slices 0 to {count - 1}")


def shown_slices(slices: Iterable[int]) -> str:
    """A list of slices as `parse_slices` reads it, with ranges where three or more follow each other."""
    runs: list[list[int]] = []
    for index in sorted(set(slices)):
        if runs and runs[-1][-1] == index - 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    parts = [f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs]
    return ", ".join(parts)
