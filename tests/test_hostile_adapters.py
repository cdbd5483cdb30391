"""Adapters that a stranger might send: refused in one line, or shown as plain text."""

import json
import os
import struct
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from napari.components import ViewerModel
from qtpy.QtWidgets import QApplication

import headless
import napari_salt as ns
import tiny
from napari_salt import cli
from napari_salt.core.adapt.adapter import Adapter
from napari_salt.core.paint.preprocess import SliceReader
from napari_salt.terms.card import AdapterCard, ClassInfo, class_names, described
from napari_salt.terms.errors import AdapterError, BaseModelError, InputError
from napari_salt.terms.text import printable
from stacks import save

MARKUP = "<h1>big</h1><img src='file:///etc/hostname'><a href='http://127.0.0.1:9/'>click</a>"
ESCAPES = "\x1b[31mred\x1b[2J\nb\u202ec\x07"
GOOD = tiny.adapter().to_bytes()


def parts(content):
    length = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def changed(**metadata):
    """The good adapter's file with other metadata."""
    header, body = parts(GOOD)
    header["__metadata__"] |= metadata
    return joined(header, body)


def joined(header, body):
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + body


def field(name):
    return json.loads(parts(GOOD)[0]["__metadata__"][name])


def classes(count=2, name="c", color="#e6194b"):
    return json.dumps([{"value": i + 1, "name": name, "color": color} for i in range(count)])


FIELDS = sorted(parts(GOOD)[0]["__metadata__"])
TRAINING = {
    "seed": 0,
    "warm_steps": 3,
    "seconds": 1.5,
    "losses": [0.5],
    "painted_slices": [0, 2],
    "data_shape": [4, 64, 64],
    "intensities": [[[0.0] * 9] * 4],
    "more_stacks": [],
    "held_out": "a block of slice 0",
    "leak_free": True,
    **field("training"),
}

STACK = {"painted_slices": [0], "data_shape": [4, 64, 64], "data_sha256": "0" * 64}


def trained(**facts):
    return {"training": json.dumps({**TRAINING, **facts})}


def setting(name, **values):
    return {name: json.dumps({**field(name), **values})}


BAD = {
    **{f"nested-{name}": {name: "[" * 5000 + "]" * 5000} for name in FIELDS if name != "description"},
    **{f"{name}-long": {name: "A" * 100_000} for name in FIELDS},
    **{f"{name}-null": {name: "null"} for name in ("config", "classes", "preprocess", "training")},
    "lora_rank": setting("config", lora_rank=3 * 10**6),
    "lora_rank-one-more": setting("config", lora_rank=3),
    "lora_rank-false": setting("config", lora_rank=True),
    "rank": setting("config", rank=10**9, lora_rank=10**9),
    "targets-numbers": setting("config", targets=[1, None]),
    "targets-many": setting("config", targets=["image_encoder"] * 2000),
    "classes-many": {"classes": classes(100_000)},
    "classes-one-more": {"classes": classes(3)},
    "classes-long": {"classes": classes(name="B" * 50_000)},
    "classes-color": {"classes": classes(color="url(file:///etc/hostname)")},
    "classes-color-line": {"classes": classes(color="#e6194b\n")},
    "classes-table": {"classes": '{"a": 1}'},
    "base-path": {"base_model": "/etc/passwd"},
    "base-parent": {"base_model": "../../x.pth"},
    "base-share": {"base_model": "\\\\host\\share"},
    "base-address": {"base_model": "http://127.0.0.1:9/x"},
    "percentiles-texts": setting("preprocess", percentiles=["a", "b"]),
    "percentiles-three": setting("preprocess", percentiles=[1, 2, 3]),
    "training-list": {"training": "[1, 2]"},
    "training-deep": trained(unknown=[[[[[[1]]]]]]),
    "training-many": trained(unknown=list(range(200_000))),
    "training-digits": {"training": '{"unknown": 1' + 400 * "0" + "}"},
    "training-more-digits": {"training": '{"unknown": 1' + 5000 * "0" + "}"},
    "dice-keys": trained(held_out_dice={"abc": 0.5}),
    "dice-nothing": trained(held_out_dice={"3": None}),
    "more_stacks-long": trained(more_stacks=[STACK] * 1001),
    "more_stacks-lacking": trained(more_stacks=[{"painted_slices": [0]}]),
    "more_stacks-path": trained(more_stacks=[{**STACK, "data_sha256": "../x"}]),
    "painted-slices-of-another": trained(more_stacks=[{**STACK, "painted_slices": [9]}]),
    "painted-outside": trained(painted_slices=[4]),
    "painted-before": trained(painted_slices=[-1]),
    "painted-often": trained(painted_slices=[1] * 90_000),
    **{
        f"{name}-{key}-{label}": {name: json.dumps({**known, key: value})}
        for name, known in (("preprocess", field("preprocess")), ("training", TRAINING))
        for key in known
        for label, value in (("inf", float("inf")), ("nan", float("nan")), ("huge", 10**30), ("list", [[[]]]))
    },
    **{f"training-{key}-nothing": trained(**{key: None}) for key in TRAINING},
}


