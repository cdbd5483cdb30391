"""Single pictures: PNG, JPEG and BMP are read, labels of one slice are written as PNG."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from PIL import Image

from napari_salt.io._axes import given_axes
from napari_salt.io._format import Gathered, Layout, Opened, reading
from napari_salt.terms.errors import InputError

__all__ = ["open_picture", "picture_header", "png_planes", "read_picture"]

_KINDS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP"}
_CONVERTED = ("CMYK", "YCbCr", "LAB", "HSV", "RGBX", "RGBa")
_PNG_COLOURS = {2, 4, 6}
"""Types of PNG with several samples per pixel: RGB, and grey and RGB with alpha."""


def open_picture(path: Path, axes: str | None, *, labels: bool = False) -> Opened:
    """Open a picture of one slice; with `labels`, the numbers of a palette are its values.

    Raises
    ------
    InputError
        If it is damaged, has several frames, or is a JPEG of labels.
    """
    kind = _KINDS.get(path.suffix.lower(), "picture")
    if labels and kind == "JPEG":
        raise InputError(f"{path} is a JPEG, which changes label values: save labels as PNG, TIFF or NIfTI")
    array = read_picture(path, labels=labels)
    letters = "YXS"[: array.ndim]
    return Opened(array, given_axes(axes, letters, array.shape, path) if axes else letters, None, None)


def read_picture(path: Path, *, labels: bool = False) -> npt.NDArray[Any]:
    """The values of a picture: (Y, X), or (Y, X, 3) in colour; an alpha channel is dropped.

    Raises
    ------
    InputError
        If the file cannot be read, or is an animation.
    """
    with _opened(path) as picture:
        with path.open("rb") as file:
            deep = _is_deep_colour(file.read(26))
        if deep:  # Pillow would cut it to 8 bits
            return _without_alpha(imagecodecs.png_decode(path.read_bytes()))
        frames = getattr(picture, "n_frames", 1)
        if frames > 1:
            raise InputError(f"{path} has {frames} frames: save one of them as PNG, or all as TIFF")
        if picture.mode in _CONVERTED or (picture.mode in ("P", "PA") and not labels):
            return np.asarray(picture.convert("RGB"))
        return _without_alpha(np.asarray(picture))


def picture_header(path: Path, *, labels: bool = False) -> str:
    """Size and type of values of a picture, without decoding it; those that are read alike are equal."""
    with _opened(path) as picture:
        mode = picture.mode.removesuffix("A") if picture.mode in ("RGBA", "LA", "PA") else picture.mode
        if mode in _CONVERTED or (mode == "P" and not labels):
            mode = "RGB"
        return f"{picture.height}x{picture.width} {'L' if mode == 'P' else mode}"


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open a picture without decoding it; what is wrong with it, then and later, is an `InputError`."""
    kind = f"a {_KINDS.get(path.suffix.lower(), 'picture')}"
    with reading(path, kind, Image.DecompressionBombError, SyntaxError):
        try:
            with warnings.catch_warnings():  # Pillow warns of pictures of more than 90 million pixels
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                picture = Image.open(path)
            with picture:
                yield picture
        except OSError as error:
            if error.errno is None:  # Pillow's, of damaged files
                raise ValueError(str(error)) from error
            raise


def png_planes(path: Path, layout: Layout) -> Gathered:
    """A PNG of one slice of labels, in 8 or 16 bits."""
    return Gathered(path, layout, _save)


def _save(path: Path, array: npt.NDArray[Any], layout: Layout) -> None:  # noqa: ARG001 (holds no geometry)
    most = int(array.max(initial=0))
    if most > np.iinfo(np.uint16).max:
        raise InputError(f"a PNG holds label values up to 65535, and these reach {most}: write .tif")
    small = np.uint8 if most <= np.iinfo(np.uint8).max and array.dtype != np.uint16 else np.uint16
    Image.fromarray(array.reshape(array.shape[-2:]).astype(small)).save(path, format="PNG")


def _is_deep_colour(header: bytes) -> bool:
    """Whether a PNG has 16 bits and several samples per pixel."""
    return header[1:4] == b"PNG" and len(header) == 26 and header[24] == 16 and header[25] in _PNG_COLOURS


def _without_alpha(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if array.ndim == 2:
        return array
    return array[..., 0] if array.shape[-1] < 3 else array[..., :3]
