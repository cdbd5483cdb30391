"""Turn an exception in the engine into a message for the user."""

from __future__ import annotations

import traceback
from typing import Any

from napari_salt.engine._news import Failed
from napari_salt.terms.errors import BaseModelError, DeviceError, SaltError

__all__ = ["failure"]

FAULTS = {BaseModelError: "base", DeviceError: "device"}
"""The setting at fault, by type of error."""
OUT_OF_MEMORY = "out of memory; close other programs, or choose a smaller base model"
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
    from napari_salt.core.devices import is_out_of_memory

    name = type(request).__name__
    fault = next((fault for kind, fault in FAULTS.items() if isinstance(error, kind)), "")
    if isinstance(error, SaltError):
        return Failed(request=name, message=str(error), fault=fault)
    if is_out_of_memory(error):
        return Failed(request=name, message=OUT_OF_MEMORY, fault="base", details=traceback.format_exc())
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return Failed(request=name, message=UNEXPECTED.format(text), details=traceback.format_exc())
