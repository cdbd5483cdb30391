"""Labels of the exported ONNX: python tests/benchmarks/onnx_labels.py [--steps 30]

Trains on the bundled nuclei, exports, runs the script of docs/export.md on every slice, and compares with
``segment --views 1``: the share of pixels with the same label, into results/onnx_labels.json.
"""

import argparse
import json
import os
import re
import sys
import tempfile
from pathlib import Path

import numpy as np
import tifffile

import napari_salt as ns
from napari_salt.core.adapt.export import export_onnx
from napari_salt.samples import cells3d_image, cells3d_painted

HERE = Path(__file__).parent
RESULTS, PAGE = HERE / "results" / "onnx_labels.json", HERE.parents[1] / "docs" / "export.md"
ENOUGH = 0.999


def script():
    """The script of the page, with a name in place of the slice's number."""
    (code,) = re.findall(r"```python\n(import json\n.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    stack, index = 'tifffile.imread("stack.tif"), 8', 'tifffile.imread("stack.tif"), wanted'
    assert stack in code
    return compile(code.replace(stack, index), str(PAGE), "exec")


def main():
    """Run it; exit code 1 if fewer pixels agree than should."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=30)
    options = parser.parse_args()
    image, painted = tifffile.imread(cells3d_image()), tifffile.imread(cells3d_painted())
    adapter = ns.train(image, painted, ns.TrainConfig(steps=options.steps, seed=0, device="cpu"))
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        side = int(256 / adapter.preprocess.pixel_scale)
        image = np.ascontiguousarray(image[:, :side, :side])  # one tile
        tifffile.imwrite("stack.tif", image)
        export_onnx(adapter, Path("mito.onnx"))
        ours = ns.segment(image, adapter, ns.SegmentConfig(views=1, device="cpu"))
        code, shares = script(), []
        for index in range(len(image)):
            names = {"wanted": index}
            exec(code, names)
            shares.append(float((names["labels"] == ours[index]).mean()))
        os.chdir(HERE)
    found = {
        "steps": options.steps,
        "pixel_scale": adapter.preprocess.pixel_scale,
        "shape": list(image.shape),
        "found": float((ours > 0).mean()),
        "held_out_dice": dict(adapter.held_out_dice),
        "same": float(np.mean(shares)),
        "worst_slice": min(shares),
    }
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    sys.stdout.write(f"{found}\n")
    return 0 if found["same"] >= ENOUGH else 1


if __name__ == "__main__":
    sys.exit(main())
