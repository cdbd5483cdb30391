"""Lists of slices as people write them."""

from napari_salt.core.errors import InputError

__all__ = ["parse_slices"]

MAX_SLICE = 10_000_000


def parse_slices(text: str) -> tuple[int, ...]:
    """Numbers and ranges, both ends included: ``"3,12"``, ``"0-9, 20"``.

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
