"""Finished slices of an unfinished segmentation, kept on disk so that a stop or crash does not lose them."""

import json
import shutil
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from filelock import FileLock, Timeout

from napari_salt.io._format import writing
from napari_salt.terms.errors import InputError
from napari_salt.terms.files import whole_file

__all__ = ["PartialRun", "telling_of"]

_RUN = "run.json"


class PartialRun:
    """A folder beside an output, with one file per finished slice.

    A slice's file gets its name only when it is complete and on the disk, and it has checksums. So the files
    themselves say which slices are finished; there is no separate list.

    Parameters
    ----------
    out
        Path of the output, such as ``out.tif``; the folder is then ``.out.tif.partial``.
    run
        What the slices depend on (the input, the adapter, settings), as values that JSON can hold. The keys
        are shown to the user when a value differs.
    """

    def __init__(self, out: Path, run: Mapping[str, Any]) -> None:
        self.folder = out.with_name(f".{out.name}.partial")
        self._out = out
        self._run = json.loads(json.dumps(run))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes away from the output during the body.

        Raises
        ------
        InputError
            If another one is writing it.
        """
        lock = FileLock(self._out.with_name(f".{self._out.name}.lock"), timeout=0)
        with writing(self._out):
            try:
                lock.acquire()
            except Timeout:
                raise InputError(
                    f"{self._out} is being written by another napari-salt; wait until it is done, or choose "
                    "another output"
                ) from None
        try:
            yield
        finally:
            Path(lock.lock_file).unlink(missing_ok=True)
            lock.release()

    def finished(self) -> frozenset[int]:
        """Give the slices whose files are there and complete.

        Raises
        ------
        InputError
            If the folder belongs to a run with another input, adapter or settings.
        """
        try:
            found = json.loads((self.folder / _RUN).read_text())
        except (OSError, ValueError):  # nothing was begun, or the stop came while beginning
            return frozenset()
        differing = [name for name in {**found, **self._run} if found.get(name) != self._run.get(name)]
        if differing:
            raise InputError(
                f"{self._out}: the unfinished run differs in {', '.join(differing)}: give what it was "
                "begun with, or leave out --resume to begin again"
            )
        return frozenset(int(file.stem) for file in self.folder.glob("*.npz") if _is_whole(file))

    def begin(self) -> None:
        """Discard what an earlier run has left, and make the folder.

        Raises
        ------
        InputError
            If the folder cannot be written.
        """
        with writing(self.folder):
            self.discard()
            self.folder.mkdir()
            with whole_file(self.folder / _RUN) as file:
                file.write(json.dumps(self._run).encode())

    def add(self, index: int, arrays: Mapping[str, Any]) -> None:
        """Keep the arrays of a finished slice.

        Raises
        ------
        InputError
            If the file cannot be written.
        """
        with writing(self.folder), whole_file(self._file(index)) as file:
            np.savez_compressed(file, **arrays)

    def add_numbers(self, index: int, numbers: npt.NDArray[Any]) -> None:
        """Keep the numbers of a slice's objects; they are no sign that a slice is finished.

        Raises
        ------
        InputError
            If the file cannot be written.
        """
        with writing(self.folder):
            self._numbers(index).parent.mkdir(exist_ok=True)
            np.save(self._numbers(index), numbers)

    def numbers(self, index: int) -> npt.NDArray[Any]:
        """Give what `add_numbers` has kept."""
        found: npt.NDArray[Any] = np.load(self._numbers(index), allow_pickle=False)
        return found

    def read(self, index: int, name: str) -> npt.NDArray[Any]:
        """Give one of the arrays of a finished slice."""
        with np.load(self._file(index), allow_pickle=False) as arrays:
            array: npt.NDArray[Any] = arrays[name]
        return array

    def discard(self) -> None:
        """Remove the folder, if it is there."""
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def _file(self, index: int) -> Path:
        return self.folder / f"{index:07d}.npz"

    def _numbers(self, index: int) -> Path:
        return self.folder / "objects" / f"{index:07d}.npy"


@contextmanager
def telling_of(finished: Collection[int]) -> Iterator[None]:
    """Add a note to an exception of the body: how many slices are `finished` by then, and how to go on."""
    try:
        yield
    except Exception as error:
        if finished:
            error.add_note(f"the {len(finished)} finished slices are kept, and --resume goes on")
        raise


def _is_whole(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as file:
            return file.testzip() is None
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error):
        return False
