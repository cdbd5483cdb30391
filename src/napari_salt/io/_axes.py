"""What each axis of a file means, as the user or the file says; ambiguous axes are refused."""

from pathlib import Path

import dask.array as da

from napari_salt.terms.errors import InputError

__all__ = [
    "AxesError",
    "SeveralChannelsError",
    "axes_of_file",
    "check_axes",
    "flattened",
    "given_axes",
    "named_axes",
    "plain_axes",
    "unnamed_axes",
]


class AxesError(InputError):
    """The axes of an image can mean several things, and the user has to say which."""


class SeveralChannelsError(AxesError):
    """An image has several channels, of which none was chosen.

    Parameters
    ----------
    message
        For the user.
    count
        How many there are.
    """

    def __init__(self, message: str, count: int) -> None:
        super().__init__(message)
        self.count = count


def unnamed_axes(n_axes: int) -> str:
    """Give axis letters of an unnamed array: Q for each axis of unknown meaning, then YX."""
    return ("Q" * n_axes + "YX")[-n_axes:] if n_axes > 1 else "Q"


def plain_axes(shape: tuple[int, ...], path: Path, *, labels: bool = False) -> str:
    """Axis letters of an array without any names; ambiguous ones are refused (see `axes_of_file`).

    Of a 3D image, a last axis of 3 or 4 may be colours or columns, and so is asked about; of labels it is
    taken for columns.
    """
    if len(shape) == 3 and shape[-1] in (3, 4) and not labels:
        raise AxesError(
            f"{path} has shape {_sizes(shape)}: say with --axes YXS that the last axis is colour, or with "
            "--axes ZYX that it is columns"
        )
    return axes_of_file(unnamed_axes(len(shape)), shape, path)


def named_axes(axes: str, shape: tuple[int, ...], path: Path) -> str:
    """Axis letters that a file names, in any order; a first axis that it does not name is taken as Z.

    Raises
    ------
    InputError
        If an axis has no known name, or a name comes twice.
    """
    letters = "Z" + axes[1:] if axes[:1] == "Q" and "Z" not in axes else axes
    if set(letters) <= set("TZCYXS") and {"Y", "X"} <= set(letters) and len(set(letters)) == len(letters):
        return letters
    return axes_of_file(axes, shape, path)


def axes_of_file(axes: str, shape: tuple[int, ...], path: Path, *, more: str = "") -> str:
    """Give the file's axis letters, of T, Z, C, Y, X, S, if they can mean one thing only.

    A first axis of unknown meaning before YX is taken as Z.

    Parameters
    ----------
    axes, shape
        The file's own letters and lengths; Q or I for an axis of unknown meaning.
    path, more
        For the message: the file, and another remedy that there is.

    Raises
    ------
    InputError
        If the axes can mean several things.
    """
    grey = axes.removesuffix("S")
    if len(grey) == 3 and grey[0] in "QI":  # pages without a meaning: a stack
        grey = "Z" + grey[1:]
    if len(axes) == 4 and axes[0] in "QIZ" and axes[1:] == "SYX":  # colours in planes of their own
        return "ZSYX"
    if not (grey.endswith("YX") and set(grey) <= set("TZCYX") and len(set(grey)) == len(grey)):
        raise AxesError(
            f"{path} has axes {axes} of {_sizes(shape)}, which can mean several things: "
            f"say what they are with --axes, for example ZYX, ZCYX or ZYXS{more}"
        )
    return grey + ("S" if axes.endswith("S") else "")


def given_axes(
    given: str, axes: str, shape: tuple[int, ...], path: Path, *, n_unsqueezed: int | None = None
) -> str:
    """Give the user's axis letters in capitals, if they are valid and as many as the file has axes.

    Parameters
    ----------
    given
        Letters that the user gives.
    axes, shape
        The file's own letters and lengths.
    path
        For the message.
    n_unsqueezed
        Number of the file's axes including those of length 1, which is allowed as well.

    Raises
    ------
    InputError
        If a letter is unknown or repeated, Y or X is missing, or the number of letters is wrong.
    """
    letters = given.upper()
    known = set(letters) <= set("ZNYXCTS") and {"Y", "X"} <= set(letters)
    if not known or len(set(letters)) < len(letters) or {"Z", "N"} <= set(letters):
        raise InputError(
            f"--axes {given} is not understood: give Y, X and any of Z (or N), C, T, S, each once"
        )
    if len(letters) not in (len(shape), n_unsqueezed):
        raise InputError(
            f"--axes {given} names {len(letters)} axes, but {path} has {len(shape)} "
            f"({axes} of {_sizes(shape)}): give one letter per axis"
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
    SeveralChannelsError
        If the image has several channels, and none is chosen.
    AxesError
        If it has colours of neither 3 nor 4 samples.
    InputError
        If the image is empty, or lacks the chosen channel.
    """
    axes, channels = "".join(sizes), sizes.get("C", 1)
    if 0 in sizes.values():
        problem = f"is empty (axes {axes} of {_sizes(tuple(sizes.values()))}): export it again"
    elif sizes.get("S", 3) not in (3, 4):
        raise AxesError(f"{path} has {sizes['S']} samples per pixel, not 3 or 4: name that axis C in --axes")
    elif channel is None and channels > 1:
        raise SeveralChannelsError(
            f"{path} has {channels} channels (axes {axes}): choose one with --channel, from 0, or name "
            "that axis Z in --axes if it is the slices, S if it is red, green and blue",
            channels,
        )
    elif channel is not None and "C" not in sizes:
        problem = f"has no channel axis (axes {axes}): leave out --channel, or name C in --axes"
    elif channel is not None and not 0 <= channel < channels:
        problem = f"has channels 0 to {channels - 1}, not {channel}: choose another --channel"
    else:
        return
    raise InputError(f"{path} {problem}")


def flattened(data: da.Array, letters: str, channel: int) -> da.Array:
    """Give (Z, Y, X) or (Z, Y, X, 3); time points follow each other along Z, alpha is dropped.

    Parameters
    ----------
    data
        With one axis per letter.
    letters
        Axis letters that `check_axes` has accepted.
    channel
        Which entry of axis C, if any, to take.
    """
    data = data[tuple(channel if letter == "C" else slice(None) for letter in letters)]
    left = letters.replace("C", "").replace("N", "Z")
    data = data.transpose([left.index(letter) for letter in "TZYXS" if letter in left])
    data = data.reshape((-1, *data.shape[len(set(left) & set("TZ")) :]))
    return data[..., :3] if data.ndim == 4 else data


def _sizes(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
