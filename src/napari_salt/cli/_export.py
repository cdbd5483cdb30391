"""The command ``export``: adapted models for other programs."""

from __future__ import annotations

import argparse
from typing import Any

from napari_salt.cli._inputs import load, prepare_base
from napari_salt.cli._terminal import tell
from napari_salt.io._write import check_folder

__all__ = ["export"]


def export(options: argparse.Namespace) -> tuple[dict[str, Any], bool]:
    """``napari-salt export``."""
    check_folder(options.out)
    adapter = load(options.adapter)
    prepare_base(adapter, options.base)
    from napari_salt.core.adapt.export import export_onnx, export_sam

    write = {"segment-anything": export_sam, "onnx": export_onnx}[options.to]
    path = write(adapter, options.out)
    size = path.stat().st_size
    tell(f"the adapted model is in {path} ({size / 1e6:.0f} MB)")
    return {"path": str(path), "bytes": size, "to": options.to}, False
