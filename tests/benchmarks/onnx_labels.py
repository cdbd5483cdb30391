"""Labels of the exported ONNX: python tests/benchmarks/onnx_labels.py [--steps 30] [--keep FOLDER].

Trains on two sets, exports, runs the script of docs/export.md on the scored slices, and compares with
``segment --views 1``, in the precision of this machine and in float32: the share of pixels with the same
label, into results/onnx_labels.json. Exit code 1 if fewer pixels agree in float32 than should.
"""

import argparse
import json
import os
import re
import sys
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import tifffile
import torch
from sets import own_part
from trained import STEPS, trained

import napari_salt as ns
from napari_salt.core.adapt.export import export_onnx
from napari_salt.core.devices import compute_dtype

HERE = Path(__file__).parent
RESULTS, PAGE = HERE / "results" / "onnx_labels.json", HERE.parents[1] / "docs" / "export.md"
CHOSEN = ("vnc_sstem_half", "msd_hippocampus")
ENOUGH = 0.999


def script():
    """The page's script, with a name in place of the slice's number."""
    (code,) = re.findall(r"```python\n(import json\n.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    stack, wanted = 'tifffile.imread("stack.tif"), 8', 'tifffile.imread("stack.tif"), wanted'
    assert stack in code
    return compile(code.replace(stack, wanted), str(PAGE), "exec")


def compared(name, folder, steps):
    """How labels of one set agree; in the corner of its slices that is one tile, as the page says."""
    adapter, part = trained(name, folder, steps), own_part(name)
    side = int(256 / adapter.preprocess.pixel_scale)
    image = np.ascontiguousarray(part.image[:, :side, :side])
    slices = list(part.slices)
    tifffile.imwrite("stack.tif", image)
    export_onnx(adapter, Path("mito.onnx"))
    code, found = script(), []
    for index in slices:
        names = {"wanted": index}
        exec(code, names)
        found.append(names["labels"])
    config = ns.SegmentConfig(slices=part.slices, views=1, device="cpu")
    own = ns.segment(image, adapter, config)[slices]
    with mock.patch("napari_salt.core.devices.compute_dtype", return_value=torch.float32):
        single = ns.segment(image, adapter, config)[slices]

    return {
        "steps": adapter.training["steps"],
        "shape": list(image.shape),
        "slices": slices,
        "pixel_scale": adapter.preprocess.pixel_scale,
        "precision": str(compute_dtype(torch.device("cpu"))),
        "same": round(float((np.stack(found) == own).mean()), 6),
        "same_in_float32": round(float((np.stack(found) == single).mean()), 6),
        "share_of_classes": round(float((own > 0).mean()), 4),
    }


def main():
    """Train, export, compare."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--keep", type=Path, help="folder of adapters, to use them again")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        keep = (options.keep or Path(folder)).absolute()
        os.chdir(folder)
        found = {name: compared(name, keep, options.steps) for name in CHOSEN}
        os.chdir(HERE)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    sys.stdout.write(json.dumps(found, indent=1) + "\n")
    return 0 if min(one["same_in_float32"] for one in found.values()) >= ENOUGH else 1


if __name__ == "__main__":
    sys.exit(main())
