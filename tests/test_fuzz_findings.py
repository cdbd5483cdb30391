"""Faults that ``tests/fuzz`` has found, each as the smallest file that shows it."""

import contextlib
import json
import re
import struct
import subprocess
import sys
import time

import numpy as np
import pytest
import tifffile
import zarr
from numcodecs import Blosc

import tiny
from napari_salt.core.adapt.adapter import Adapter
from napari_salt.io import read_stack
from napari_salt.session._autosave import Autosave
from napari_salt.session._flat_stack import PaintSnapshot
from napari_salt.terms.errors import AdapterError, InputError
from stacks import noise, save

SHAPE = (4, 24, 20)


def test_what_a_reader_says_of_a_long_text_is_shortened(tmp_path):
    """safetensors repeats all of a text where it expects a number."""
    content = tiny.adapter().to_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    header["class_tokens"] = "A" * 300_000
    text = json.dumps(header).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])
    with pytest.raises(AdapterError, match="not a readable adapter file") as refused:
        Adapter.load(path)
    assert len(str(refused.value)) < 600


def blosc_zarr(path):
    """A Zarr of version 2 with chunks by Blosc."""
    array = zarr.create_array(
        path, shape=SHAPE, chunks=(4, 16, 16), dtype="uint16", zarr_format=2, compressors=Blosc("lz4")
    )
    array[:] = noise(SHAPE)
    return path, path / "0.1.0"


HEADER_CHANGES = {
    "two bytes more": lambda chunk: chunk[:4] + b"\x21\x02" + chunk[4:],
    "larger than the file": lambda chunk: chunk[:12] + struct.pack("<I", 2**30) + chunk[16:],
    "more values": lambda chunk: chunk[:4] + struct.pack("<I", 2**30) + chunk[8:],
    "larger blocks": lambda chunk: chunk[:8] + struct.pack("<I", 2**30) + chunk[12:],
    "cut short": lambda chunk: chunk[: len(chunk) // 2],
    "without a header": lambda chunk: chunk[:9],
}


def test_a_chunk_of_blosc_is_read(tmp_path):
    path, _ = blosc_zarr(tmp_path / "a.zarr")
    assert np.array_equal(read_stack(path, axes="ZYX").data.compute(), noise(SHAPE))


def test_damaged_chunks_of_blosc_do_not_end_the_process(tmp_path):
    """Its decoder crashes where it believes the header."""
    paths = []
    for number, change in enumerate(HEADER_CHANGES.values()):
        path, chunk = blosc_zarr(tmp_path / f"{number}.zarr")
        chunk.write_bytes(change(chunk.read_bytes()))
        paths.append(str(path))
    code = (
        "import sys; from napari_salt.io import read_stack; from napari_salt.terms.errors import InputError\n"
        "for path in sys.argv[1:]:\n"
        "    try: read_stack(path, axes='ZYX').data[1].compute(); print('read')\n"
        "    except InputError as error: print(error)"
    )
    command = [sys.executable, "-c", code, *paths]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert len(said) == len(paths)
    assert all("the slice Z=1 cannot be read (chunk 0.1.0 of " in line for line in said)


def ome_of(path):
    with tifffile.TiffFile(path) as file:
        return file.ome_metadata


@pytest.mark.parametrize("name", ["../elsewhere.ome.tif", "/tmp/x.tif", "\\\\host\\share\\x.tif", "C:x.tif"])
def test_an_ome_tiff_names_no_files_elsewhere(tmp_path, name):
    """A stack in several files names the others; tifffile would open whatever is named."""
    inner = tmp_path / "inner"
    inner.mkdir()
    path = save(inner, noise(SHAPE), "a.ome.tif", ome=True, metadata={"axes": "ZYX"})
    save(tmp_path, noise(SHAPE), "elsewhere.ome.tif", ome=True, metadata={"axes": "ZYX"})
    text = ome_of(path)
    unit = f'<UUID FileName="{name}">urn:uuid:00000000-0000-0000-0000-000000000001</UUID></TiffData>'
    head, _, tail = text.partition("<TiffData")
    inside, _, rest = tail.partition("/>")
    tifffile.tiffcomment(path, (f"{head}<TiffData{inside}>{unit}{rest}").encode())
    with pytest.raises(InputError, match="paths in files are not followed"):
        read_stack(path)


def test_ome_metadata_that_are_no_xml_are_no_crash(tmp_path):
    path = save(tmp_path, noise(SHAPE), "a.ome.tif", ome=True, metadata={"axes": "ZYX"})
    text = ome_of(path)
    tifffile.tiffcomment(path, text.replace("<Pixels", "<Pix<els").encode())
    assert read_stack(path).data.shape == SHAPE


def test_entities_in_ome_metadata_do_not_grow(tmp_path):
    path = save(tmp_path, noise(SHAPE), "a.ome.tif", ome=True, metadata={"axes": "ZYX"})
    grow = "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 20}">' for n in range(9))
    text = re.sub(
        "<OME ", f'<!DOCTYPE x [<!ENTITY e0 "lol">{grow}]><OME Creator="&e9;" ', ome_of(path), count=1
    )
    tifffile.tiffcomment(path, text.encode())
    began = time.process_time()
    with contextlib.suppress(InputError):
        read_stack(path)
    assert time.process_time() - began < 5


def paint_file(path, shape, plane):
    np.savez(path, about=json.dumps({"shape": shape}), **{"1": np.array(plane)})


NOT_PAINT = {
    "not a zip": lambda path: path.write_bytes(b"PK\3\4 and no more"),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:200]),
    "another shape": lambda path: paint_file(path, [4, 5, 5], [[1, 1]]),
    "a slice beyond": lambda path: paint_file(path, [1, 1, 2], [[1, 1]]),
    "a number as shape": lambda path: paint_file(path, 3, [[1, 1]]),
    "objects": lambda path: paint_file(path, [4, 1, 1], [[{}]]),
}


@pytest.mark.parametrize("damage", NOT_PAINT.values(), ids=NOT_PAINT)
def test_damaged_autosaved_paint_is_refused(tmp_path, damage):
    autosave = Autosave(tmp_path / "autosave")
    path = autosave.paint(PaintSnapshot((4, 5, 5), {1: np.ones((5, 5), np.uint8)}), "image")
    assert autosave.load_paint(path).planes[1].all()
    damage(path)
    with pytest.raises(InputError, match="is no autosaved paint"):
        autosave.load_paint(path)
