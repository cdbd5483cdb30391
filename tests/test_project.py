"""Projects: the file that says what is meant, and carrying it out on many images, some of them broken."""

import csv
import json
import os
import re
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

import napari_salt as ns
import tiny
from napari_salt.cli import main
from napari_salt.io._project_files import Source
from napari_salt.terms.errors import InputError
from stacks import names, save

FILE = """
output = "results"
segment = ["images/*.tif"]

[[train]]
image = "images/s0.tif"
labels = "labels/s0.tif"

[[train]]
image = "images/s1.tif"
labels = "labels/s1.tif"

[[classes]]
value = 7
name = "disc"
color = "#00ff00"

[adapter]
author = "somebody"

[training]
base = "tiny"
steps = 4
pixel-scale = 1.0
device = "cpu"

[segmenting]
views = 1
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A project of ten small images, two of them with labels; one is cut short."""
    tiny.use(monkeypatch)
    monkeypatch.chdir(tmp_path)
    for folder in ("images", "labels"):
        Path(folder).mkdir()
    for number in range(10):
        image, truth = tiny.discs(2, seed=number)
        save(Path("images"), image, f"s{number}.tif", metadata={"axes": "ZYX"})
        if number < 2:
            save(Path("labels"), tiny.painted(7 * truth, 0), f"s{number}.tif")
    broken = Path("images/s5.tif")
    broken.write_bytes(broken.read_bytes()[:9000])
    Path("project.toml").write_text(FILE)
    return tmp_path


