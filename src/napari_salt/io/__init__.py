"""Read image and label stacks with their geometry, and write labels (``docs/formats.md``)."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_salt.io._read import read_labels, read_stack
    from napari_salt.io._stack import Stack
    from napari_salt.io._write import LabelWriter, write_labels

__all__ = ["LabelWriter", "Stack", "read_labels", "read_stack", "write_labels"]

_MODULE_OF = {
    "LabelWriter": "_write",
    "Stack": "_stack",
    "read_labels": "_read",
    "read_stack": "_read",
    "write_labels": "_write",
}
"""Imported at first use, so that `_table` can be imported without the formats' libraries."""


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"napari_salt.io.{_MODULE_OF[name]}"), name)
