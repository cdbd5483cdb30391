"""Output files of ``napari-salt segment``, and what the result of a slice depends on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_salt import __version__
from napari_salt.io import Stack
from napari_salt.io._paths import files_of
from napari_salt.io._table import format_to_write, offered
from napari_salt.io._write import check_target
from napari_salt.terms.config import SegmentConfig
from napari_salt.terms.errors import InputError

if TYPE_CHECKING:
    from napari_salt.core.adapt.adapter import Adapter
    from napari_salt.terms.events import SliceResult

__all__ = ["Outputs", "state_of"]


@dataclass(frozen=True)
class Outputs:
    """Output files of a segmentation.

    Parameters
    ----------
    labels
        Where the segmentation is written.
    probabilities
        Where the probabilities of background and classes, (K + 1, Z, Y, X), are written; None: nowhere.
    probabilities_dtype
        "float16", or "uint8", where 255 stands for 1.
    resume
        Whether to continue an earlier, unfinished run.
    """

    labels: Path
    probabilities: Path | None = None
    probabilities_dtype: str = "float16"
    resume: bool = False

    def check(self, source: Path) -> None:
        """Refuse outputs that could not be written, before any work.

        Raises
        ------
        InputError
            If an output cannot be written, would overwrite `source` or the other output, or its format
            has no channels for probabilities.
        """
        check_target(self.labels, source)
        if self.probabilities is not None:
            check_target(self.probabilities, source)
            if not format_to_write(self.probabilities).has_channels:
                known = " or ".join(offered(channels=True))
                raise InputError(f"{self.probabilities}: probabilities are written as {known}")
            if self.probabilities.absolute() == self.labels.absolute():
                raise InputError(f"{self.labels}: give --out and --probabilities different names")

    def depend_on(self, image: Stack, adapter: Adapter, config: SegmentConfig) -> dict[str, Any]:
        """Everything that the result of a slice depends on, as values that JSON can hold.

        The keys are shown to the user when a value differs from that of the unfinished run.
        """
        from napari_salt.core.bases.checkpoints import weights_digest

        return {
            "image": state_of(image.source),
            "axes": image.axes,
            "channel": image.channel,
            "series": image.series,
            "pixel size": image.pixel_size,
            "adapter": [
                weights_digest(adapter.tensors),
                asdict(adapter.preprocess),
                *map(asdict, adapter.classes),
            ],
            "base model": adapter.weights_sha256,
            "probabilities": self.probabilities_dtype if self.probabilities else None,
            "napari-salt version": __version__,
            **asdict(config),
        }

    def arrays(self, result: SliceResult) -> dict[str, npt.NDArray[Any]]:
        """Arrays (Y, X) to keep of a slice: ``labels``, and probabilities ``0`` (background), ``1``, ..."""
        arrays: dict[str, npt.NDArray[Any]] = {"labels": result.labels}
        if self.probabilities is not None:
            planes = self.quantised(result.probabilities)
            arrays |= {str(position): plane for position, plane in enumerate(planes)}
        return arrays

    def quantised(self, probabilities: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """Probabilities (0 to 1) as `probabilities_dtype`; uint8 is scaled by 255."""
        if self.probabilities_dtype == "uint8":
            probabilities = np.rint(255 * probabilities)
        return probabilities.astype(self.probabilities_dtype)


def state_of(path: Path) -> list[Any]:
    """Name, size in bytes, and time of the last change (ns) of a file, or of all files that `path` names."""
    states = [file.stat() for file in files_of(path)]
    return [path.name, sum(s.st_size for s in states), max((s.st_mtime_ns for s in states), default=0)]
