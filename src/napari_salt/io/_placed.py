"""Where the voxels of an image that is to be written lie, for formats that give it in mm."""

from __future__ import annotations

import numpy as np

from napari_salt.io._format import Layout
from napari_salt.io._geometry import Affine
from napari_salt.terms.units import MICROMETRES

__all__ = ["in_mm"]


def in_mm(layout: Layout) -> Affine:
    """Affine of a layout (see `Affine`).

    Without one of its own, voxels lie along the axes towards left, back and head, as ITK has it; a size that
    is not known is 1, a unit that is not known is mm.
    """
    if layout.affine is not None:
        return layout.affine
    factor = MICROMETRES[layout.unit or "mm"] / MICROMETRES["mm"]
    z, y, x = layout.spacing or (1.0, 1.0, 1.0)
    affine = np.zeros((4, 4))
    affine[[2, 1, 0], [0, 1, 2]] = [factor * size for size in (z or 1.0, y, x)]
    affine[:3, 3] = [factor * place for place in reversed(layout.origin or (0.0, 0.0, 0.0))]
    affine[3, 3] = 1
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
