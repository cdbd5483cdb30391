"""Stacks against tifffile: what comes back, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from tifffile.zarr import ZarrTiffStore

from napari_salt.io import read_labels, read_stack
from napari_salt.terms.errors import InputError
from stacks import SHAPE, imagej, noise, save

DATA = Path(__file__).parents[2] / "shared" / "data"


def refused(path, *words, read=read_stack, **options) -> None:
    """Reading must fail by one line that has all the words, and the file's name."""
    with pytest.raises(InputError) as caught:
        read(path, **options).data.compute()
    message = str(caught.value)
    assert "\n" not in message
    for word in (*words, Path(path).name):
        assert word in message


# What comes back


@pytest.mark.parametrize(
    "dtype", ["bool", "u1", "i1", ">u2", "i2", "u4", "i4", "u8", "i8", "f2", ">f4", "f8"]
)
def test_types(tmp_path, dtype):
    array = noise(dtype=dtype)
    stack = read_stack(save(tmp_path, array, byteorder=">" if ">" in dtype else None))
    assert stack.data.dtype == array.dtype.newbyteorder("=")
    assert (stack.rgb, stack.axes, stack.was_2d, stack.spacing) == (False, "ZYX", False, None)
    np.testing.assert_array_equal(stack.data.compute(), array)


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "zlib", "rowsperstrip": 7},
        {"compression": "lzw", "predictor": True},
        {"compression": "zstd", "tile": (16, 16)},
        {"bigtiff": True},
        {"metadata": None},
        {"imagej": True, "metadata": {"axes": "ZYX"}},
        {"ome": True, "metadata": {"axes": "ZYX"}},
    ],
)
def test_layouts(tmp_path, options):
    array = noise()
    stack = read_stack(save(tmp_path, array, **options))
    assert (stack.axes, stack.data.chunks[0]) == ("ZYX", (1,) * 5)
    for z in (3, 0):
        np.testing.assert_array_equal(np.asarray(stack.data[z]), array[z])


@pytest.mark.parametrize(
    ("shape", "axes", "expected", "rgb"),
    [
        ((23, 31), "YX", (1, 23, 31), False),
        ((23, 31, 3), "YXS", (1, 23, 31, 3), True),
        ((5, 23, 31, 3), "ZYXS", (5, 23, 31, 3), True),
        ((5, 23, 31, 4), "ZYXS", (5, 23, 31, 3), True),
    ],
)
def test_plain_files_of_one_meaning(tmp_path, shape, axes, expected, rgb):
    array = noise(shape, "uint8")
    stack = read_stack(save(tmp_path, array, photometric="rgb" if rgb else "minisblack"))
    assert (stack.axes, stack.data.shape, stack.rgb) == (axes, expected, rgb)
    assert stack.was_2d == ("Z" not in axes)
    colours = array[..., :3] if rgb else array
    np.testing.assert_array_equal(stack.data.compute(), colours.reshape(expected))


@pytest.mark.parametrize(
    ("shape", "axes", "channel", "take"),
    [
        (SHAPE, "nyx", None, lambda a: a),
        ((2, *SHAPE), "CZYX", 1, lambda a: a[1]),
        ((5, 2, 23, 31), "ZCYX", 0, lambda a: a[:, 0]),
        ((23, 31, 5), "YXZ", None, lambda a: np.moveaxis(a, 2, 0)),
        ((23, 31, 3), "YXC", 2, lambda a: a[None, ..., 2]),
        ((5, 3, 23, 31), "ZSYX", None, lambda a: np.moveaxis(a, 1, 3)),
        ((1, 2, *SHAPE), "TCZYX", 1, lambda a: a[0, 1]),
        ((2, 23, 31), "CYX", 1, lambda a: a[1:]),
        ((1, *SHAPE), "CZYX", None, lambda a: a[0]),
        (SHAPE, "TYX", None, lambda a: a),
        ((2, *SHAPE), "TZYX", None, lambda a: a.reshape(10, 23, 31)),
        ((5, 2, 23, 31), "ZTYX", None, lambda a: a.swapaxes(0, 1).reshape(10, 23, 31)),
        ((2, 3, *SHAPE), "TCZYX", 2, lambda a: a[:, 2].reshape(10, 23, 31)),
    ],
)
def test_axes_given(tmp_path, shape, axes, channel, take):
    array = noise(shape)
    stack = read_stack(save(tmp_path, array), axes=axes, channel=channel)
    assert (stack.axes, stack.rgb) == (axes.upper(), "S" in axes)
    assert stack.frames == (shape[axes.index("T")] if "T" in axes else 1)
    assert set(stack.data.chunks[0]) == {1}
    np.testing.assert_array_equal(stack.data.compute(), take(array))


