"""Downloads from a server that is well, slow, cut off, corrupted, redirecting, or wrong."""

import hashlib
import os
import stat
from dataclasses import replace

import pytest
import xxhash

from napari_salt.cli import main
from napari_salt.core.bases import download as downloading
from napari_salt.core.bases.download import DownloadProgress, download
from napari_salt.terms import registry
from napari_salt.terms.cache import known_checkpoint, remember_checkpoint
from napari_salt.terms.errors import BaseModelError
from server import serving
from stacks import names

CONTENT = bytes(range(256)) * 12_000
HALF = len(CONTENT) // 2


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(downloading, "PAUSE", 0.0)
    with serving(CONTENT) as server:
        yield server


@pytest.fixture
def spec(server, folder):
    return replace(
        registry.BASES["sam-vit-b"],
        url=server.url,
        file="weights.pth",
        digest=f"sha256:{hashlib.sha256(CONTENT).hexdigest()}",
        size=len(CONTENT),
    )


def kept(folder):
    """Names in the cache folder, the lock left out."""
    return [name for name in names(folder) if not name.endswith(".lock")]


def leave(folder, content):
    """What an earlier download left behind."""
    folder.mkdir()
    (folder / "weights.pth.part").write_bytes(content)


ENDS_WELL = {
    "well": ([], [0]),
    "cut off once": (["cut off"], [0, HALF]),
    "cut off often": (["cut off", "cut off"], [0, HALF, HALF + HALF // 2]),
    "cut off, then the server starts again": (["cut off", "no ranges"], [0, HALF]),
    "redirected": (["redirect"], [0, 0]),
    "busy": (["503", "503"], [0, 0, 0]),
    "without a length": (["no length"], [0]),
}


@pytest.mark.parametrize(("script", "asked"), ENDS_WELL.values(), ids=ENDS_WELL)
def test_it_ends_well(server, spec, folder, script, asked):
    server.script = list(script)
    events = list(download(spec))
    assert spec.checkpoint() == folder / "weights.pth"
    assert spec.checkpoint().read_bytes() == CONTENT
    assert [start for _, start in server.asked] == asked
    assert events[-1] == DownloadProgress(len(CONTENT), len(CONTENT))
    assert kept(folder) == ["weights.pth"]
    assert spec.state == "cached"


@pytest.mark.parametrize("algorithm", ["md5", "xxh128"])
def test_other_digests_are_checked(spec, folder, algorithm):
    right = (xxhash.xxh128 if algorithm == "xxh128" else hashlib.md5)(CONTENT).hexdigest()
    wrong = replace(spec, digest=f"{algorithm}:{'0' * 32}", size=0)
    with pytest.raises(BaseModelError, match=f"published as {algorithm}:0000"):
        list(download(wrong))
    assert kept(folder) == []
    list(download(replace(wrong, digest=f"{algorithm}:{right}")))
    assert kept(folder) == ["weights.pth"]


ENDS_IN_AN_ERROR = {
    "corrupted": (["corrupted"], "does not give the file that was published"),
    "missing": (["404"], "404 Not Found"),
    "always busy": (["503"] * 9, "503 Service Unavailable"),
}


@pytest.mark.parametrize(("script", "words"), ENDS_IN_AN_ERROR.values(), ids=ENDS_IN_AN_ERROR)
def test_it_ends_in_a_clear_error(server, spec, folder, script, words):
    server.script = list(script)
    with pytest.raises(BaseModelError, match=words) as caught:
        list(download(spec))
    for part in (spec.url, spec.digest, str(folder / "weights.pth")):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)
    assert kept(folder) == []


def test_a_silent_server_is_given_up(server, spec, folder, monkeypatch):
    monkeypatch.setattr(downloading, "SILENCE", 0.1)
    server.script = ["silent"] + ["503"] * 9
    with pytest.raises(BaseModelError, match="cannot be downloaded"):
        list(download(spec))
    assert kept(folder) == ["weights.pth.part"]
    server.script = []
    list(download(spec))
    assert server.asked[-1][1] > 0
    assert spec.checkpoint().read_bytes() == CONTENT


def test_a_server_that_sends_too_much_is_refused(server, spec, folder):
    server.content = CONTENT + b"more"
    with pytest.raises(BaseModelError, match=f"more than the {len(CONTENT)} bytes"):
        list(download(spec))
    assert spec.checkpoint() is None


@pytest.mark.parametrize("target", ["file:///etc/hostname", "ftp://127.0.0.1/x", "https://127.0.0.1/x"])
def test_a_redirect_to_another_scheme_is_not_followed(server, spec, folder, target):
    server.script = [f"to {target}"]
    with pytest.raises(BaseModelError, match=f"redirects to an address {target}, which") as refused:
        list(download(spec))
    assert str(folder / "weights.pth") in str(refused.value)
    assert kept(folder) == []


def test_what_has_no_published_size_is_limited(server, spec, folder, monkeypatch):
    monkeypatch.setattr(downloading, "MAX_BYTES", HALF)
    with pytest.raises(BaseModelError, match=f"more than the {HALF} bytes"):
        list(download(replace(spec, size=0)))
    assert (folder / "weights.pth.part").stat().st_size <= HALF


@pytest.mark.skipif(os.name == "nt", reason="rights are of another kind on Windows")
def test_the_cache_folder_is_the_users_alone(spec, folder):
    list(download(replace(spec, file="deep/weights.pth")))
    assert {stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / "deep")} == {0o700}


