"""The report: what it says, that it is whole, and that nothing in it comes from outside."""

import base64
import json
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
from skimage.io import imread

import napari_salt as ns
import tiny
from napari_salt.cli import main
from napari_salt.results.curves import Curve, chart
from napari_salt.results.pictures import overlaid, seen
from napari_salt.terms.fingerprint import data_fingerprint
from stacks import save

IMAGE = np.random.default_rng(0).integers(0, 60_000, (8, 20, 30)).astype(np.uint16)
LABELS = np.zeros(IMAGE.shape, np.uint8)
LABELS[1:6, 4:12, 5:25] = 7
EVIL = "<script>alert('&')</script>\u202e"
TRAINING = {
    "painted_slices": [2, 5],
    "data_shape": [8, 20, 30],
    "data_sha256": data_fingerprint(IMAGE, (2, 5)),
    "date": "2026-01-02T03:04:05+00:00",
    "steps": 40,
    "seconds": 61.5,
    "seed": 3,
    "device": "cpu",
    "torch": "2.6",
    "napari_salt": "0.1.0",
    "held_out": "a block of slices 2, 5",
    "held_out_dice": {"7": 0.75},
    "dice_curve": [[20, {"7": 0.5}], [40, {"7": 0.75}]],
    "losses": [0.8, 0.4, 0.2, 0.1],
    "options": {"preset": "fast", "steps": 40, "rank": 0.5},
}


def card():
    adapter = tiny.adapter((7,))
    classes = tuple(replace(info, name=EVIL) for info in adapter.classes)
    return replace(adapter, name=EVIL, description="Nuclei", classes=classes, training=TRAINING)


class Page(HTMLParser):
    """What a browser makes of a page: its tags, the text in it, the pictures, and the cells of its tables."""

    VOID = ("meta", "img", "br")

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.texts, self.attributes, self.cells = [], [], [], [], []
        self.feed(html)
        self.close()
        assert not self.open, f"{self.open} are not closed"

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        self.texts.append(text)
        if self.open and self.open[-1] in ("td", "th"):
            self.cells.append(text)

    def value_of(self, name):
        """What stands in the cell after `name`."""
        return self.cells[self.cells.index(name) + 1]

    @property
    def pictures(self):
        addresses = [value for name, value in self.attributes if name == "src"]
        return [imread(BytesIO(base64.b64decode(a.split(",", 1)[1]))) for a in addresses]


def read(path):
    return Page(path.read_text("utf-8"))


def test_the_report_of_a_segmentation(tmp_path):
    path = ns.report(
        tmp_path / "r.html", card(), IMAGE, LABELS, pixel_size=(2, 0.5, 0.5), name="cells.tif",
        settings={"min size": 5},
    )  # fmt: skip
    page = read(path)
    text = " ".join(page.texts)
    assert "adapted by SALT on 2 painted slices of a stack of 8 slices of 20 x 30 pixels, in 40 steps" in text
    assert "applied to 8 slices of cells.tif" in text
    for name, value in (("seed", "3"), ("preset", "fast"), ("torch", "2.6"), ("min size", "5")):
        assert page.value_of(name) == value
    voxels = int((LABELS == 7).sum())
    assert f"{voxels:,}" in page.cells
    assert f"{voxels / 2:.4g}" in page.cells
    captions = [text for text in page.texts if text.startswith("slice ")]
    assert captions[:2] == ["slice 2, painted", "slice 5, painted"]
    assert len(captions) == 5
    assert all(caption.endswith("not painted") for caption in captions[2:])
    assert len(page.pictures) == 10
    np.testing.assert_array_equal(page.pictures[0], seen(IMAGE[2]))
    color = {7: card().classes[0].color}
    np.testing.assert_array_equal(page.pictures[1], overlaid(seen(IMAGE[2]), LABELS[2], color))
    points = [value for name, value in page.attributes if name == "points"]
    assert [len(line.split()) for line in points] == [4, 2]