def named(name):
    """What a refusal must name: the metadata's entry, or within it the key."""
    head, _, rest = name.partition("-")
    key = rest.partition("-")[0]
    return key if head in ("preprocess", "training") and key in {**field("preprocess"), **TRAINING} else ""


@pytest.mark.parametrize("name", BAD)
def test_it_is_refused_in_one_line(tmp_path, capsys, name):
    path = tmp_path / "bad.salt.safetensors"
    path.write_bytes(changed(**BAD[name]))
    began = time.process_time()
    with pytest.raises(AdapterError) as refused:
        Adapter.load(path)
    assert time.process_time() - began < 1
    said = str(refused.value)
    assert str(path) in said
    assert named(name) in said
    assert "get a fresh copy" in said or "update napari-salt" in said or "choose a file" in said
    assert "object" not in said, "a message of Python's own"
    assert len(said) < 600
    assert said.isprintable()
    assert cli.main(["info", str(path)]) == 2
    assert capsys.readouterr().err == f"napari-salt: {said}\n"


def test_none_of_them_takes_memory_or_is_segmented_with(tmp_path):
    """Measured by the system, in a process of its own: what is allocated outside Python counts as well."""
    code = """
import resource, sys
import pytest, tiny
from napari_salt.cli import main
from napari_salt.core.adapt.adapter import Adapter
tiny.use(pytest.MonkeyPatch())
tiny.adapter().build()
good, image, *bad = sys.argv[1:]
def codes(paths): return {main(["segment", image, "--adapter", path, "--out", "out.tif"]) for path in paths}
assert codes([good]) == {0}
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert codes(bad) == {2}
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    pytest.importorskip("resource", reason="Windows does not tell how much memory was used at most")
    paths = []
    for number, metadata in enumerate(({}, *BAD.values())):
        paths.append(tmp_path / f"{number}.safetensors")
        paths[-1].write_bytes(changed(**metadata))
    paths.insert(1, save(tmp_path, tiny.discs(1)[0], "image.tif"))
    command = [sys.executable, "-c", code, *map(str, paths)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(done.stdout.splitlines()[-1]) * unit < 200e6


def without(*words, **extra):
    """The good adapter's file without the tensors whose names hold one of `words`; `extra` are empty ones."""
    header, body = parts(GOOD)
    kept, content = {"__metadata__": header.pop("__metadata__")}, b""
    for name, about in header.items():
        if not any(word in name for word in words):
            begin, end = about["data_offsets"]
            kept[name] = {**about, "data_offsets": [len(content), len(content) + end - begin]}
            content += body[begin:end]
    for name, shape in extra.items():
        kept[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(content)] * 2}
    return kept, content


