"""An adapted model as a package of bioimage.io: ONNX, test tensors, a cover, and what it is."""

from __future__ import annotations

import gc
import io
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageColor
from torch import Tensor, nn

from napari_salt.core.adapt.adapter import Adapter
from napari_salt.core.adapt.export import OPSET, check_ending, traced, written
from napari_salt.core.adapt.segmenter import Segmenter
from napari_salt.core.bases.load import BaseModel
from napari_salt.terms.errors import InputError
from napari_salt.terms.publishing import check_publishable
from napari_salt.terms.readme import body_of
from napari_salt.terms.text import reason

__all__ = ["export_bioimageio"]

EPS = 1e-6
MIN_NAME, MAX_NAME, MAX_DESCRIPTION = 5, 128, 1024
PAPERS = {
    "SALT: https://arxiv.org/abs/2503.16055": "https://doi.org/10.48550/arXiv.2503.16055",
    "Segment Anything: https://arxiv.org/abs/2304.02643": "https://doi.org/10.48550/arXiv.2304.02643",
}
INPUT = "A tile of a slice, its pixels as large as the model saw them in training."
OUTPUT = "Probabilities: background, then the classes in the order of their names."
VALIDATION = """
## Input and output

A tile of {side} x {side} pixels, {channels}; a slice is to be scaled by {scale:.4g} first. Intensities become
0 to 1 in each tile by {window}. napari-salt itself takes one window for the whole stack, cuts
tiles that overlap, and averages views, so its results differ a little. The output has one channel for the
background and one for each class; they add up to 1.

## Validation

Held-out Dice stands in the table above. Compare with a few slices that you have segmented yourself before you
count on it.
"""


class _Probabilities(nn.Module):
    """Images of 1 or 3 channels to probabilities, background first."""

    def __init__(self, segmenter: Segmenter) -> None:
        super().__init__()
        self.segmenter = segmenter

    def forward(self, images: Tensor) -> Tensor:
        """(B, 1 or 3, S, S) from 0 to 1 to (B, K + 1, S, S)."""
        logits = self.segmenter(images.expand(-1, 3, -1, -1))
        return torch.cat([torch.zeros_like(logits[:, :1]), logits], 1).softmax(1)


def export_bioimageio(
    adapter: Adapter, path: Path, image: NDArray[Any], base: BaseModel | None = None
) -> Path:
    """Write the adapted model as a package of bioimage.io (format 0.5).

    Parameters
    ----------
    adapter
        Of any method and base; it must say its author and licence.
    path
        The file, which ends in ``.zip``.
    image
        A slice for the test tensors and the cover, shape (Y, X) or (Y, X, 3) as the adapter's images are; its
        middle is taken. It becomes part of the package.
    base
        Its base, if it is loaded already; it is changed.

    Raises
    ------
    InputError
        If the path ends in something else, packages are missing, author or licence are, the image does not
        fit, or the file cannot be written.
    AdapterError
        If the adapter does not fit the base, or the base has operators that ONNX lacks.
    """
    check_ending(path, ".zip")
    try:
        import bioimageio.spec  # noqa: F401
        import onnx  # noqa: F401
    except ImportError as error:
        raise InputError(
            "bioimage.io needs the packages bioimageio.core and onnx; run pip install "
            '"napari-salt[bioimageio]"'
        ) from error
    check_publishable(adapter)
    segmenter = adapter.build(base=base).merged()
    raw = _tile(image, segmenter.input_size, adapter.preprocess.channels)
    model = _Probabilities(segmenter).eval()
    with torch.no_grad():
        found = model(torch.from_numpy(_scaled(raw, adapter))).numpy()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "model.onnx").write_bytes(traced(model, torch.zeros(2, *raw.shape[1:]), "probabilities"))
        np.save(place / "input.npy", raw)
        np.save(place / "output.npy", found)
        (place / "cover.png").write_bytes(_cover(raw, found, adapter))
        (place / "README.md").write_text(_page(adapter, segmenter.input_size), encoding="utf-8")
        with _closing():
            content = _packed(adapter, place, raw.shape)
    return written(path, content)


