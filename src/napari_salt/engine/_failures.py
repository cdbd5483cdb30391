"""Turn an exception in the engine into a message for the user."""

from __future__ import annotations

import traceback
from typing import Any

from napari_salt.engine._news import Failed
from napari_salt.terms.errors import BaseModelError, DeviceError, SaltError

__all__ = ["failure"]

FAULTS = {BaseModelError: "base", DeviceError: "device"}
"""The setting at fault, by type of error."""
UNEXPECTED = "{}; this is not your fault: please report it with what napari's log says"


def failure(request: Any, error: Exception) -> Failed:
    """Give the message that says why `request` failed and what to do.

    Call it where `error` is caught: the traceback is taken from there.

    Parameters
    ----------
    request
        A message of `_requests` that could not be answered.
    error
        What was raised.
    """
    from napari_salt.core.devices import is_lost, said_of_device

    name = type(request).__name__
    fault = next((fault for kind, fault in FAULTS.items() if isinstance(error, kind)), "")
    if isinstance(error, SaltError):
        return Failed(request=name, message=str(error), fault=fault)
    said = said_of_device(error)
    if said:
        lost = is_lost(error)
        fault = "device" if lost else "base"
        return Failed(request=name, message=said, fault=fault, details=traceback.format_exc(), lost=lost)
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return Failed(request=name, message=UNEXPECTED.format(text), details=traceback.format_exc())
