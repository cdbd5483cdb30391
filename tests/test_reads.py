"""How often a slice is read on its way to an adapter."""

import threading
from collections import Counter
from dataclasses import replace

import dask.array as da
import numpy as np
import pytest

import headless
import napari_salt as ns
import tiny
from napari_salt.cli import _inputs, _train, main
from napari_salt.core.adapt.adapter import Adapter
from napari_salt.session._autosave import Autosave
from napari_salt.terms.kept_stack import KeptStack, kept
from stacks import save

IMAGE, TRUTH = tiny.discs(6)
PAINT = tiny.painted(TRUTH, 1, 3, 4)
AT_MOST = 2


class Counting:
    """A stack that counts how often each slice is read, and by which threads."""

    def __init__(self, data):
        self.data, self.shape, self.dtype, self.ndim = data, data.shape, data.dtype, data.ndim
        self.reads, self.by = Counter(), Counter()

    def __getitem__(self, key):
        plane = self.data[key]
        index = key[0] if isinstance(key, tuple) else key
        if not isinstance(index, slice):
            self.reads[index] += 1
        self.by[threading.current_thread().name, str(index)] += 1
        return plane


def test_training_by_python(tiny_base):
    image, labels = Counting(IMAGE), Counting(PAINT)
    adapter = ns.train(image, labels, ns.TrainConfig(base="tiny", steps=3, device="cpu"))
    assert set(image.reads) >= {1, 3, 4}
    assert max(image.reads.values()) == max(labels.reads.values()) == 1
    plain = ns.train(IMAGE, PAINT, ns.TrainConfig(base="tiny", steps=3, device="cpu"))
    assert all((adapter.tensors[name] == plain.tensors[name]).all() for name in plain.tensors)


def test_training_by_command_line(tiny_base, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(tmp_path, IMAGE, "image.tif")
    save(tmp_path, PAINT, "paint.tif")
    reads = {"image": Counter(), "labels": Counter()}
    for module, name, what in ((_inputs, "read_stack", "image"), (_train, "read_labels", "labels")):
        real = getattr(module, name)

        def opened(path, real=real, counter=reads[what], **options):
            stack = real(path, **options)

            def note(block, block_info):
                counter[block_info[0]["chunk-location"][0]] += 1
                return block

            return replace(
                stack, data=stack.data.map_blocks(note, dtype=stack.data.dtype, meta=stack.data._meta)
            )

        monkeypatch.setattr(module, name, opened)
    arguments = ["image.tif", "paint.tif", "--out", "a.safetensors", "--base", "tiny", "--steps", "2"]
    assert main(["train", *arguments]) == 0
    assert Adapter.load("a.safetensors").training["painted_slices"] == [1, 3, 4]
    for counter in reads.values():
        assert set(counter) >= {1, 3, 4}
        assert max(counter.values()) <= AT_MOST, reads


def test_training_in_napari(base, folder, engine):
    """The session's own readings of the image, and those for the engine."""
    from napari.components import ViewerModel

    loop = headless.Loop()
    session = headless.session(ViewerModel(), loop, Autosave(folder / "autosave"), engine)
    session.options.base, session.options.device = str(base), "cpu"
    session.set_image(session.viewer.add_image(IMAGE))
    session.set_labels(session.viewer.add_labels(PAINT))
    session.source.stack._data = counting = Counting(IMAGE)
    session.previewing.enable(False)
    session.options.change("train", steps=3)
    session.training.start()
    loop.run(lambda: not session.job)
    session.close()
    assert session.training.history.forest
    assert set(counting.reads) >= {1, 3, 4}
    assert max(counting.reads.values()) <= AT_MOST, counting.by


def test_what_is_kept_is_what_is_read():
    counting = Counting(IMAGE)
    stack = KeptStack(counting, size=2 * IMAGE[0].nbytes)
    for index in (0, 1, 0, np.int64(1), 2, 0):
        np.testing.assert_array_equal(stack[index], IMAGE[index])
    assert counting.reads == {0: 2, 1: 1, 2: 1}  # the third took the place of the first
    np.testing.assert_array_equal(stack[1:3], IMAGE[1:3])
    assert (stack.shape, stack.dtype, len(stack)) == (IMAGE.shape, IMAGE.dtype, 6)
    small = KeptStack(counting, size=10)
    np.testing.assert_array_equal(small[3], small[3])
    assert counting.reads[3] == 2


def test_what_is_in_memory_or_kept_is_not_kept_again():
    assert kept(IMAGE) is IMAGE
    stack = kept(da.from_array(IMAGE))
    assert kept(stack) is stack
    assert isinstance(stack[0], np.ndarray)


@pytest.mark.parametrize("index", [6, -7])
def test_there_is_no_slice_beyond(index):
    with pytest.raises(IndexError):
        KeptStack(IMAGE)[index]
