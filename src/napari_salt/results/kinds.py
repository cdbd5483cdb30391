"""What a table has a row for. Imports nothing."""

from typing import Literal

__all__ = ["BY", "By"]

By = Literal["classes", "objects", "numbers"]
"""Each class, each connected piece of a class, or each value as the number of an object."""

BY: tuple[By, ...] = ("classes", "objects", "numbers")
