"""The command ``export``: adapted models for other programs."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from napari_salt.cli._inputs import load, prepare_base
from napari_salt.cli._terminal import tell
from napari_salt.io import read_stack
from napari_salt.io._write import check_folder

if TYPE_CHECKING:
    from pathlib import Path

    from napari_salt.core.adapt.adapter import Adapter

__all__ = ["export"]


def export(options: argparse.Namespace) -> tuple[dict[str, Any], bool]:
    """``napari-salt export``."""
    check_folder(options.out)
    adapter = load(options.adapter)
    prepare_base(adapter, options.base)
    from napari_salt.core.adapt.export import export_onnx, export_sam

    if options.to == "bioimageio":
        path = _package(adapter, options)
    else:
        path = {"segment-anything": export_sam, "onnx": export_onnx}[options.to](adapter, options.out)
    size = path.stat().st_size
    tell(f"the adapted model is in {path} ({size / 1e6:.0f} MB)")
    return {"path": str(path), "bytes": size, "to": options.to}, False


def _package(adapter: Adapter, options: argparse.Namespace) -> Path:
    """Write a package of bioimage.io with the middle slice of an image, by default of a bundled one."""
    from napari_salt.core.adapt.bioimage import export_bioimageio
    from napari_salt.samples import cells3d_image

    stack = read_stack(options.image or cells3d_image()).data
    plane = stack[len(stack) // 2].compute()
    if options.image is None and adapter.preprocess.channels == 3:
        plane = plane[..., None].repeat(3, -1)
    return export_bioimageio(adapter, options.out, plane)
