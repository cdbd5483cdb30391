"""Giving adapters to others, and getting them back: Hugging Face and Zenodo, by servers on this machine."""

import base64
import hashlib
import json
import threading
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import tiny
from napari_salt.cli import main
from napari_salt.terms.card import AdapterCard
from napari_salt.terms.errors import InputError
from napari_salt.terms.fetching import fetched
from napari_salt.terms.readme import body_of
from napari_salt.terms.web import send

ADAPTER = tiny.adapter()
GOOD = replace(ADAPTER, name="Mito*chondria", description="for <b>EM</b>\n| of flies").to_bytes()
COMMIT = "a" * 40


class Site(ThreadingHTTPServer):
    """What Hugging Face and Zenodo answer, as far as it is asked here; keeps the files that it is sent.

    Parameters
    ----------
    answers
        By method and path, "METHOD /path": status and JSON.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.asked, self.files, self.tokens = {}, [], {}, set()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def answer(self):
        path = self.path.partition("?")[0]
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.server.asked.append((self.command, self.path, body))
        self.server.tokens.add(self.headers["Authorization"])
        if path.startswith("/bucket/"):
            self.server.files[path.rpartition("/")[2]] = body
            status, told = 201, {}
        elif path.endswith("/preupload/main"):
            names = [file["path"] for file in json.loads(body)["files"]]
            files = [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]
            status, told = 200, {"files": files}
        elif path.endswith("/commit/main"):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.server.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            status, told = (
                200,
                {"commitUrl": f"{self.server.url}/me/mito/commit/{COMMIT}", "commitOid": COMMIT},
            )
        else:
            status, told = self.server.answers.get(f"{self.command} {path}", (404, {"error": "not here"}))
        content = told if isinstance(told, bytes) else json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        if status == 404:
            self.send_header(
                "X-Error-Code", "EntryNotFound"
            )  # as Hugging Face says that there is no such file
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_HEAD = do_POST = do_PUT = answer  # noqa: N815 (their names)


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAPARI_SALT_LIBRARY", str(tmp_path / "library"))
    (tmp_path / "mito.salt.safetensors").write_bytes(GOOD)
    with serving() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("NAPARI_SALT_ZENODO", server.url)
        yield server


@contextmanager
def serving():
    with Site() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def publish(capsys, *arguments, code=0):
    """The last line on the terminal of ``napari-salt adapters publish``, which ends with this code."""
    assert main(["adapters", "publish", "mito.salt.safetensors", *arguments]) == code
    told = capsys.readouterr()
    return (told.out if code == 0 and "--json" in arguments else told.err).splitlines()[-1]


def test_hugging_face_gets_the_adapter_and_its_page(site, capsys, monkeypatch):
    pytest.importorskip("huggingface_hub")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    site.answers["POST /api/repos/create"] = 200, {"url": f"{site.url}/me/mito"}
    site.answers["POST /api/validate-yaml"] = 200, {"errors": [], "warnings": []}
    to = ("--to", "huggingface:me/mito", "--author", "Ann")
    told = json.loads(publish(capsys, *to, "--private", "--json"))
    assert told["address"] == f"{site.url}/me/mito"
    made = next(json.loads(body) for _, path, body in site.asked if path == "/api/repos/create")
    assert made.get("visibility", made.get("private")) in ("private", True), "newer packages, and older ones"
    assert site.tokens - {None} == {"Bearer hf_secret"}
    content = site.files["mito.salt.safetensors"]
    assert AdapterCard.from_bytes(content).author == "Ann"
    page = site.files["README.md"].decode()
    assert page.startswith("---\n")
    assert {"license: cc0-1.0", "library_name: napari-salt"} <= set(page.partition("\n---\n")[0].splitlines())
    assert "napari-salt adapters add huggingface:me/mito" in page
    site.answers["HEAD /me/mito/resolve/main/README.md"] = 200, {}
    site.files.clear()
    publish(capsys, *to)
    assert list(site.files) == ["mito.salt.safetensors"], "a page that is there stays as it is"


def test_what_hugging_face_refuses_is_told_in_one_line(site, capsys, monkeypatch):
    pytest.importorskip("huggingface_hub")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    site.answers["POST /api/repos/create"] = 401, {"error": "Invalid token"}
    told = publish(capsys, "--to", "huggingface:me/mito", code=2)
    assert "does not take it: " in told
    assert "hf auth login" in told
    assert "hf_secret" not in told
    monkeypatch.setenv("HF_ENDPOINT", "http://example.org")
    told = publish(capsys, "--to", "huggingface:me/mito", code=2)
    assert "a token is to be sent to http://example.org, which does not begin with https://" in told


def test_zenodo_gets_a_draft_that_is_not_published(site, capsys, monkeypatch):
    monkeypatch.setenv("ZENODO_TOKEN", "z_secret")
    links = {"bucket": f"{site.url}/bucket/1", "html": f"{site.url}/deposit/1", "publish": f"{site.url}/no"}
    site.answers["POST /api/deposit/depositions"] = 201, {"id": 1, "links": links}
    told = publish(capsys, "--to", "zenodo")
    assert f"the draft is at {site.url}/deposit/1" in told
    assert site.files["mito.salt.safetensors"] == GOOD
    assert site.files["README.md"].decode().startswith("# Mito\\*chondria\n")
    assert [(method, path) for method, path, _ in site.asked] == [
        ("POST", "/api/deposit/depositions"),
        ("PUT", "/bucket/1/mito.salt.safetensors"),
        ("PUT", "/bucket/1/README.md"),
    ]
    assert site.tokens == {"Bearer z_secret"}
    about = json.loads(site.asked[0][2])["metadata"]
    assert (about["title"], about["license"]) == ("Mito*chondria", "cc0-1.0")
    assert about["creators"] == [{"name": "somebody"}]
    assert about["description"].startswith("<p>for &lt;b&gt;EM&lt;/b&gt;")


def test_the_token_goes_nowhere_else(site, capsys, monkeypatch):
    assert "there is no token in ZENODO_TOKEN" in publish(capsys, "--to", "zenodo", code=2)
    monkeypatch.setenv("ZENODO_TOKEN", "z_secret")
    links = {"bucket": "https://example.org/bucket", "html": "x"}
    site.answers["POST /api/deposit/depositions"] = 201, {"links": links}
    told = publish(capsys, "--to", "zenodo", code=2)
    assert "wants the files at https://example.org/bucket; the token is not sent there" in told
    site.answers["POST /api/deposit/depositions"] = 403, {"message": "no\x1b[2J scope"}
    told = publish(capsys, "--to", "zenodo", code=2)
    assert "403" in told
    assert "scope" in told
    assert "z_secret" not in told
    site.answers["POST /api/deposit/depositions"] = 201, {"links": []}
    assert "made no draft" in publish(capsys, "--to", "zenodo", code=2)
    for address in ("http://example.org/x", "file:///etc/hostname", "http://127.0.0.1.example.org/"):
        with pytest.raises(InputError, match="a token is to be sent to"):
            send(address, "POST", b"", {}, 1.0)


def test_a_redirect_is_not_followed_with_a_token(site):
    site.answers["POST /moved"] = 302, {}
    with pytest.raises(OSError, match="302"):
        send(f"{site.url}/moved", "POST", b"", {}, 5.0)
    assert len(site.asked) == 1


def test_what_others_need_must_be_said(site, capsys):
    Path("mito.salt.safetensors").write_bytes(replace(ADAPTER, author="", license=" ").to_bytes())
    assert "the adapter has no author, which others need" in publish(capsys, "--to", "zenodo", code=2)
    told = publish(capsys, "--to", "zenodo", "--author", "Ann", code=2)
    assert "has no license" in told
    told = publish(capsys, "--to", "elsewhere", "--author", "Ann", "--license", "CC0-1.0", code=2)
    assert "--to is 'elsewhere'; give huggingface:OWNER/NAME or zenodo" in told
    assert not site.asked


def test_a_dry_run_sends_nothing_and_shows_the_page(site, capsys):
    assert main(["adapters", "publish", "mito.salt.safetensors", "--to", "zenodo", "--dry-run"]) == 0
    page = capsys.readouterr().out
    assert "| 3 | class 3 | 0.50 |" in page
    assert not site.asked


def test_texts_of_the_file_are_no_markup_on_the_page():
    card = replace(AdapterCard.from_bytes(GOOD), author="a|b [x](y)")
    page = body_of(card, "mito", "zenodo:1")
    assert "for \\<b\\>EM\\</b\\>  \n\\| of flies" in page
    assert "| author | a\\|b \\[x\\]\\(y\\) |" in page


def repository(server, large, **changes):
    """What Hugging Face says of a repository with an adapter and a page."""
    blob = hashlib.sha1(b"blob %d\0" % len(GOOD) + GOOD).hexdigest()
    adapter = {"rfilename": "deep/a b.salt.safetensors", "blobId": "0" * 40 if large else blob}
    if large:
        adapter["lfs"] = {"sha256": hashlib.sha256(GOOD).hexdigest(), "size": len(GOOD)}
    page = {"rfilename": "README.md", "blobId": "0" * 40}
    server.answers["GET /api/models/me/mito"] = 200, {"sha": COMMIT, "siblings": [page, adapter | changes]}
    server.answers[f"GET /me/mito/resolve/{COMMIT}/deep/a%20b.salt.safetensors"] = 200, GOOD


@pytest.mark.parametrize("source", ["huggingface:me/mito", "https://huggingface.co/me/mito"])
@pytest.mark.parametrize("lfs", [True, False])
def test_adapters_come_from_a_repository(site, source, lfs):
    repository(site, lfs)
    (found,) = fetched(source)
    assert (found.name, found.content) == ("a b", GOOD)
    assert site.tokens == {None}
    repository(site, lfs, **({"lfs": {"sha256": "0" * 64}} if lfs else {"blobId": "0" * 40}))
    with pytest.raises(InputError, match="instead of 0000"):
        list(fetched(source))


@pytest.mark.parametrize(
    "told",
    [
        [],
        {"sha": "main", "siblings": []},
        {"sha": 3, "siblings": []},
        {"sha": COMMIT, "siblings": [{"rfilename": "x.safetensors"}]},
        {"sha": COMMIT, "siblings": [{"rfilename": "x.safetensors", "lfs": 3}]},
    ],
)
def test_an_odd_answer_of_hugging_face_is_refused(site, told):
    site.answers["GET /api/models/me/mito"] = 200, told
    with pytest.raises(InputError, match="does not describe a repository"):
        list(fetched("huggingface:me/mito"))


def test_a_repository_without_adapters_is_told_of(site):
    site.answers["GET /api/models/me/mito"] = 200, {"sha": COMMIT, "siblings": []}
    with pytest.raises(InputError, match="the repository me/mito of Hugging Face holds no"):
        list(fetched("huggingface:me/mito"))
