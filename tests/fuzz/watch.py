"""Try many files: each may cause the errors that are defined, but no others, no hang and no large memory."""

import argparse
import contextlib
import faulthandler
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from napari_salt.terms.errors import SaltError

SECONDS, BYTES = 5.0, 1_000_000_000
"""Limits per file: of the processor's time, as others may use the machine, and of memory above the base."""
UNIT = 1 if sys.platform == "darwin" else 1024


class Hang(BaseException):
    """A file took longer than `SECONDS`."""


def arguments(about: str, count: int) -> argparse.ArgumentParser:
    """What all commands take."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--count", type=int, default=count, help=f"files to try (default {count})")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the chance; the same seed gives the same files"
    )
    parser.add_argument("--first", type=int, default=0, help="number of the first file, to see a fault again")
    parser.add_argument("--keep", type=Path, help="folder that gets the files with faults")
    return parser


def tell(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class Watch:
    """Runs a function on files, and counts what comes of it.

    Parameters
    ----------
    options
        What `arguments` has parsed.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.ends: Counter[str] = Counter()
        self.faults: list[str] = []
        self.slowest = 0.0
        self._base = _peak()
        self._peak = self._base
        limit = self._base + 4 * BYTES
        with contextlib.suppress(ValueError, OSError):  # a file may not take the machine along
            resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.getrlimit(resource.RLIMIT_DATA)[1]))
        signal.signal(signal.SIGPROF, self._on_alarm)

    def run(self, name: str, make: Callable[[random.Random, Path], Path], use: Callable[[Path], Any]) -> None:
        """Make each file in a fresh folder, and use it.

        Parameters
        ----------
        name
            What kind of files these are.
        make
            Makes the file in a folder, by chance; returns its path.
        use
            Reads it; may raise SaltError.
        """
        first, count = self.options.first, self.options.count
        for number in range(first, first + count):
            with tempfile.TemporaryDirectory() as folder:
                path = make(random.Random(f"{self.options.seed} {name} {number}"), Path(folder))
                self._try(f"{name} {number}", path, use)
            if (number + 1 - first) % max(1, count // 10) == 0:
                tell(f"{name}: {number + 1 - first} of {count}, {len(self.faults)} faults")

    def end(self) -> int:
        """Tell what was found; the command's exit code."""
        for line in self.faults[:20]:
            tell(line)
        ends = ", ".join(f"{count} {end}" for end, count in self.ends.most_common())
        grown = (self._peak - self._base) / 1e6
        tell(f"{ends}; slowest {self.slowest:.2f} s, memory grew by {grown:.0f} MB")
        tell(f"{len(self.faults)} faults")
        return 1 if self.faults else 0

    def _try(self, name: str, path: Path, use: Callable[[Path], Any]) -> None:
        began, fault = time.process_time(), ""
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        faulthandler.dump_traceback_later(24 * SECONDS, exit=True)  # waiting, or in C
        try:
            use(path)
        except SaltError as error:
            end = "refused"
            if not str(error).isprintable() or len(str(error)) > 2000:
                fault = f"an error of {len(str(error))} characters: {str(error)[:200]!r}"
        except Hang:
            end, fault = "hang", f"no end after {SECONDS} s"
        except BaseException as error:  # noqa: BLE001 (what this is about)
            end = "other error"
            where = traceback.extract_tb(error.__traceback__)[-1]
            fault = f"{type(error).__name__}: {str(error)[:200]!r} at {where.filename}:{where.lineno}"
        else:
            end = "read"
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            faulthandler.cancel_dump_traceback_later()
        self.ends[end] += 1
        self.slowest = max(self.slowest, time.process_time() - began)
        before, self._peak = self._peak, max(self._peak, _peak())
        if self._peak - self._base > BYTES and self._peak > before:
            fault = fault or f"memory is {(self._peak - self._base) / 1e6:.0f} MB above the base"
        if fault:
            self.faults.append(f"{name}: {fault}")
            self._keep(path)

    def _keep(self, path: Path) -> None:
        if self.options.keep is not None and path.exists():
            self.options.keep.mkdir(parents=True, exist_ok=True)
            target = self.options.keep / f"{len(self.faults)} {path.name}"
            (shutil.copytree if path.is_dir() else shutil.copyfile)(path, target)

    def _on_alarm(self, *_: object) -> None:
        raise Hang


def _peak() -> int:
    """Most memory that this process has used, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT
