"""What each axis of a file means: told by the user or by the file, never guessed."""

from pathlib import Path

import dask.array as da
import numpy as np
from tifffile import TiffPageSeries

from napari_salt.core.errors import InputError

__all__ = ["axes_of_file", "check_axes", "given_axes", "normalised"]


def axes_of_file(series: TiffPageSeries, path: Path) -> str:
    """Give the file's axis letters, of T, Z, C, Y, X, S, if they can mean one thing only."""
    grey = series.axes.removesuffix("S")
    if len(grey) == 3 and grey[0] in "QI":  # pages without a meaning: a stack
        grey = "Z" + grey[1:]
    if not (grey.endswith("YX") and set(grey) <= set("TZCYX") and len(set(grey)) == len(grey)):
        raise InputError(
            f"{path} has axes {series.axes} of {_sizes(series)}, which can mean several things: "
            "say what they are with --axes, for example ZYX, ZCYX or ZYXS"
        )
    return grey + ("S" if series.axes.endswith("S") else "")


def given_axes(axes: str, series: TiffPageSeries, path: Path) -> str:
    """Give the user's axis letters, if they are understood and as many as the file has axes."""
    letters = axes.upper()
    known = set(letters) <= set("ZNYXCTS") and {"Y", "X"} <= set(letters)
    if not known or len(set(letters)) < len(letters) or {"Z", "N"} <= set(letters):
        raise InputError(
            f"--axes {axes} is not understood: give Y, X and any of Z (or N), C, T, S, each once"
        )
    if len(letters) not in (len(series.shape), len(series.get_shape(squeeze=False))):
        raise InputError(
            f"--axes {axes} names {len(letters)} axes, but {path} has {len(series.shape)} "
            f"({series.axes} of {_sizes(series)}): give one letter per axis"
        )
    return letters


def check_axes(sizes: dict[str, int], channel: int | None, path: Path) -> None:
    """Refuse axes that cannot become one stack.

    Parameters
    ----------
    sizes
        Axis letter to length.
    channel
        The channel asked for.
    path
        For the message.

    Raises
    ------
    InputError
        If there are several time points, several channels and none is chosen, a channel that is not
        there, or colours of neither 3 nor 4 samples.
    """
    axes, channels = "".join(sizes), sizes.get("C", 1)
    if sizes.get("S", 3) not in (3, 4):
        problem = f"has {sizes['S']} samples per pixel, not 3 or 4: name that axis C in --axes"
    elif sizes.get("T", 1) > 1:
        problem = (
            f"is a time series of {sizes['T']} frames (axes {axes}), which is not supported yet: "
            "save one time point, or name that axis Z in --axes if it is the slices"
        )
    elif channel is None and channels > 1:
        problem = (
            f"has {channels} channels (axes {axes}): choose one with --channel, from 0, or name "
            "that axis Z in --axes if it is the slices"
        )
    elif channel is not None and "C" not in sizes:
        problem = f"has no channel axis (axes {axes}): leave out --channel, or name C in --axes"
    elif channel is not None and not 0 <= channel < channels:
        problem = f"has channels 0 to {channels - 1}, not {channel}: choose another --channel"
    else:
        return
    raise InputError(f"{path} {problem}")


def normalised(data: da.Array, letters: str, channel: int) -> tuple[da.Array, bool]:
    """Give (Z, Y, X) or (Z, Y, X, 3), and whether there was no slice axis.

    Parameters
    ----------
    data
        With one axis per letter.
    letters
        As `check_axes` has passed them; of axis T the only entry is taken.
    channel
        Which entry of axis C, if any, to take.
    """
    data = data[tuple({"T": 0, "C": channel}.get(letter, slice(None)) for letter in letters)]
    left = "".join(letter for letter in letters if letter not in "TC").replace("N", "Z")
    was_2d = "Z" not in left
    if was_2d:
        data, left = data[np.newaxis], "Z" + left
    data = data.transpose([left.index(letter) for letter in "ZYXS" if letter in left])
    return (data[..., :3] if data.ndim == 4 else data), was_2d


def _sizes(series: TiffPageSeries) -> str:
    return "x".join(map(str, series.shape))
