"""Bases of every kind: recognised by content, the same as their own code, adapted like each other."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from segment_anything import SamPredictor, sam_model_registry
from torch.nn import functional as F

import checkpoints
import napari_salt as ns
import tiny
from napari_salt import samples
from napari_salt.cli import main
from napari_salt.core import registry, vit
from napari_salt.core.adapter import Adapter
from napari_salt.core.bases import load_base
from napari_salt.core.checkpoints import kind_of
from napari_salt.core.errors import AdapterError, BaseModelError
from napari_salt.core.salt import adapted_layers
from napari_salt.core.segmenter import Segmenter
from napari_salt.io import read_labels, read_stack
from stacks import save
from test_adapter import Trap

SALT = ns.SaltConfig(rank=4, lora_rank=1)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_SALT_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A checkpoint of each kind with random weights."""
    folder = tmp_path_factory.mktemp("files")
    return {
        "tiny": tiny.checkpoint(folder / "tiny.pth"),
        "shallow": checkpoints.write(checkpoints.shallow_sam(), folder / "shallow.pth"),
        "mobile": checkpoints.write(checkpoints.mobile_sam(), folder / "mobile.pt"),
    }


@pytest.fixture(scope="module")
def nuclei():
    """The sample's painted slices (Z, Y, X), and their paint."""
    slices = list(samples.PAINTED_SLICES)
    image, labels = read_stack(samples.nuclei3d_image()), read_labels(samples.nuclei3d_labels())
    return np.asarray(image.data)[slices], labels.data.compute()[slices]


# As their own code computes


@pytest.mark.parametrize(("file", "own"), [("shallow", SamPredictor), ("mobile", None)])
@torch.no_grad()
def test_embeddings_and_masks_are_those_of_the_predictor(files, file, own):
    if own is None:
        from mobile_sam import SamPredictor as own  # noqa: N813
    sam = checkpoints.shallow_sam() if file == "shallow" else checkpoints.mobile_sam()
    predictor = own(sam)
    image = np.random.default_rng(0).integers(0, 256, (1024, 1024, 3), np.uint8)
    predictor.set_image(image)
    base = load_base(str(files[file]))
    model = Segmenter(base.module, base.spec, 1, None)
    embeddings = model.encode(torch.from_numpy(image).permute(2, 0, 1)[None] / 255)
    assert embeddings.std() > 0.5
    torch.testing.assert_close(embeddings, predictor.features, atol=1e-4, rtol=1e-4)
    low_res_masks, _ = sam.mask_decoder(
        image_embeddings=predictor.features,
        image_pe=sam.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=model.class_tokens[:, None],
        dense_prompt_embeddings=sam.prompt_encoder.no_mask_embed.weight.view(1, -1, 1, 1).expand(
            1, -1, 64, 64
        ),
        multimask_output=False,
    )
    expected = sam.postprocess_masks(low_res_masks, (1024, 1024), (1024, 1024))
    torch.testing.assert_close(model.decode(embeddings), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["vit_b", "vit_l", "vit_h"])
def test_metas_models_are_built_as_meta_builds_them(name):
    with torch.device("meta"):
        own = sam_model_registry[name]()
    ours = vit.build_vit(own.state_dict(), 1024)
    assert kind_of(own.state_dict()) == "sam-vit"
    assert vit.native_size(own.state_dict()) == 1024
    shapes = [{n: t.shape for n, t in model.state_dict().items()} for model in (own, ours)]
    assert shapes[0] == shapes[1]
    for block, expected in zip(ours.image_encoder.blocks, own.image_encoder.blocks, strict=True):
        assert block.window_size == expected.window_size
        assert (block.attn.num_heads, block.attn.scale) == (expected.attn.num_heads, expected.attn.scale)
        assert block.norm1.eps == expected.norm1.eps
    assert ours.mask_decoder.transformer.num_heads == own.mask_decoder.transformer.num_heads


# Other input sizes