def _tile(image: NDArray[Any], side: int, channels: int) -> NDArray[np.float32]:
    """The middle of a slice, (1, C, S, S); a smaller one is continued by mirror images."""
    if image.ndim != (3 if channels == 3 else 2) or (channels == 3 and image.shape[-1] != 3):
        kind = "colour, (Y, X, 3)" if channels == 3 else "grey, (Y, X)"
        raise InputError(f"the image has shape {image.shape}; give a slice of {kind}, as the adapter's are")
    plane = np.nan_to_num(image.astype(np.float32))
    missing = [(0, max(0, side - length)) for length in plane.shape[:2]]
    plane = np.pad(plane, missing + [(0, 0)] * (plane.ndim - 2), mode="symmetric")
    top, left = ((length - side) // 2 for length in plane.shape[:2])
    tile = plane[top : top + side, left : left + side].reshape(side, side, channels)
    return np.ascontiguousarray(np.moveaxis(tile, -1, 0)[None])


def _scaled(raw: NDArray[np.float32], adapter: Adapter) -> NDArray[np.float32]:
    """The tile from 0 to 1, as the package's preprocessing makes it."""
    rule = adapter.preprocess
    if rule.window is not None:
        low, high = map(np.float64, rule.window)
        scaled = (raw - low) / (high - low)
    else:
        low, high = np.percentile(raw, rule.percentiles)
        scaled = (raw - low) / (high - low + EPS)
    return np.clip(scaled, 0, 1).astype(np.float32)


def _cover(raw: NDArray[np.float32], found: NDArray[np.float32], adapter: Adapter) -> bytes:
    """The tile, and beside it what was found; a PNG file twice as wide as high."""
    grey = np.broadcast_to(np.moveaxis(_scaled(raw, adapter)[0], 0, -1), (*raw.shape[2:], 3))
    colors = np.array([(0, 0, 0), *(ImageColor.getrgb(info.color) for info in adapter.classes)]) / 255
    labels = found[0].argmax(0)
    beside = np.where(labels[..., None] > 0, 0.5 * grey + 0.5 * colors[labels], grey)
    picture = Image.fromarray(np.round(255 * np.concatenate([grey, beside], 1)).astype(np.uint8))
    picture.thumbnail((512, 256))
    content = io.BytesIO()
    picture.save(content, "PNG", optimize=True)
    return content.getvalue()


def _page(adapter: Adapter, side: int) -> str:
    rule = adapter.preprocess
    if rule.window is not None:
        window = f"the window from {rule.window[0]:g} to {rule.window[1]:g}"
    else:
        window = f"its {rule.percentiles[0]:g} and {rule.percentiles[1]:g} % percentiles"
    channels = "3 colours" if rule.channels == 3 else "grey"
    about = VALIDATION.format(side=side, channels=channels, scale=rule.pixel_scale, window=window)
    return body_of(adapter, "ADAPTER", "ADAPTER.salt.safetensors") + about


def _packed(adapter: Adapter, folder: Path, shape: Sequence[int]) -> bytes:
    """The package of the files in `folder`."""
    from bioimageio.spec import save_bioimageio_package

    try:
        described = _described(adapter, folder, shape)
    except ValueError as error:
        told = reason(error)  # the error itself would keep files open
    else:
        return Path(save_bioimageio_package(described, output_path=folder / "package.zip")).read_bytes()
    raise InputError(
        f"bioimage.io does not take it: {told}; give its texts with napari-salt adapters add --license (an "
        "SPDX name, such as CC-BY-4.0), --author, --name"
    )


def _described(adapter: Adapter, folder: Path, shape: Sequence[int]) -> Any:
    """The package's description; ValueError for what the format does not take."""
    from bioimageio.spec.model import v0_5

    spec: Any = v0_5  # it checks and converts what it is given

    def file(name: str) -> Any:
        return spec.FileDescr(source=folder / name)

    known = [info.name for info in adapter.classes]
    title = adapter.name if len(adapter.name) >= MIN_NAME else f"napari-salt: {adapter.name or known[0]}"
    return spec.ModelDescr(
        name=_permitted(title)[:MAX_NAME],
        description=(adapter.description or f"Segments {', '.join(known)}")[:MAX_DESCRIPTION],
        authors=[spec.Author(name=adapter.author.replace("/", ",").replace("\\", ","))],
        license=adapter.license,
        cite=[spec.CiteEntry(text=text, url=url) for text, url in PAPERS.items()],
        documentation=file("README.md"),
        covers=[file("cover.png")],
        tags=["napari-salt", "segmentation", "segment-anything", "pytorch", "2d"],
        inputs=[_input(spec, adapter, file("input.npy"), shape)],
        outputs=[_output(spec, adapter, file("output.npy"))],
        weights=spec.WeightsDescr(
            onnx=spec.OnnxWeightsDescr(source=folder / "model.onnx", opset_version=OPSET)
        ),
    )


def _input(spec: Any, adapter: Adapter, test: Any, shape: Sequence[int]) -> Any:
    rule, channels = adapter.preprocess, ["red", "green", "blue"] if shape[1] == 3 else ["intensity"]
    if rule.window is not None:
        low, high = rule.window
        kwargs = spec.ScaleLinearKwargs(gain=1 / (high - low), offset=-low / (high - low))
        scaling = spec.ScaleLinearDescr(kwargs=kwargs)
    else:
        low, high = rule.percentiles
        kwargs = spec.ScaleRangeKwargs(
            axes=("channel", "y", "x"), min_percentile=low, max_percentile=high, eps=EPS
        )
        scaling = spec.ScaleRangeDescr(kwargs=kwargs)
    unit = _unit(adapter)
    return spec.InputTensorDescr(
        id="images",
        description=INPUT,
        axes=[
            spec.BatchAxis(),
            spec.ChannelAxis(channel_names=channels),
            *(spec.SpaceInputAxis(id=axis, size=shape[-1], **unit) for axis in "yx"),
        ],
        test_tensor=test,
        data=spec.IntervalOrRatioDataDescr(type="float32"),
        preprocessing=[scaling, spec.ClipDescr(kwargs=spec.ClipKwargs(min=0.0, max=1.0))],
    )


def _output(spec: Any, adapter: Adapter, test: Any) -> Any:
    known, unit = [info.name for info in adapter.classes], _unit(adapter)

    def same(axis: str) -> Any:
        return spec.SizeReference(tensor_id="images", axis_id=axis)

    return spec.OutputTensorDescr(
        id="probabilities",
        description=OUTPUT,
        axes=[
            spec.BatchAxis(),
            spec.ChannelAxis(channel_names=["background", *(_identifier(n, i) for i, n in enumerate(known))]),
            *(spec.SpaceOutputAxis(id=axis, size=same(axis), **unit) for axis in "yx"),
        ],
        test_tensor=test,
        data=spec.IntervalOrRatioDataDescr(type="float32", range=(0.0, 1.0)),
    )


def _unit(adapter: Adapter) -> dict[str, Any]:
    """Size of the model's pixels, if it is known."""
    rule = adapter.preprocess
    if rule.pixel_size is None:
        return {}
    return {"unit": "micrometer", "scale": rule.pixel_size / rule.pixel_scale}


def _identifier(name: str, number: int) -> str:
    """A class name as the format wants names of channels: letters, digits and underscores."""
    made = "".join(c if c.isascii() and c.isalnum() else "_" for c in name.lower()).strip("_")
    return made if made and made[0].isalpha() else f"class_{number + 1}"


def _permitted(title: str) -> str:
    """Only letters, numbers, and the few signs that the format allows in a name."""
    return "".join(c if c.isalnum() or c in "_+- ()" else " " for c in title).strip()


@contextmanager
def _closing() -> Iterator[None]:
    """Close what bioimageio.spec leaves open: Windows deletes no file that is open."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            yield
        finally:
            gc.collect()