@pytest.mark.parametrize("extra", [{}, {"a.lora_b": [0, 10**6]}], ids=["no tensors", "an empty tensor"])
def test_a_low_rank_is_limited_whatever_the_tensors_say(tmp_path, extra):
    header, content = without("lora_b", **extra)
    header["__metadata__"] |= setting("config", lora_rank=10**6)
    path = tmp_path / "bad.safetensors"
    path.write_bytes(joined(header, content))
    with pytest.raises(AdapterError, match="lora_rank is 1000000; give a whole number from 0 to 1024"):
        Adapter.load(path)


LAYER = "image_encoder.blocks.0.attn.qkv.parametrizations.weight.0"
"""An adapted layer, 96 x 32 weights."""
ODD_TENSORS = {
    "many axes": ({"a": [0, 1, 1, 1, 1]}, "at most 4 axes"),
    "a long axis": ({"a": [0, 2**40]}, r"'a' has shape \[0, 1099511627776\]"),
    "a long name": ({"a" * 400: [0]}, "name has 400 characters"),
    "scale alone": ({"mask_decoder.x.parametrizations.weight.0.scale": [0]}, "only one of scale and shift"),
    "a matrix as scale": ({"x.parametrizations.weight.0.scale": [0, 2]}, "has shape"),
    "another rank": ({"x.parametrizations.weight.0.lora_a": [9, 0]}, "lora_rank is 2, but tensor"),
}


@pytest.mark.parametrize(("extra", "words"), ODD_TENSORS.values(), ids=ODD_TENSORS)
def test_odd_tensors_are_refused_by_the_header(tmp_path, extra, words):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(joined(*without(**extra)))
    for read in (AdapterCard.read, Adapter.load, lambda path: AdapterCard.from_bytes(path.read_bytes())):
        with pytest.raises(AdapterError, match=words):
            read(path)


def test_tensors_outside_the_targets_are_refused_by_the_header(tmp_path):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(changed(**setting("config", targets=["mask_decoder"])))
    with pytest.raises(AdapterError, match="which no target of its settings contains"):
        AdapterCard.read(path)


@pytest.mark.usefixtures("tiny_base")
@pytest.mark.parametrize(
    ("missing", "extra", "words"),
    [
        ("lora", {}, "lacks tensor"),
        ("qkv", {}, "lacks tensor 'image_encoder.blocks.0.attn.qkv"),
        ("qkv", {f"{LAYER}.scale": [0], f"{LAYER}.shift": [0]}, "lacks tensor .*qkv.*lora_a"),
        (" ", {f"no.{LAYER}.lora_a": [2, 0], f"no.{LAYER}.lora_b": [0, 2]}, "which the model lacks"),
    ],
)
def test_what_does_not_fit_the_base_is_refused_before_its_changes_are_made(
    tmp_path, monkeypatch, missing, extra, words
):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(joined(*without(missing, **extra)))
    adapter = Adapter.load(path)
    monkeypatch.setattr("napari_salt.core.adapt.salt.SaltParametrization.__init__", pytest.fail)
    with pytest.raises(AdapterError, match=words):
        adapter.build(base=tiny.base())


HEADERS = [b"", b"[]", b"{}", b'{"__metadata__": 3}', b'{"__metadata__": {"a": 1}}', b"[" * 10_000]
HEADERS += [b'{"__metadata__": {}, "a": ' + entry + b"}" for entry in (b"1", b'{"dtype": "F32"}')]


@pytest.mark.parametrize("header", HEADERS, ids=lambda header: header[:30].decode())
def test_a_broken_header_is_refused(header):
    for content in (header, struct.pack("<Q", len(header)) + header, struct.pack("<Q", 2**60) + header):
        for read in (AdapterCard.from_bytes, Adapter.from_bytes):
            with pytest.raises(AdapterError, match="no adapter"):
                read(content)