def test_nothing_in_it_comes_from_outside_or_runs(tmp_path):
    page = read(ns.report(tmp_path / "r.html", card(), IMAGE, LABELS))
    assert not {"script", "link", "iframe", "object", "a", "base"} & set(page.tags)
    addresses = [v for name, v in page.attributes if name in ("src", "href", "srcset", "xlink:href")]
    assert all(address.startswith("data:image/png;base64,") for address in addresses)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    html = (tmp_path / "r.html").read_text("utf-8")
    assert "<script" not in html
    assert "\u202e" not in html
    assert "url(" not in html
    assert "default-src 'none'" in html
    assert any("<script>alert('&')</script>\\u202e" in text for text in page.texts)


def test_the_report_of_an_adapter_alone(tmp_path):
    page = read(ns.report(tmp_path / "r.html", card()))
    assert not page.pictures
    assert "applied" not in " ".join(page.texts)
    bare = read(ns.report(tmp_path / "bare.html", replace(card(), training={}, name="")))
    assert "svg" not in bare.tags
    other = read(ns.report(tmp_path / "r.html", card(), IMAGE + 1))
    captions = [text for text in other.texts if text.startswith("slice ")]
    assert len(captions) == len(other.pictures) == 3
    assert not any("painted" in caption for caption in captions)  # the adapter has not seen this stack


def test_the_report_of_objects(tmp_path):
    numbers = np.zeros(IMAGE.shape, np.int32)
    for n in range(5):
        numbers[n, : n + 1, 3 * n] = n + 1
    page = read(ns.report(tmp_path / "r.html", card(), IMAGE, numbers, by="numbers"))
    row = page.cells.index("5")
    assert page.cells[row : row + 4] == ["5", "3", "2", "4"]


def test_pictures_of_any_image():
    colour = np.random.default_rng(0).random((30, 2000, 3)).astype(np.float32)
    colour[0, 0] = np.nan
    picture = seen(colour)
    assert picture.shape == (8, 500, 3)
    assert picture.max() == 255
    assert seen(np.full((4, 4), np.nan)).tolist() == np.zeros((4, 4, 3)).tolist()
    labels = np.zeros((30, 2000), np.int64)
    labels[:, 1000:] = 2**20
    found = overlaid(picture, labels, {})
    np.testing.assert_array_equal(found[:, :250], picture[:, :250])
    assert (found[:, 250:] != picture[:, 250:]).any(axis=-1).all()


def test_curves_leave_out_what_is_no_number():
    drawn = chart([Curve([1, 2, 3], [1.0, float("nan"), 0.5], "<loss>", "#123456")], "step", "loss")
    page = Page(drawn)
    (points,) = (value for name, value in page.attributes if name == "points")
    (x0, y0), (x1, y1) = (map(float, point.split(",")) for point in points.split())
    assert x0 < x1
    assert y0 < y1
    assert "<loss>" in page.texts
    assert chart([Curve([], [], "none", "#123456")], "step", "Dice") == ""


def test_the_command_writes_it(tmp_path, capsys):
    adapter = str(card().save(tmp_path / "a.safetensors"))
    image, labels = (str(save(tmp_path, a, n)) for a, n in ((IMAGE, "i.tif"), (LABELS, "l.tif")))
    out = tmp_path / "r.html"
    options = ["--pixel-size", "2,0.5,0.5", "--by", "objects", "--class-names", "7=cell", "--json"]
    assert main(["report", adapter, image, labels, "-o", str(out), *options]) == 0
    (row,) = json.loads(capsys.readouterr().out.splitlines()[-1])["classes"]
    assert row["volume_um3"] == (LABELS == 7).sum() / 2
    page = read(out)
    assert page.value_of("cell") == "5"  # slices
    assert "1" in page.cells  # object
    assert "i.tif" in " ".join(page.texts)
    assert main(["report", adapter, "-o", str(out)]) == 0
    assert not read(out).pictures


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["i.tif", "-o", "r.html"], "give IMAGE and LABELS"),
        (["-o", "r.txt"], "end with .html"),
        (["-o", "no/r.html"], "does not exist"),
    ],
)
def test_the_command_tells_what_is_wrong(tmp_path, capsys, monkeypatch, arguments, told):
    monkeypatch.chdir(tmp_path)
    card().save("a.safetensors")
    assert main(["report", "a.safetensors", *arguments]) == 2
    assert told in capsys.readouterr().err
    with pytest.raises(ns.SaltError, match="no image"):
        ns.report("r.html", card(), labels=LABELS)
    assert not (tmp_path / "r.html").exists()