@torch.no_grad()
def test_smaller_inputs_see_the_same_image(files):
    """A smooth image at half the size has the embedding of the whole one, at half the size."""
    state = checkpoints.shallow_sam().state_dict()
    ramp = torch.linspace(-1, 1, 64)
    axes = torch.stack(torch.meshgrid(ramp, ramp, indexing="ij"), -1)
    waves = torch.randn(2, 64, generator=torch.Generator().manual_seed(1))
    state["image_encoder.pos_embed"] = torch.sin(2 * axes @ waves)[None]
    image = torch.sin(torch.linspace(0, 6, 1024))[None, None, :, None].expand(1, 3, 1024, 1024)
    whole = vit.build_vit(state, 1024).eval().image_encoder(image)
    for size, least in ((512, 0.95), (256, 0.85)):  # without interpolation: 0.67 and 0.55
        small = F.interpolate(image, (size, size), mode="area")
        found = vit.build_vit(state, size).eval().image_encoder(small)
        expected = F.interpolate(whole, found.shape[-2:], mode="area")
        patterns = [(e - e.mean((2, 3), keepdim=True)).flatten() for e in (found, expected)]
        assert F.cosine_similarity(*patterns, dim=0) > least


def test_interpolation_keeps_constants_and_ramps():
    state = tiny.module().state_dict()
    name, offsets = "image_encoder.pos_embed", "image_encoder.blocks.1.attn.rel_pos_h"
    state[name] = torch.full_like(state[name], 3.0)
    ramp = torch.arange(15.0)[:, None] - 7
    state[offsets] = ramp.expand_as(state[offsets]).clone()
    half = vit.build_vit(state, 128).state_dict()
    torch.testing.assert_close(half[name], torch.full((1, 16, 16, tiny.CHANNELS), 3.0))
    column = half[offsets][:, 0]
    assert column.shape == (31,)
    torch.testing.assert_close(column, -column.flip(0), atol=1e-5, rtol=0)
    steps = column.diff()[2:-2]
    torch.testing.assert_close(steps, torch.full_like(steps, 15 / 31))
    windowed = "image_encoder.blocks.0.attn.rel_pos_h"
    assert torch.equal(half[windowed], state[windowed])


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("sam-vit-b@100", r"inputs of 100 pixels; use a multiple of 16 from 64, such as sam-vit-b@512"),
        ("mobile-sam@48", "multiple of 16 from 64"),
        ("lite-medsam@512", "takes only inputs of 256 pixels"),
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


# Large models


def test_checkpointed_gradients_are_the_same_in_less_memory(monkeypatch):
    state = tiny.module().state_dict()
    found = []
    for large in (512, 0):
        monkeypatch.setattr(vit, "LARGE", large)
        encoder = vit.build_vit(state, 64).image_encoder
        kept = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t, k=kept: k.append(t.numel()) or t, lambda t: t
        ):
            encoder(tiny.images(2)).square().sum().backward()
        found.append(([p.grad for p in encoder.parameters()], sum(kept)))
    (plain, memory), (checkpointed, less) = found
    for gradient, expected in zip(checkpointed, plain, strict=True):
        torch.testing.assert_close(gradient, expected)
    assert less < memory / 2


# Adapted like each other


@pytest.mark.parametrize("reference", ["tiny", "tiny@128", "shallow@64", "mobile@64"])
def test_salt_trains_saves_loads_and_segments(files, nuclei, tmp_path, reference):
    image, labels = nuclei
    file, _, size = reference.partition("@")
    config = ns.TrainConfig(base=str(files[file]) + (f"@{size}" if size else ""), steps=2, salt=SALT)
    adapter = ns.train(image, labels, config)
    kind = "mobile-sam" if file == "mobile" else "sam-vit"
    assert adapter.base_model == f"{kind}:{files[file].name}" + (f"@{size}" if size else "")
    loaded = Adapter.load(adapter.save(tmp_path / "a.safetensors"))
    found = ns.segment(image, loaded, ns.SegmentConfig(slices=(1,), views=1))
    assert set(np.unique(found)) <= {0, 1}
    assert found[1].any()
    assert not found[0].any()


@pytest.mark.parametrize(
    ("file", "frozen"),
    [
        ("tiny", ("patch_embed", "pos")),
        ("mobile", ("image_encoder.layers.0", "patch_embed", "attention_biases")),
    ],
)
def test_positions_and_patches_stay_frozen(files, file, frozen):
    base = load_base(f"{files[file]}@64")
    model = Segmenter(base.module, base.spec, 1, SALT)
    trainable = [name for name, p in model.named_parameters() if p.requires_grad]
    assert not [name for name in trainable for part in frozen if part in name]
    layers = adapted_layers(model)
    assert {name.rsplit(".", 1)[-1] for name in layers} >= (
        {"qkv", "proj", "lin1", "lin2"} if file == "tiny" else {"qkv", "proj", "fc1", "fc2"}
    )
    assert any(name.startswith("image_encoder.neck") for name in layers)