@pytest.mark.usefixtures("tiny_base")
@pytest.mark.parametrize("base", ["tiny@1000000", "tiny@" + "9" * 100])
def test_an_input_size_is_limited(tmp_path, base):
    with pytest.raises(BaseModelError, match=r"cannot take inputs of .* to 4096"):
        Adapter.load(shown(tmp_path, base_model=base)).build()


@pytest.mark.usefixtures("tiny_base")
@pytest.mark.parametrize("base", ["x.pth", "sam-vit:x.pth", "C:x.pth"])
def test_a_base_is_never_followed_as_a_path(tmp_path, monkeypatch, base):
    """A checkpoint of that name lies in the working folder; its weights are even the right ones."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAPARI_SALT_CACHE", str(tmp_path / "cache"))
    tiny.checkpoint(base)
    with pytest.raises(AdapterError, match=r"needs .*(base model|checkpoint) '.*x.pth'"):
        Adapter.load(shown(tmp_path, base_model=base)).build()


def test_a_slice_is_not_enlarged_beyond_measure(tmp_path):
    adapter = Adapter.load(shown(tmp_path, **setting("preprocess", pixel_scale=1000)))
    with pytest.raises(InputError, match="64 x 64 pixels would be enlarged to 64000 x 64000"):
        SliceReader(tiny.discs(2)[0], adapter.preprocess)


def test_a_header_that_claims_much_is_not_read(tmp_path):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(struct.pack("<Q", 10**12) + b"{}")
    with pytest.raises(AdapterError, match="header claims 1000000000000 bytes"):
        Adapter.load(path)


def shown(tmp_path, **texts):
    path = tmp_path / "odd.salt.safetensors"
    path.write_bytes(changed(**texts))
    return path


@pytest.mark.parametrize("text", [MARKUP, ESCAPES], ids=["markup", "escapes"])
def test_texts_are_kept_as_plain_text(tmp_path, capsys, text):
    texts = dict.fromkeys(("name", "author", "license"), text)
    path = shown(tmp_path, **texts, classes=classes(name=text))
    card = AdapterCard.read(path)
    for found in (card.name, card.author, card.license, card.classes[0].name):
        assert found == printable(text)
        assert found.isprintable()
    assert cli.main(["info", str(path)]) == 0
    assert all(line.isprintable() for line in capsys.readouterr().out.splitlines())
    assert repr(Adapter.load(path)).isprintable()


def test_a_description_may_have_lines_but_prints_as_one(tmp_path, capsys):
    path = shown(tmp_path, description="first\nsecond \x1b[2J")
    assert AdapterCard.read(path).description == "first\nsecond \\x1b[2J"
    assert cli.main(["info", str(path)]) == 0
    assert "description: first\\nsecond" in capsys.readouterr().out


def test_letters_of_all_scripts_stay():
    for text in ("Zellkern µ", "細胞核", "\u0645\u06cc\u200c\u062e", "é 👩\u200d🔬"):
        assert printable(text) == text
    assert printable("a\u00a0b") == "a b"
    assert printable("a\x1b\u202e\n") == "a\\x1b\\u202e\\n"


def test_the_session_tells_what_is_wrong_and_keeps_what_it_has(tmp_path):
    session = headless.session(ViewerModel())
    problems = []
    session.problem.connect(lambda text, control: problems.append((control, text)))
    path = tmp_path / "bad.salt.safetensors"
    path.write_bytes(changed(**BAD["lora_rank"]))
    assert not session.load_adapter(path)
    assert problems[-1][0] == "adapter"
    assert session.adapter is None


def test_the_good_one_is_read_whatever_is_added_to_its_training(tmp_path):
    training = {**field("training"), "later": [[0.5, 1], {"a": "b"}], "note": "x"}
    adapter = Adapter.load(shown(tmp_path, training=json.dumps(training)))
    assert adapter.training["later"] == [[0.5, 1], {"a": "b"}]
    assert repr(adapter) == (
        f"<Adapter 'a name', classes class 3, class 200; base tiny, {adapter.parameter_count:,} parameters>"
    )


def test_a_row_of_many_long_names_stays_short(tmp_path):
    infos = tuple(replace(ClassInfo(1, "n" * 200, "#e6194b"), value=value) for value in range(1, 101))
    assert len(class_names(infos)) < 400
    assert class_names(infos).endswith(" and 92 more")


def test_what_is_saved_can_be_read(tmp_path):
    path = tmp_path / "mine.salt.safetensors"
    path.write_bytes(described(GOOD, name="n" * 500, description="d\n" * 10_000))
    assert len(AdapterCard.read(path).description) == 20_000


def test_what_could_not_be_read_is_not_saved(tmp_path):
    path = tiny.adapter().save(tmp_path / "mine.salt.safetensors")
    before = path.read_bytes()
    with pytest.raises(AdapterError, match="the name has 501 characters; shorten it to 500"):
        replace(tiny.adapter(), name="n" * 501).save(path)
    with pytest.raises(AdapterError, match="the author has 501 characters"):
        described(before, author="n" * 501)
    assert path.read_bytes() == before


@pytest.mark.usefixtures("tiny_base")
@pytest.mark.parametrize("given", [{"class_names": {1: "n" * 201}}, {"class_colors": {1: "red"}}])
def test_classes_that_could_not_be_read_are_refused_before_training(given):
    image, truth = tiny.discs(2)
    with pytest.raises(InputError, match=r"of class 1 is .*; give"):
        next(ns.training_events(image, truth, replace(tiny.QUICK, **given)))


FILES = ["my[1].pth", "vit,v2.pth", "lab's.pth", "größe & so.pth", "x" * 240 + ".pth"]
if sys.platform == "linux":
    FILES += ["a\nb\\c.pth", os.fsdecode(b"\xff.pth")]


@pytest.mark.parametrize("name", FILES, ids=ascii)
def test_an_adapter_of_any_checkpoint_can_be_read(tmp_path, folder, name):
    image, truth = tiny.discs(2)
    checkpoint = tiny.checkpoint(tmp_path / "plain.pth").rename(tmp_path / name)
    config = replace(tiny.QUICK, base=str(checkpoint), steps=1)
    adapter = ns.train(image, tiny.painted(truth, 0), config)
    path = adapter.save(tmp_path / "a.safetensors")
    assert Adapter.load(path).base_reference() == str(checkpoint)


def test_a_seed_may_be_any(tmp_path):
    assert Adapter.load(shown(tmp_path, **trained(seed=2**63 - 1))).training["seed"] == 2**63 - 1


@pytest.mark.gui
def test_the_window_shows_markup_as_text_and_names_no_folder(desk, tmp_path):
    """What Qt makes of the panel's label is the text itself; a suggested file name is no path."""
    from qtpy.QtGui import QTextDocument
    from qtpy.QtWidgets import QFileDialog, QLineEdit

    desk.open(tiny.discs(2)[0])
    texts = dict.fromkeys(("name", "description", "author", "license"), MARKUP)
    path = shown(tmp_path, **texts, classes=classes(name=MARKUP), **trained(held_out=MARKUP, date=MARKUP))
    assert desk.widget.load(path)
    for rich in (desk.widget.model.card.text(), desk.widget.model.card.toolTip()):
        document = QTextDocument()
        document.setHtml(rich)
        assert "<h1>big</h1><img src=" in document.toPlainText()
        assert "\ufffc" not in document.toPlainText(), "a picture"
    assert [row[2] for row in desk.hands.table()] == [MARKUP, MARKUP]
    suggested = []

    def look():
        (dialog,) = (
            w for w in QApplication.topLevelWidgets() if isinstance(w, QFileDialog) and w.isVisible()
        )
        suggested.append(dialog.findChild(QLineEdit).text())
        dialog.reject()

    desk.hands.press("Save...", "", desk.hands.fill("OK", name="../../x<b>"), look)
    assert "/" not in suggested[0]
    assert "<" not in suggested[0]
