"""The registry of base models, and checkpoints recognised by what is in them."""

import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

import tiny
from napari_salt.core.bases.load import load_base
from napari_salt.terms import registry
from napari_salt.terms.errors import BaseModelError
from test_adapter import Trap


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_SALT_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return tiny.checkpoint(tmp_path_factory.mktemp("files") / "tiny.pth")


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("sam-vit-b@100", "100 pixels; use a multiple of 16 from 64 to 4096, such as sam-vit-b@512"),
        ("mobile-sam@48", "multiple of 16 from 64"),
        ("lite-medsam@250", "use a multiple of 8 from 32 to 4096, such as lite-medsam@512"),
        ("x" * 5000 + "@64", "unknown base model 'xxx"),
        ("sam-vit-9", "unknown base model 'sam-vit-9'; there are: lite-medsam, mobile-sam, sam-vit-b"),
    ],
)
def test_what_cannot_be_is_named(reference, words):
    with pytest.raises(BaseModelError, match=words):
        registry.base_spec(reference)


def test_the_size_is_part_of_the_name():
    spec = registry.base_spec("sam-vit-b@512")
    assert (spec.name, spec.input_size) == ("sam-vit-b@512", 512)
    assert registry.base_spec("sam-vit-b@1024") == registry.BASES["sam-vit-b"]
    assert replace(spec, name="sam-vit-b", input_size=1024) == registry.BASES["sam-vit-b"]


# Recognised by content


def in_a_container(state):
    return {"model": state, "optimizer": {"lr": 0.1}, "epoch": 3}


def behind_prefixes(state):
    return {f"module.sam.{name}": tensor for name, tensor in state.items()}


def with_a_classifier(state):
    return {**state, "image_encoder.norm_head.weight": torch.ones(3), "extra": torch.ones(1)}


@pytest.mark.parametrize("wrap", [in_a_container, behind_prefixes, with_a_classifier, "safetensors"])
def test_the_same_weights_in_other_files_are_the_same(checkpoint, tmp_path, wrap):
    state = torch.load(checkpoint, weights_only=True)
    if wrap == "safetensors":
        path = tmp_path / "other.safetensors"
        save_file(state, path)
    else:
        path = tmp_path / "other.pth"
        torch.save(wrap(state), path)
    one, other = load_base(str(checkpoint)), load_base(str(path))
    assert other.weights_sha256 == one.weights_sha256 == tiny.base().weights_sha256
    assert other.sha256 != one.sha256
    adapter = replace(
        tiny.adapter(),
        base_model="sam-vit:tiny.pth",
        base_sha256="0" * 64,
        salt=replace(tiny.SALT, targets=tiny.SPEC.targets),
    )
    assert adapter.build(base=other).input_size == tiny.SIZE


def test_a_fine_tuned_lite_medsam_is_recognised(tmp_path):
    state = load_base("lite-medsam").module.state_dict()
    state["mask_decoder.iou_token.weight"] = torch.ones(1, 256)
    torch.save({"model": state, "epoch": 7}, tmp_path / "tuned.pth")
    base = load_base(str(tmp_path / "tuned.pth"))
    assert replace(base.spec, name="", licence="", digest="", size=0) == replace(
        registry.BASES["lite-medsam"],
        name="",
        licence="",
        digest="",
        size=0,
        package="",
        file="",
    )
    assert base.spec.name == "tiny-vit:tuned.pth"
    assert torch.equal(base.module.mask_decoder.iou_token.weight, torch.ones(1, 256))


@pytest.mark.parametrize("spec", registry.BASES.values(), ids=registry.BASES)
def test_entries_of_the_registry_are_whole(spec):
    algorithm, digest = spec.digest.split(":")
    assert len(bytes.fromhex(digest)) == {"sha256": 32, "md5": 16, "xxh128": 16}[algorithm]
    assert spec.url.startswith("https://") != bool(spec.package)
    assert spec.targets == registry.KINDS[spec.kind].targets
    assert spec.state == ("bundled" if spec.package else f"download from {spec.url}")
    assert [other.file for other in registry.BASES.values()].count(spec.file) == 1


def test_a_file_of_the_registry_is_known_by_its_digest(checkpoint, monkeypatch):
    digest = load_base(str(checkpoint)).sha256
    spec = replace(registry.BASES["vit_b_lm"], digest=f"sha256:{digest}", input_size=64)
    monkeypatch.setitem(registry.BASES, spec.name, spec)
    assert load_base(str(checkpoint)).spec.name == "vit_b_lm"
    assert spec.state == "cached"
    assert load_base("vit_b_lm@128").spec.name == "vit_b_lm@128"


@pytest.mark.parametrize("digest", ["sha256:" + "0" * 64, "md5:" + "0" * 32, "xxh128:" + "0" * 32])
def test_a_file_with_another_digest_is_refused(checkpoint, monkeypatch, digest):
    spec = replace(registry.BASES["vit_b_lm"], digest=digest)
    monkeypatch.setitem(registry.BASES, spec.name, spec)
    spec.place.parent.mkdir()
    shutil.copy(checkpoint, spec.place)
    with pytest.raises(
        BaseModelError, match=f"{digest.partition(':')[0]} .* instead of 0000.*download it again"
    ):
        load_base("vit_b_lm")


def test_a_missing_base_says_where_it_is_got_and_put(tmp_path):
    with pytest.raises(BaseModelError) as caught:
        load_base("medsam-vit-b@256")
    parts = (
        "bases --download medsam-vit-b",
        "https://zenodo.org/records/10689643/files/medsam_vit_b.pth",
        "md5:3bb6db55bd0c9ca30b61248bca72f8d6",
        str(tmp_path / "cache"),
    )
    assert all(part in str(caught.value) for part in parts)


def trap(path):
    torch.save({"a": Trap(path.parent / "sprung")}, path)


def of_something_else(path):
    torch.save({"conv.weight": torch.ones(2)}, path)


def without_a_decoder(path):
    state = tiny.module().state_dict()
    torch.save({n: t for n, t in state.items() if not n.startswith("mask_decoder")}, path)


def of_another_encoder(path):
    torch.save({"image_encoder.trunk.weight": torch.ones(2)}, path)


def with_a_part_too_many(path):
    torch.save({**tiny.module().state_dict(), "mask_decoder.hf_token.weight": torch.ones(2)}, path)


WRONG_FILES = {
    "code": (trap, "not a readable checkpoint"),
    "text": (lambda path: path.write_text("hello"), "not a readable checkpoint"),
    "empty": (lambda path: path.write_bytes(b""), "not a readable checkpoint"),
    "cut": (
        lambda path: path.write_bytes(tiny.checkpoint(path).read_bytes()[:9000]),
        "not a readable checkpoint",
    ),
    "a list": (lambda path: torch.save([1], path), "holds no weights of image_encoder"),
    "something else": (of_something_else, "holds no weights of image_encoder"),
    "no decoder": (without_a_decoder, "weights do not fit .*mask_decoder"),
    "another encoder": (of_another_encoder, "no checkpoint of a known kind"),
    "one part too many": (with_a_part_too_many, "weights do not fit .*hf_token"),
}


@pytest.mark.parametrize(("write", "words"), WRONG_FILES.values(), ids=WRONG_FILES)
def test_a_wrong_file_is_named(tmp_path, write, words):
    path = tmp_path / "wrong.pth"
    write(path)
    with pytest.raises(BaseModelError, match=words) as caught:
        load_base(str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "sprung").exists()
