"""How unsure a segmentation is of each pixel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["pixel_uncertainty"]


def pixel_uncertainty(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """The entropy of each pixel's probabilities, as a share of the largest possible.

    Parameters
    ----------
    probabilities
        float32, shape (K + 1, Y, X), background first; they sum to 1.

    Returns
    -------
    numpy.ndarray
        float32, shape (Y, X): 0 where one class is certain, 1 where all are as likely.
    """
    tiny = np.finfo(probabilities.dtype).tiny
    entropy = -(probabilities * np.log(probabilities.clip(tiny))).sum(0) / np.log(len(probabilities))
    return np.asarray(entropy, np.float32)
