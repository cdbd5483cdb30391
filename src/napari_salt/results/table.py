"""A table of measurements: columns with names, rows, CSV; and how far a measurement is."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_salt.terms.errors import InputError
from napari_salt.terms.files import whole_file

__all__ = ["Measured", "Table", "write_text"]

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""First characters of a text that spreadsheets compute instead of showing."""


@dataclass(frozen=True)
class Table:
    """Columns of the same length.

    Parameters
    ----------
    columns
        Whole or real numbers, or text (dtype object), shape (rows,), by name. NaN is "not known".
    """

    columns: Mapping[str, NDArray[Any]]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def __getitem__(self, name: str) -> NDArray[Any]:
        """The column of this name."""
        return self.columns[name]

    def rows(self) -> Iterator[dict[str, Any]]:
        """Give each row as a dict of Python values that JSON can hold; None is "not known"."""
        for values in zip(*(column.tolist() for column in self.columns.values()), strict=True):
            yield {name: _known(value) for name, value in zip(self.columns, values, strict=True)}

    def to_csv(self) -> str:
        """Give the table as CSV: names in the first line; real numbers to 9 significant digits."""
        text = io.StringIO()
        writer = csv.DictWriter(text, list(self.columns), lineterminator="\n")
        writer.writeheader()
        for row in self.rows():
            writer.writerow({name: _written(value) for name, value in row.items()})
        return text.getvalue()

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the table as CSV (UTF-8), whole or not at all; give the path.

        Raises
        ------
        InputError
            If the folder is missing or cannot be written to, or the disk is full.
        """
        # Excel takes a file for UTF-8 only if it begins with this mark; other programs skip it.
        return write_text(path, "\ufeff" + self.to_csv())


@dataclass(frozen=True)
class Measured:
    """How far a measurement is.

    Parameters
    ----------
    fraction
        Share of the work that is done, 0 to 1.
    table
        The table, at the end; else None.
    index, numbers
        A slice with the numbers of its objects, int32 (Y, X), if these were asked for.
    """

    fraction: float
    table: Table | None = None
    index: int | None = None
    numbers: NDArray[np.int32] | None = None


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Write `text` in UTF-8, whole or not at all; give the path.

    Raises
    ------
    InputError
        If the folder is missing or cannot be written to, or the disk is full.
    """
    target = Path(path)
    try:
        with whole_file(target) as file:
            file.write(text.encode())
    except OSError as error:
        raise InputError(
            f"{target} cannot be written ({error.strerror}); choose a folder that can, or make room"
        ) from error
    return target


def _known(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _written(value: Any) -> Any:
    if isinstance(value, float):
        return f"{value:.9g}"
    if isinstance(value, str) and value.startswith(FORMULA):
        return f"'{value}"
    return "" if value is None else value
