"""How the threads of a computing process wait for each other; to be set before torch is imported."""

__all__ = ["SHORT_WAITS"]

SHORT_WAITS = {"GOMP_SPINCOUNT": "20000"}
"""Environment in which OpenMP's threads sleep soon instead of spinning.

Spinning threads take the processor from those that they wait for: from the GUI, and from a second program.
"""