def test_axes_of_the_file(tmp_path):
    array = noise((5, 2, 23, 31))
    path = save(tmp_path, array, imagej=True, metadata={"axes": "ZCYX"})
    np.testing.assert_array_equal(read_stack(path, channel=1).data.compute(), array[:, 1])
    path = save(tmp_path, array[:1], ome=True, metadata={"axes": "TZYX"})
    np.testing.assert_array_equal(read_stack(path).data.compute(), array[0])


def test_only_the_page_asked_for_is_read(tmp_path, monkeypatch):
    path = save(tmp_path, noise((50, 23, 31)), compression="zlib")
    stack = read_stack(path)
    fetched = []
    get = ZarrTiffStore.get

    async def recorded(store, key, *rest, **options):
        fetched.append(key)
        return await get(store, key, *rest, **options)

    monkeypatch.setattr(ZarrTiffStore, "get", recorded)
    np.asarray(stack.data[17])
    assert fetched == ["17.0.0"]


@pytest.mark.parametrize("name", ["drive", "stardist_nuclei3d", "axon_sem"])
def test_real_files(name):
    path = DATA / name / "image.tif"
    if not path.exists():
        pytest.skip("the shared data folder is not here")
    stack = read_stack(path)
    assert stack.rgb == (name == "drive")
    with tifffile.TiffFile(path) as tif:
        np.testing.assert_array_equal(np.asarray(stack.data[3]), tif.pages[3].asarray())
    assert read_labels(DATA / name / "label.tif").data.shape == stack.data.shape[:3]


# Geometry


def ome(**sizes):
    metadata = {f"PhysicalSize{name}": value for name, value in sizes.items()}
    return {"ome": True, "metadata": {"axes": "ZYX", **metadata}}


@pytest.mark.parametrize(
    ("options", "spacing", "unit"),
    [
        (imagej(spacing=3, unit="um"), (3, 0.5, 0.25), "um"),
        (imagej(unit="micron"), (1, 0.5, 0.25), "um"),
        (imagej(spacing=3, unit="cm"), (30, 5, 2.5), "mm"),
        (imagej(), (1, 0.5, 0.25), None),
        ({"imagej": True, "metadata": {"axes": "ZYX"}}, None, None),
        (ome(X=0.25, Y=0.5, Z=2.0), (2, 0.5, 0.25), "um"),
        (ome(X=0.25, Y=0.5, Z=40, ZUnit="nm"), (0.04, 0.5, 0.25), "um"),
        (ome(X=0.25, Y=0.5), (None, 0.5, 0.25), "um"),
        (ome(), None, None),
        ({"resolution": (300, 300)}, None, None),
    ],
)
def test_spacing(tmp_path, options, spacing, unit):
    stack = read_stack(save(tmp_path, noise(), **options))
    assert stack.unit == unit
    assert stack.spacing == (None if spacing is None else pytest.approx(spacing))


def test_a_single_slice_needs_no_z_spacing(tmp_path):
    metadata = {"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5, "axes": "YX"}
    stack = read_stack(save(tmp_path, noise((23, 31)), ome=True, metadata=metadata))
    assert (stack.spacing, stack.unit) == ((1, 0.5, 0.25), "um")


# Labels


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "int32", "uint64", "float32"])
def test_label_types(tmp_path, dtype):
    labels = noise(dtype="uint8").astype(dtype)
    data = read_labels(save(tmp_path, labels)).data
    assert data.dtype == {"bool": "uint8", "float32": "int32"}.get(dtype, dtype)
    np.testing.assert_array_equal(data.compute(), labels)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(-3, "int16"), (-1, "float32"), (1.5, "float64"), (np.nan, "float32"), (2**31, "float64")],
)
def test_wrong_label_values_are_found_in_their_slice(tmp_path, value, dtype):
    labels = np.ones(SHAPE, dtype)
    labels[3, 4, 5] = value
    path = save(tmp_path, labels)
    np.testing.assert_array_equal(np.asarray(read_labels(path).data[2]), 1)
    refused(path, "slice 3", f"{value:g}", "save", read=read_labels)