def test_no_server_is_told(spec, folder):
    with pytest.raises(BaseModelError, match="cannot be downloaded"):
        list(download(replace(spec, url="http://127.0.0.1:9/weights.pth")))
    assert kept(folder) == []


def test_a_stopped_download_goes_on(server, spec, folder):
    events = download(spec)
    next(events)
    events.close()
    assert kept(folder) == ["weights.pth.part"]
    assert spec.checkpoint() is None
    begun = (folder / "weights.pth.part").stat().st_size
    list(download(spec))
    assert server.asked[-1][1] == begun > 0
    assert spec.checkpoint().read_bytes() == CONTENT


def test_damage_to_what_was_left_is_mended(server, spec, folder):
    leave(folder, b"?" * HALF)
    list(download(spec))
    assert [start for _, start in server.asked] == [HALF, 0]
    assert spec.checkpoint().read_bytes() == CONTENT


@pytest.mark.parametrize("size", [0, len(CONTENT)])
def test_what_is_complete_is_not_asked_for_again(server, spec, folder, size):
    leave(folder, CONTENT)
    list(download(replace(spec, size=size)))
    assert kept(folder) == ["weights.pth"]
    assert len(server.asked) == (size == 0)


def test_two_at_once_download_once(server, spec, folder):
    first, second = download(spec), download(spec)
    next(first)
    assert next(second).received <= len(CONTENT)
    list(first)
    list(second)
    assert len(server.asked) == 1
    assert kept(folder) == ["weights.pth"]


def test_a_folder_that_cannot_be_made_is_named(spec, folder):
    folder.write_bytes(b"a file in its place")
    with pytest.raises(BaseModelError, match=r"cannot be saved.*save it as"):
        list(download(spec))


def test_the_command_line_downloads(server, spec, folder, monkeypatch, capsys):
    monkeypatch.setitem(registry.BASES, spec.name, spec)
    assert main(["bases", "--download", spec.name]) == 0
    told = capsys.readouterr()
    assert "sam-vit-b  sam-vit  Apache-2.0  input 1024x1024  3 MB  cached" in told.out
    assert "sam-vit-b: 100 %" in told.err
    assert main(["bases", "--download", "nonsense"]) == 2
    assert "unknown base model 'nonsense'" in capsys.readouterr().err


# Where files lie


def test_a_noted_file_is_found_while_it_is_there(spec, folder, tmp_path):
    path = tmp_path / "mine.pth"
    path.write_bytes(CONTENT)
    remember_checkpoint(path, [spec.digest, "weights:1"])
    assert spec.checkpoint() == known_checkpoint("none", "weights:1") == path
    path.write_bytes(CONTENT + b"changed")
    assert spec.checkpoint() is None
    remember_checkpoint(path, [spec.digest])
    assert spec.checkpoint() == path
    path.unlink()
    assert spec.checkpoint() is None


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"sha256:1": 3}', b'{"sha256:1": {"path": 3}}', b"\xff"])
def test_damaged_notes_are_begun_anew(folder, tmp_path, content):
    folder.mkdir()
    (folder / "checkpoints.json").write_bytes(content)
    assert known_checkpoint("sha256:1") is None
    (tmp_path / "mine.pth").write_bytes(b"")
    remember_checkpoint(tmp_path / "mine.pth", ["sha256:1"])
    assert known_checkpoint("sha256:1") == tmp_path / "mine.pth"