def told(capsys):
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def rows():
    with Path("results/table.csv").open(encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def test_a_project_is_carried_out_and_goes_on(here, capsys):
    assert main(["run", "project.toml", "--json"]) == 3
    first = told(capsys)
    assert first["trained"]
    assert (first["segmented"], first["kept"]) == (9, 0)
    (failed,) = first["failed"]
    assert failed["file"] == "images/s5.tif"
    assert "s5.tif" in failed["reason"]
    adapter = ns.Adapter.load("results/adapter.salt.safetensors")
    assert adapter.author == "somebody"
    assert [(c.value, c.name, c.color) for c in adapter.classes] == [(7, "disc", "#00ff00")]
    assert len(adapter.training["more_stacks"]) == 1
    assert names(Path("results/segmentations")) == [f"s{n}.tif" for n in range(10) if n != 5]
    found = tifffile.imread("results/segmentations/s3.tif")
    config = ns.SegmentConfig(views=1)
    np.testing.assert_array_equal(found, ns.segment("images/s3.tif", adapter, config))
    table = rows()
    assert [row["image"] for row in table] == [f"s{n}.tif" for n in range(10) if n != 5]
    (row,) = (row for row in table if row["image"] == "s3.tif")
    assert (row["class_name"], int(row["voxels"])) == ("disc", int((found == 7).sum()))
    assert int(row["objects"]) == len(ns.measure(found, by="objects"))
    report = Path("results/report.html").read_text()
    assert report.count('<img alt="s') == 2 * 9
    assert "Not segmented" in report
    assert "images/s5.tif" in report

    # The broken file is mended, a segmentation is corrected by hand, and nothing else is made again.
    image, _ = tiny.discs(2, seed=5)
    save(Path("images"), image, "s5.tif", metadata={"axes": "ZYX"})
    before = {path: path.read_bytes() for path in Path("results/segmentations").iterdir()}
    found[:] = 0
    found[0, :4, :4] = 7
    save(Path("results/segmentations"), found, "s3.tif")
    corrected = Path("results/segmentations/s3.tif").read_bytes()
    assert main(["run", "project.toml", "--json"]) == 0
    second = told(capsys)
    assert (second["trained"], second["segmented"], second["kept"]) == (False, 1, 9)
    after = {path: path.read_bytes() for path in Path("results/segmentations").iterdir()}
    assert {path for path in before if before[path] != after[path]} == {Path("results/segmentations/s3.tif")}
    assert after[Path("results/segmentations/s3.tif")] == corrected
    assert len(rows()) == 10
    (row,) = (row for row in rows() if row["image"] == "s3.tif")
    assert (int(row["voxels"]), int(row["objects"])) == (16, 1)

    # Other settings: all is made again, but not what was corrected by hand.
    text = Path("project.toml").read_text().replace("views = 1", "views = 1\nmin-size = 3")
    Path("project.toml").write_text(text)
    assert main(["run", "project.toml", "--json"]) == 3
    third = told(capsys)
    assert (third["trained"], third["segmented"]) == (False, 9)
    (failed,) = third["failed"]
    assert "was changed since it was written" in failed["reason"]
    assert Path("results/segmentations/s3.tif").read_bytes() == corrected


def test_what_was_there_before_is_not_overwritten(here, capsys):
    Path("results").mkdir()
    Path("results/table.csv").write_text("mine")
    assert main(["run", "project.toml"]) == 2
    assert "table.csv is there already, and not of a project" in capsys.readouterr().err
    assert names(Path("results")) == ["table.csv"]
    Path("results/table.csv").unlink()
    tiny.adapter((7,)).save("results/adapter.salt.safetensors")
    assert main(["run", "project.toml"]) == 2
    assert "is there already, and not as this project has made it" in capsys.readouterr().err
    text = FILE[: FILE.index("[[train]]")] + '[adapter]\nfile = "results/adapter.salt.safetensors"\n'
    Path("project.toml").write_text(text.replace("images/*.tif", "images/s1.tif"))
    Path("results/segmentations").mkdir()
    Path("results/segmentations/s1.tif").write_bytes(b"mine")
    assert main(["run", "project.toml"]) == 3
    assert Path("results/segmentations/s1.tif").read_bytes() == b"mine"


def test_pairs_by_a_pattern_and_a_bad_one_among_them(here):
    save(Path("labels"), np.zeros((2, 64, 64), np.uint8), "s2.tif")
    project = ns.Project(
        "out",
        train=(ns.ProjectPair("images/s*.tif", "labels/s*.tif"),),
        training=replace(tiny.QUICK, steps=2),
    )
    done = ns.run(project)
    assert done.trained
    (name,) = done.failed
    assert name == "images/s2.tif"
    assert "nothing is painted" in done.failed[name]
    assert len(ns.Adapter.load(done.adapter).training["more_stacks"]) == 1
    assert done.table is None


def test_a_project_is_read_as_it_was_written(tmp_path):
    training = ns.TrainConfig(
        minutes=2.5, slices=(0, 1, 2, 5), class_names={1: "a", 2: "b"}, class_colors={2: "#00ff00"}
    )
    training = replace(training, salt=ns.SaltConfig(rank=3, targets=("mask_decoder",)))
    project = ns.Project(
        output="out",
        train=(ns.ProjectPair(Path("a.tif"), "b.tif", channel=1, resample=True),),
        segment=(
            ns.ProjectImages("i/*.tif", pixel_size="2,0.5,0.5"),
            ns.ProjectImages("s", one_stack=True),
        ),
        training=training,
        segmenting=ns.SegmentConfig(fill_holes=True, views=2),
        adapter=ns.ProjectAdapter(init="old.safetensors", note="what for"),
        results=ns.ProjectResults(unit="mm", objects=False),
        folder=tmp_path,
    )
    (tmp_path / "sub").mkdir()
    read = ns.Project.load(project.save(tmp_path / "project.toml"))
    assert read == project
    elsewhere = ns.Project.load(project.save(tmp_path / "sub" / "project.toml"))
    assert elsewhere.train[0].image == "../a.tif"
    assert elsewhere.path(elsewhere.train[0].image).resolve() == (tmp_path / "a.tif").resolve()
    assert elsewhere.output == "../out"
    assert elsewhere.training == training


WRONG = {
    "no TOML": ("output = ", "is no valid TOML"),
    "no output": ('segment = ["a.tif"]', "output is None; give a folder"),
    "an unknown table": (
        'output = "o"\n[trainin]\n',
        "the file has no key 'trainin'; did you mean 'train",
    ),
    "nothing to do": ('output = "o"', "there are no images; add [[train]]"),
    "no adapter": ('output = "o"\nsegment = ["a.tif"]', "there is no adapter; name one by file"),
    "an unknown option": ("[training]\nminuts = 3", "training has no key 'minuts'; did you mean 'minutes'?"),
    "a value out of range": (
        "[training]\nminutes = -1",
        "training: minutes is -1; give a number of minutes",
    ),
    "a value of another type": (
        "[segmenting]\nviews = 'many'",
        "views is 'many'; give a whole number",
    ),
    "a flag in words": ("[segmenting]\nsmooth = 'yes'", "smooth is 'yes'; give True or False"),
    "names in the options": ("[training]\nclass-names = '1=a'", "give each class a [[classes]]"),
    "a class without value": ("[[classes]]\nname = 'a'", "classes 1: value is None; give the label value"),
    "a class twice": ("[[classes]]\nvalue = 1\n[[classes]]\nvalue = 1", "value 1 comes twice"),
    "a colour in words": (
        "[[classes]]\nvalue = 1\ncolor = 'red'",
        "color of class 1 is 'red'; give a",
    ),
    "a pair without labels": ("[[train]]\nimage = 'a.tif'", "train 1 lacks labels"),
    "a table for a list": ("[train]\nimage = 'a.tif'", "train is no list; write [[train]]"),
    "a channel in words": (
        "[[train]]\nimage = 'a.tif'\nlabels = 'b.tif'\nchannel = 'red'",
        "train 1: channel is 'red', expected a whole number",
    ),
    "an unknown unit": ("[results]\nunit = 'inch'", "results: unit is 'inch'; give um or mm"),
    "a size without a unit that is known": (
        "[[train]]\nimage = 'a.tif'\nlabels = 'b.tif'\npixel-size = '3 parsec'",
        "train 1: pixel-size: 3 parsec has no unit",
    ),
    "a key twice": ("[training]\npixel-scale = 1\npixel_scale = 2", "has 'pixel_scale' twice"),
}


@pytest.mark.parametrize(("text", "words"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_in_the_file_is_named(text, words, tmp_path, capsys):
    whole = text if "output" in text else f'output = "o"\n{text}'
    if text == 'segment = ["a.tif"]':
        whole = text
    (tmp_path / "p.toml").write_text(whole)
    assert main(["run", str(tmp_path / "p.toml")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert "p.toml" in line
    assert names(tmp_path) == ["p.toml"]


def test_two_images_of_one_name_are_refused(here, capsys):
    Path("more").mkdir()
    save(Path("more"), tiny.discs(1)[0], "s1.tif")
    text = FILE.replace('["images/*.tif"]', '["images/*.tif", "more"]')
    Path("project.toml").write_text(text)
    assert main(["run", "project.toml"]) == 2
    assert re.search(r"images.s1.tif and .*more.s1.tif would both be written as s1", capsys.readouterr().err)
    assert not Path("results/adapter.salt.safetensors").exists()


def test_no_file_of_a_project_is_an_error_of_one_line(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        ns.run(tmp_path / "no.toml")


class Stopping:
    """A stack that sends the program a Ctrl-C when a slice is read for the second time, to be segmented."""

    def __init__(self, data, index):
        self.data, self.index, self.reads = data, index, 0
        self.shape, self.dtype = data.shape, data.dtype

    def __len__(self):
        return len(self.data)

    def __getitem__(self, key):
        self.reads += key == self.index
        if self.reads == 2:
            signal.raise_signal(signal.SIGINT)
        return self.data[key]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one thread")
def test_ctrl_c_keeps_what_is_done_and_the_next_run_goes_on(here, capsys, monkeypatch):
    adapter = tiny.adapter((7,))
    adapter.save("a.safetensors")
    image, _ = tiny.discs(6)
    save(Path("images"), image, "s1.tif", metadata={"axes": "ZYX"})
    text = 'output = "results"\nsegment = ["images/s[0-2].tif"]\nadapter.file = "a.safetensors"\n'
    Path("project.toml").write_text(f"{text}segmenting.views = 1\n")
    real = Source.open

    def opened(source):
        stack = real(source)
        return replace(stack, data=Stopping(stack.data, 3)) if source.name == "s1" else stack

    with monkeypatch.context() as patch:
        patch.setattr(Source, "open", opened)
        assert main(["run", "project.toml", "--json"]) == 130
    first = told(capsys)
    assert (first["segmented"], first["kept"]) == (1, 0)
    assert len(list(Path("results/segmentations/.s1.tif.partial").glob("*.npz"))) in range(1, 6)
    assert main(["run", "project.toml", "--json"]) == 0
    second = told(capsys)
    assert (second["segmented"], second["kept"]) == (2, 1)
    assert names(Path("results/segmentations")) == ["s0.tif", "s1.tif", "s2.tif"]
    found = tifffile.imread("results/segmentations/s1.tif")
    np.testing.assert_array_equal(found, ns.segment(image, adapter, ns.SegmentConfig(views=1)))


def test_a_dry_run_tells_what_is_left_and_writes_nothing(here, capsys):
    assert main(["run", "project.toml", "--dry-run", "--json"]) == 3
    facts = told(capsys)
    assert facts["training"]["images"] == 2
    assert (facts["images"], facts["images_done"], facts["slices"]) == (10, 0, 18)
    assert [each["file"] for each in facts["failed"]] == ["images/s5.tif"]
    assert names(here) == ["images", "labels", "project.toml"]


def test_names_of_segmentations_and_volumes_in_a_given_size(here):
    for folder, number in (("p1", 1), ("p2", 2)):
        Path("cases", folder).mkdir(parents=True)
        save(Path("cases", folder), tiny.discs(2, seed=number)[0], "ct.tif", metadata={"axes": "ZYX"})
    tiny.adapter((7,)).save("a.safetensors")
    project = ns.Project(
        "out",
        segment=(ns.ProjectImages("cases/*/ct.tif", pixel_size="2mm,1mm,1mm"),),
        segmenting=ns.SegmentConfig(views=1),
        adapter=ns.ProjectAdapter(file="a.safetensors"),
        results=ns.ProjectResults(format=".nii.gz", unit="mm", objects=False),
    )
    done = ns.run(project)
    assert not done.failed
    assert sorted(path.name for path in done.segmentations.values()) == ["p1_ct.nii.gz", "p2_ct.nii.gz"]
    with done.table.open(encoding="utf-8-sig") as file:
        first, second = csv.DictReader(file)
    assert (first["image"], second["image"]) == ("p1_ct", "p2_ct")
    assert float(first["volume_ml"]) == pytest.approx(2e-3 * int(first["voxels"]))
    assert "objects" not in first


def test_objects_are_counted_by_their_numbers_and_an_image_named_twice_is_done_once(here):
    tiny.adapter((7,)).save("a.safetensors")
    done = ns.run(
        ns.Project(
            "out",
            segment=(ns.ProjectImages("images/s1.tif"), ns.ProjectImages("images/s[12].tif")),
            segmenting=ns.SegmentConfig(views=1, objects=True),
            adapter=ns.ProjectAdapter(file="a.safetensors"),
        )
    )
    assert (done.made, len(done.segmentations), done.failed) == (2, 2, {})
    with done.table.open(encoding="utf-8-sig") as file:
        table = list(csv.DictReader(file))
    for row, path in zip(table, done.segmentations.values(), strict=True):
        found = tifffile.imread(path)
        assert int(row["objects"]) == len(np.unique(found[found > 0]))
        assert int(row["voxels"]) == np.count_nonzero(found)


def test_a_device_that_is_not_there_is_told_once(here, capsys):
    tiny.adapter((7,)).save("a.safetensors")
    text = 'output = "out"\nsegment = ["images/s1.tif"]\nadapter.file = "a.safetensors"\n'
    Path("project.toml").write_text(f'{text}segmenting.device = "cuda:99"\n')
    assert main(["run", "project.toml"]) == 2
    assert capsys.readouterr().err.count("not available") == 1


def test_an_adapter_in_an_output_folder_that_is_made(here):
    text = FILE.replace('author = "somebody"', 'file = "results/deep/a.safetensors"')
    Path("project.toml").write_text(text.replace('segment = ["images/*.tif"]', ""))
    assert main(["run", "project.toml"]) == 0
    assert Path("results/deep/a.safetensors").exists()
    Path("project.toml").write_text(text.replace("results/deep/a.safetensors", "elsewhere/a.safetensors"))
    assert main(["run", "project.toml", "--dry-run"]) == 2
