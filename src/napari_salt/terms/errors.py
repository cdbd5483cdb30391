"""The one family of errors that a user can mend; every message names what was found and the remedy."""

__all__ = [
    "AdapterError",
    "BaseModelError",
    "DeviceError",
    "InputError",
    "SaltError",
    "UnreadableError",
    "check_type",
]


class SaltError(Exception):
    """Something that the user can put right; the message is one line and names the remedy."""


class InputError(SaltError, ValueError):
    """An image, labels, a path or a setting cannot be used as given."""


class UnreadableError(InputError):
    """A single slice of an image cannot be read."""


class AdapterError(SaltError):
    """An adapter file is damaged, of another format, or belongs to another base model."""


class BaseModelError(SaltError):
    """A base model is unknown, not present, or not what its hash says."""


class DeviceError(SaltError):
    """The compute device asked for is not available, or is out of memory."""


def check_type(given: object, kind: type, what: str, remedy: str) -> None:
    """Check the type of an argument; `what` names it, and `remedy` completes "give ...".

    Raises
    ------
    InputError
        If it is of another type.
    """
    if not isinstance(given, kind):
        raise InputError(f"the {what} is of type {type(given).__name__}; give {remedy}")
