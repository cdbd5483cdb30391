"""Mutated stacks: python tests/fuzz/images.py [--count 5000] [--seed 0]

TIFF (plain, ImageJ, OME, compressed), NIfTI (plain, compressed) and OME-Zarr (both versions), in turn.
"""

import gzip
import json
import logging
import random
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from mutate import damaged, damaged_value
from watch import Watch, arguments

import stacks
from napari_salt.io import read_labels, read_stack

SHAPE = (4, 24, 20)


def good(folder: Path) -> list[Path]:
    """Files to begin with."""
    image = stacks.noise(SHAPE)
    plain = stacks.ome_zarr(folder / "v3.zarr", image, stacks.multiscales("zyx"))
    old = stacks.ome_zarr(folder / "v2.zarr", image, stacks.multiscales("zyx"), version=2)
    return [
        stacks.save(folder, image, "plain.tif"),
        stacks.save(folder, image, "imagej.tif", **stacks.imagej()),
        stacks.save(folder, image, "ome.ome.tif", ome=True, metadata={"axes": "ZYX"}),
        stacks.save(folder, image, "packed.tif", compression="zlib", tile=(16, 16)),
        stacks.nifti(folder / "a.nii", image),
        stacks.nifti(folder / "b.nii.gz", image.astype("float32"), scaling=(0.5, 1)),
        plain,
        old,
    ]


def make(files: list[Path], chance: random.Random, folder: Path) -> Path:
    """A damaged copy of one of the files."""
    source = chance.choice(files)
    target = folder / source.name
    if source.is_dir():
        shutil.copytree(source, target)
        inner = chance.choice(sorted(path for path in target.rglob("*") if path.is_file()))
        inner.write_bytes(_damaged_part(inner, chance))
    elif source.suffix == ".gz" and chance.random() < 0.8:
        target.write_bytes(gzip.compress(damaged(gzip.decompress(source.read_bytes()), chance), mtime=0))
    else:
        target.write_bytes(damaged(source.read_bytes(), chance))
    return target


def _damaged_part(path: Path, chance: random.Random) -> bytes:
    content = path.read_bytes()
    if (path.suffix == ".json" or path.name.startswith(".z")) and chance.random() < 0.8:
        return json.dumps(damaged_value(json.loads(content), chance)).encode()
    return damaged(content, chance)


def use(path: Path) -> None:
    """Open it and read two slices, as an image and as labels."""
    for read in (read_stack, read_labels):
        stack = read(path)
        for index in {0, len(stack.data) - 1}:
            stack.data[index].compute(scheduler="synchronous")


def main() -> int:
    """Run it; exit code 1 if there was a fault."""
    options = arguments(__doc__.partition("\n")[0], 5000).parse_args()
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        files = good(Path(folder))
        for path in files:
            read_stack(path).data.compute(scheduler="synchronous")
        watch = Watch(options)
        watch.run("stack", lambda chance, place: make(files, chance, place), use)
    return watch.end()


if __name__ == "__main__":
    sys.exit(main())