def test_colour_labels_are_refused(tmp_path):
    path = save(tmp_path, noise((5, 23, 31, 3), "uint8"), photometric="rgb")
    refused(path, "ZYXS", "save", read=read_labels)


# What is refused


@pytest.mark.parametrize(
    ("shape", "options", "words"),
    [
        ((2, *SHAPE), {}, ["QQYX", "2x5x23x31", "--axes"]),
        ((2, 2, *SHAPE), {}, ["QQQYX", "--axes"]),
        ((5, 2, 23, 31), imagej(axes="ZCYX"), ["2 channels", "--channel"]),
        ((23, 31, 2), {"planarconfig": "contig"}, ["2 samples", "--axes"]),
        ((3, 23, 31), {"planarconfig": "separate", "photometric": "rgb"}, ["SYX", "--axes"]),
    ],
)
def test_axes_are_not_guessed(tmp_path, shape, options, words):
    refused(save(tmp_path, noise(shape, "uint8"), **options), *words)


@pytest.mark.parametrize(
    ("axes", "channel", "words"),
    [
        ("ZYXS", None, ["names 4 axes", "has 3", "5x23x31"]),
        ("CYX", None, ["5 channels", "--channel"]),
        ("CYX", 5, ["0 to 4", "--channel"]),
        ("ZYX", 0, ["no channel axis"]),
        ("SYX", None, ["5 samples"]),
    ],
)
def test_wrong_axes(tmp_path, axes, channel, words):
    refused(save(tmp_path, noise()), *words, axes=axes, channel=channel)


@pytest.mark.parametrize("axes", ["ZYQ", "ZZX", "ZNYX", "YXX", "Z", "Z,Y,X"])
def test_axes_not_understood(tmp_path, axes):
    with pytest.raises(InputError, match=f"--axes {axes} is not understood"):
        read_stack(save(tmp_path, noise()), axes=axes)


def test_no_image(tmp_path):
    refused(tmp_path / "absent.tif", "does not exist")
    refused(tmp_path, "folder")
    text = tmp_path / "notes.txt"
    text.write_text("not\nan image")
    refused(text, "a TXT file, which is not read")
    for name in ("cut.tif", "cut.TIFF"):
        (tmp_path / name).write_bytes(b"")
        refused(tmp_path / name, "not a TIFF")
    (tmp_path / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    refused(tmp_path / "photo.png", "is not a PNG, or is damaged")
    (tmp_path / "photo.gif").write_bytes(b"GIF89a")
    refused(tmp_path / "photo.gif", "a GIF file, which is not read: save it as TIFF")
    save(tmp_path, noise()).rename(tmp_path / "stack.lsm")
    assert read_stack(tmp_path / "stack.lsm").data.shape == noise().shape
    refused(save(tmp_path, noise(dtype="complex64")), "complex64")


def test_several_images(tmp_path):
    with tifffile.TiffWriter(tmp_path / "two.tif") as tif:
        tif.write(noise())
        tif.write(noise((20, 20)))
    refused(tmp_path / "two.tif", "2 images", "0: 5x23x31, 1: 20x20", "--series")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "zlib"},
        {"compression": "lzw", "rowsperstrip": 8},
        {"compression": "zlib", "tile": (16, 16)},
        {"imagej": True, "metadata": {"axes": "ZYX"}},
        {"ome": True, "metadata": {"axes": "ZYX"}, "compression": "zlib"},
        {"metadata": None, "compression": "zlib"},
    ],
)
def test_files_cut_short_never_give_wrong_slices(tmp_path, options):
    """Wherever a file ends too early: a slice is right or refused, and slices do not vanish."""
    array = noise()
    whole = save(tmp_path, array, **options).read_bytes()
    path = tmp_path / "cut.tif"
    failed = 0
    for end in range(0, len(whole) - 600, len(whole) // 40):
        path.write_bytes(whole[:end])
        try:
            data = read_stack(path).data
        except InputError as error:
            assert "\n" not in str(error)
            failed += 1
            continue
        assert data.shape == SHAPE
        for z in range(len(data)):
            try:
                np.testing.assert_array_equal(np.asarray(data[z]), array[z])
            except InputError as error:
                assert f"Z={z}" in str(error)
                assert "cut.tif" in str(error)
                failed += 1
    assert failed
