"""The library of adapters on the command line, and getting adapters from elsewhere."""

import hashlib
import json
import os
import stat
from dataclasses import replace

import pytest

import tiny
from napari_salt.cli import main
from napari_salt.core.adapt.adapter import Adapter
from napari_salt.core.paint.likeness import mean_profile
from napari_salt.core.paint.preprocess import SliceReader
from napari_salt.terms.card import AdapterCard
from napari_salt.terms.errors import AdapterError, InputError
from napari_salt.terms.fetching import fetched
from napari_salt.terms.library import Library
from napari_salt.terms.preprocess import Preprocess
from server import serving
from stacks import imagej, names, save

GOOD = replace(tiny.adapter(), name="Mitochondria", description="for EM\nof flies").to_bytes()
HASH = hashlib.sha256(GOOD).hexdigest()


@pytest.fixture(autouse=True)
def library(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_SALT_LIBRARY", str(tmp_path / "library"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mito.salt.safetensors").write_bytes(GOOD)
    return tmp_path / "library"


def run(capsys, *arguments):
    """Exit code 0 and the JSON result of ``napari-salt adapters``."""
    assert main(["adapters", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def refused(capsys, *arguments):
    assert main(["adapters", *arguments]) == 2
    return capsys.readouterr().err


def test_adding_listing_showing_and_removing(library, capsys):
    assert run(capsys, "list")["adapters"] == []
    (added,) = run(capsys, "add", "mito.salt.safetensors")["adapters"]
    assert added["name"] == "mito"
    assert (library / "mito.salt.safetensors").read_bytes() == GOOD
    if os.name != "nt":
        assert stat.S_IMODE(library.stat().st_mode) == 0o700
    (row,) = run(capsys, "list")["adapters"]
    assert row["classes"] == ["class 3", "class 200"]
    assert (row["base_model"], row["held_out_dice"], row["author"]) == ("tiny", 0.5, "somebody")
    assert run(capsys, "show", "mito")["name"] == "Mitochondria"
    assert main(["adapters", "list"]) == 0
    line = capsys.readouterr().out
    assert line == (
        "mito: class 3, class 200; tiny; pixel size unknown; Dice 0.50; by somebody; CC0-1.0; for EM\n"
    )
    run(capsys, "remove", "mito")
    assert names(library) == []
    assert "there is no adapter 'mito'" in refused(capsys, "remove", "mito")


def test_searching(library, capsys):
    run(capsys, "add", "mito.salt.safetensors")
    run(
        capsys,
        "add",
        "mito.salt.safetensors",
        "--as",
        "other",
        "--name",
        "Nuclei",
        "--author",
        "Ann",
        "--note",
        "x",
    )
    assert [row["name"] for row in run(capsys, "list", "nuclei", "ANN")["adapters"]] == ["other"]
    assert len(run(capsys, "list", "class 200")["adapters"]) == 2
    assert run(capsys, "list", "nuclei", "somebody")["adapters"] == []
    assert AdapterCard.read(library / "other.salt.safetensors").description == "x"


def test_a_name_is_taken_once(library, capsys):
    run(capsys, "add", "mito.salt.safetensors")
    run(capsys, "add", "mito.salt.safetensors")
    told = refused(capsys, "add", "mito.salt.safetensors", "--author", "else")
    assert "holds another adapter of the name 'mito'" in told
    run(capsys, "add", "mito.salt.safetensors", "--author", "else", "--replace")
    assert names(library) == ["mito.salt.safetensors"]


@pytest.mark.parametrize("name", ["../../x", "/etc/x", "a:b", "..", "x\x1b[2J"])
def test_a_name_is_no_path(library, name):
    entry = Library().add(GOOD, name) if name != ".." else None
    if entry is None:
        with pytest.raises(InputError, match="has no name"):
            Library().add(GOOD, name)
    else:
        assert entry.path.parent == library
        assert entry.path.name.isprintable()
        assert Library().find(entry.name) == entry.path


def test_what_is_no_adapter_is_neither_added_nor_listed(library, tmp_path, capsys):
    (tmp_path / "bad.safetensors").write_bytes(GOOD[:-4])
    assert "not a readable adapter file" in refused(capsys, "add", "bad.safetensors")
    assert not library.exists()
    run(capsys, "add", "mito.salt.safetensors")
    (library / "broken.safetensors").write_bytes(b"x")
    assert [row["name"] for row in run(capsys, "list")["adapters"]] == ["mito"]


def test_a_folder_is_added_whole(tmp_path, capsys):
    (tmp_path / "folder").mkdir()
    assert "there is no .safetensors file in folder" in refused(capsys, "add", "folder")
    for name in ("a.safetensors", "b.salt.safetensors", ".hidden.safetensors"):
        (tmp_path / "folder" / name).write_bytes(GOOD)
    assert [row["name"] for row in run(capsys, "add", "folder")["adapters"]] == ["a", "b"]
    assert "holds 2 adapters; leave --as out" in refused(capsys, "add", "folder", "--as", "c")


def test_a_name_of_the_library_is_an_adapter_for_other_commands(library, capsys, monkeypatch):
    tiny.use(monkeypatch)
    run(capsys, "add", "mito.salt.safetensors", "--as", "kept")
    assert main(["segment", "no.tif", "--adapter", "kept", "--out", "out.tif"]) == 2
    assert "no.tif does not exist" in capsys.readouterr().err
    save(library.parent, tiny.discs(2)[0], "image.tif")
    assert main(["segment", "image.tif", "--adapter", "unknown", "--out", "out.tif"]) == 2
    assert "no adapter at unknown" in capsys.readouterr().err


def test_an_address_with_its_hash(capsys):
    with serving(GOOD) as server:
        address = f"http://127.0.0.1:{server.server_port}/some/mito%20x.salt.safetensors"
        (added,) = run(capsys, "add", f"{address}#sha256={HASH}")["adapters"]
        assert added["name"] == "mito x"
        assert "instead of 000000000000" in refused(capsys, "add", f"{address}#sha256={'0' * 64}")
        assert "is no hash" in refused(capsys, "add", f"{address}#sha256=12")
        assert "is no hash" in refused(capsys, "add", f"{address}#md5=")
        server.script = ["404"]
        assert "cannot be downloaded: HTTP Error 404" in refused(capsys, "add", address)
        server.script = ["to file:///etc/hostname"]
        assert "redirects to an address file:///etc/hostname" in refused(capsys, "add", address)


@pytest.mark.parametrize("address", ["ftp://127.0.0.1/x", "file:///etc/hostname", "data://x"])
def test_other_schemes_are_refused(capsys, address):
    assert "does not begin with http:// or https://" in refused(capsys, "add", address)


def test_too_large_a_download_is_refused(capsys, monkeypatch):
    monkeypatch.setattr("napari_salt.terms.fetching.MAX_BYTES", len(GOOD) - 1)
    with serving(GOOD) as server:
        assert "an adapter is smaller" in refused(capsys, "add", server.url)
    assert "an adapter is smaller" in refused(capsys, "add", "mito.salt.safetensors")


def record(server, **changes):
    """What Zenodo says of a record with an adapter and another file."""
    link = {"self": f"http://127.0.0.1:{server.server_port}/file"}
    adapter = {"key": "deep/a.salt.safetensors", "size": len(GOOD), "links": link}
    adapter |= {"checksum": f"md5:{hashlib.md5(GOOD).hexdigest()}", **changes}
    readme = {"key": "readme.md", "size": 1, "checksum": f"md5:{'0' * 32}", "links": link}
    return json.dumps({"files": [readme, adapter]}).encode()


@pytest.mark.parametrize("source", ["zenodo:123", "https://zenodo.org/records/123", "10.5281/zenodo.123"])
def test_a_zenodo_record(monkeypatch, source):
    with serving(GOOD) as files, serving(b"") as zenodo:
        monkeypatch.setenv("NAPARI_SALT_ZENODO", f"http://127.0.0.1:{zenodo.server_port}")
        zenodo.content = record(files)
        (found,) = fetched(source)
        assert found.content == GOOD
        assert zenodo.asked[0][0] == "/api/records/123"
        zenodo.content = record(files, checksum=f"md5:{'0' * 32}")
        with pytest.raises(InputError, match="instead of 0000"):
            list(fetched(source))


@pytest.mark.parametrize("content", [b"[]", b"{}", b'{"files": 3}', b'{"files": [{}]}', b"[" * 9999, b"\xff"])
def test_an_odd_answer_of_zenodo_is_refused(monkeypatch, content):
    with serving(content) as zenodo:
        monkeypatch.setenv("NAPARI_SALT_ZENODO", f"http://127.0.0.1:{zenodo.server_port}")
        with pytest.raises(InputError, match="does not describe a record"):
            list(fetched("zenodo:1"))


def test_adapters_are_sorted_by_fit(library, tmp_path, capsys):
    """The same stack is nearest; then come other pixel sizes; colour cannot be used."""
    image = tiny.discs(3)[0]
    path = save(tmp_path, image, "image.tif", **imagej(unit="um"))  # pixels of 0.25 and 0.5 micrometres
    profile = mean_profile([SliceReader(image, Preprocess())])

    def put(name, profile, **preprocess):
        adapter = replace(
            tiny.adapter(preprocess=Preprocess(**preprocess)), training={"intensities": profile}
        )
        Library().add(adapter.to_bytes(), name)

    put("z same", profile, pixel_size=0.3535)
    put("y far", profile, pixel_size=2.0)
    put("x inverted", [[[1 - v for v in row[::-1]] for row in profile[0]]], pixel_size=0.3535)
    put("a colour", [], channels=3)
    rows = run(capsys, "list", "--for", str(path))["adapters"]
    assert rows[0]["name"] == "z same"
    assert rows[-1]["name"] == "a colour"
    assert rows[-1]["misfit"] is None
    assert "the adapter was trained on colour" in rows[-1]["why"]
    assert rows[0]["misfit"] < 0.2 < rows[1]["misfit"] < rows[2]["misfit"]


def test_texts_are_options_of_training_and_saving(tmp_path, capsys, monkeypatch):
    tiny.use(monkeypatch)
    image, truth = tiny.discs(2)
    save(tmp_path, image, "image.tif")
    save(tmp_path, tiny.painted(truth, 0), "labels.tif")
    command = ["train", "image.tif", "labels.tif", "--out", "o.safetensors", "--base", "tiny", "--steps", "1"]
    assert main([*command, "--note", "n" * 20_001]) == 2
    assert "the description has 20001 characters" in capsys.readouterr().err
    assert main([*command, "--author", "Ann", "--license", "CC-BY-4.0", "--note", "of discs"]) == 0
    adapter = Adapter.load("o.safetensors")
    assert (adapter.author, adapter.license, adapter.description) == ("Ann", "CC-BY-4.0", "of discs")
    again = Adapter.load(adapter.save("p.safetensors", author="Bob"))
    assert (again.author, again.license) == ("Bob", "CC-BY-4.0")
    with pytest.raises(AdapterError, match=r"unknown texts \['note'\]"):
        adapter.save("p.safetensors", note="x")
