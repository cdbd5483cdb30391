"""Finished slices of an unfinished segmentation, kept so that no kind of stop loses them."""

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

from napari_salt.io._format import writing
from napari_salt.terms.errors import InputError
from napari_salt.terms.files import whole_file

__all__ = ["PartialRun", "telling_of"]

_RUN = "run.json"


class PartialRun:
    """A folder beside an output, with one file per finished slice.

    A slice's file appears when it is complete and on the disk, and carries checksums, so the files
    themselves are the journal: nothing else has to be kept in step.

    Parameters
    ----------
    out
        The output; the folder has its name with a dot before and ``.partial`` after.
    run
        What the slices depend on (the input, the adapter, settings), by the name to tell the user
        when it differs; values as JSON has them.
    """

    def __init__(self, out: Path, run: Mapping[str, Any]) -> None:
        self.folder = out.with_name(f".{out.name}.partial")
        self._out = out
        self._run = json.loads(json.dumps(run))

    def finished(self) -> frozenset[int]:
        """Give the slices that are there and whole.

        Raises
        ------
        InputError
            If the folder's run is another.
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
        """Discard what an earlier run has left, and make the folder."""
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
            If the disk refuses.
        """
        with writing(self.folder), whole_file(self._file(index)) as file:
            np.savez_compressed(file, **arrays)

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


@contextmanager
def telling_of(finished: Collection[int]) -> Iterator[None]:
    """Let a failure of the body say how many slices are `finished` by then, and how to go on."""
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