# Recognised by content


def in_a_container(state):
    return {"model": state, "optimizer": {"lr": 0.1}, "epoch": 3}


def behind_prefixes(state):
    return {f"module.sam.{name}": tensor for name, tensor in state.items()}


def with_a_classifier(state):
    return {**state, "image_encoder.norm_head.weight": torch.ones(3), "extra": torch.ones(1)}


@pytest.mark.parametrize("wrap", [in_a_container, behind_prefixes, with_a_classifier, "safetensors"])
def test_the_same_weights_in_other_files_are_the_same(files, tmp_path, wrap):
    state = torch.load(files["tiny"], weights_only=True)
    if wrap == "safetensors":
        path = tmp_path / "other.safetensors"
        save_file(state, path)
    else:
        path = tmp_path / "other.pth"
        torch.save(wrap(state), path)
    one, other = load_base(str(files["tiny"])), load_base(str(path))
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


def test_a_file_of_the_registry_is_known_by_its_digest(files, monkeypatch):
    digest = load_base(str(files["tiny"])).sha256
    spec = replace(registry.BASES["vit_b_lm"], digest=f"sha256:{digest}", input_size=64)
    monkeypatch.setitem(registry.BASES, spec.name, spec)
    assert load_base(str(files["tiny"])).spec.name == "vit_b_lm"
    assert spec.state == "cached"
    assert load_base("vit_b_lm@128").spec.name == "vit_b_lm@128"


@pytest.mark.parametrize("digest", ["sha256:" + "0" * 64, "md5:" + "0" * 32, "xxh128:" + "0" * 32])
def test_a_file_with_another_digest_is_refused(files, monkeypatch, digest):
    spec = replace(registry.BASES["vit_b_lm"], digest=digest)
    monkeypatch.setitem(registry.BASES, spec.name, spec)
    spec.place.parent.mkdir()
    shutil.copy(files["tiny"], spec.place)
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


# Adapters of local checkpoints


@pytest.fixture
def stack(tmp_path, monkeypatch):
    """In the working folder: a stack, its labels, and an adapter trained on a local checkpoint."""
    monkeypatch.chdir(tmp_path)
    image, truth = tiny.discs()
    save(tmp_path, image, "image.tif")
    save(tmp_path, tiny.painted(truth, 1, 4), "labels.tif")
    base = tiny.checkpoint(tmp_path / "mine.pth")
    train = [
        "train",
        "image.tif",
        "labels.tif",
        "--out",
        "a.safetensors",
        "--base",
        str(base),
        "--steps",
        "1",
    ]
    assert main(train) == 0
    return base


def segmenting(*arguments):
    return main(["segment", "image.tif", "--adapter", "a.safetensors", "--out", "out.tif", *arguments])


def test_a_checkpoint_that_moved_is_asked_for_and_taken(stack, capsys):
    assert segmenting() == 0
    moved = stack.rename("moved.pth")
    assert segmenting() == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert "needs the sam-vit checkpoint 'mine.pth' (sha256 " in message
    assert "--base" in message
    assert segmenting("--base", str(moved)) == 0
    assert segmenting() == 0
    again = ["train", "image.tif", "labels.tif", "--out", "b.safetensors", "--init", "a.safetensors"]
    assert main([*again, "--steps", "1"]) == 0
    assert Adapter.load("b.safetensors").base_model == "sam-vit:moved.pth"


def test_a_checkpoint_with_other_weights_is_refused(stack, capsys):
    tiny.checkpoint("other.pth", seed=1)
    assert segmenting("--base", "other.pth") == 2
    assert "trained on base model 'sam-vit:mine.pth'" in capsys.readouterr().err
    assert segmenting("--base", "lite-medsam") == 2
    assert "not 'lite-medsam'; leave --base out" in capsys.readouterr().err


def test_no_path_is_in_the_adapter(stack):
    assert str(stack.parent).encode() not in Path("a.safetensors").read_bytes()


def test_an_overwritten_checkpoint_is_not_taken(stack):
    tiny.checkpoint(stack, seed=1)
    with pytest.raises(AdapterError, match=r"needs the sam-vit checkpoint 'mine.pth'"):
        Adapter.load("a.safetensors").build()
