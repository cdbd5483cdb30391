"""Mutated adapters: python tests/fuzz/adapters.py [--count 100000] [--metadata 10000] [--seed 0]

Half of the files have changed bytes, the others a changed header; then come files with changed metadata.
"""

import logging
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from mutate import damaged, damaged_header, damaged_metadata
from watch import Watch, arguments

import tiny
from napari_salt.core.adapt.adapter import Adapter
from napari_salt.terms.card import AdapterCard, described

DATA = Path(__file__).parents[1] / "data"
BUILT = 0.02
"""Share of the readable files that are put on the base."""
CHANCE = random.Random(0)


def good() -> list[bytes]:
    """Files to begin with: of each method, and of an earlier version."""
    files = [tiny.adapter(method=name).to_bytes() for name in ("salt", "lora", "s-sam", "decoder")]
    return [*files, (DATA / "adapter_0_1_0.salt.safetensors").read_bytes()]


def use(path: Path) -> None:
    """Read it in all ways, and check that what is shown of it is plain text."""
    content = path.read_bytes()
    card = AdapterCard.read(path)
    adapter = Adapter.load(path)
    Adapter.from_bytes(content)
    texts = (repr(adapter), card.name, card.author, card.license, card.base_model)
    assert all(text.isprintable() for text in (*texts, *(info.name for info in card.classes)))
    assert AdapterCard.from_bytes(described(adapter.to_bytes(), name="x")).classes == card.classes
    if CHANCE.random() < BUILT:
        adapter.build(base=tiny.base())


def main() -> int:
    """Run it; exit code 1 if there was a fault."""
    parser = arguments(__doc__.partition("\n")[0], 100_000)
    parser.add_argument("--metadata", type=int, default=10_000, help="files with changed metadata")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)  # for many small matrices
    files = good()
    for content in files:
        adapter = Adapter.from_bytes(content)
        adapter.build(base=tiny.base()) if adapter.base_sha256 == tiny.base().sha256 else None

    def make(chance: random.Random, folder: Path) -> Path:
        path = folder / "odd.salt.safetensors"
        content = chance.choice(files)
        path.write_bytes((damaged if chance.random() < 0.5 else damaged_header)(content, chance))
        return path

    def make_metadata(chance: random.Random, folder: Path) -> Path:
        path = folder / "odd.salt.safetensors"
        path.write_bytes(damaged_metadata(chance.choice(files), chance))
        return path

    watch = Watch(options)
    watch.run("adapter", make, use)
    options.count = options.metadata
    watch.run("metadata", make_metadata, use)
    return watch.end()


if __name__ == "__main__":
    sys.exit(main())
