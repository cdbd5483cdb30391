"""Laws of the parametrization, for every kind of layer, rank and spectrum."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import lapack
import tiny
from napari_salt.core.adapt.layers import adapted_layers, detach, merge, trainable_parameters
from napari_salt.core.adapt.salt import SaltParametrization, attach
from napari_salt.core.adapt.svd import canonical_svd
from napari_salt.terms.config import SaltConfig
from napari_salt.terms.errors import InputError

REFERENCE = Path(__file__).parent / "data" / "salt_reference_vectors.npz"

LAYERS = {
    "linear": (lambda: nn.Linear(16, 16), (4, 16)),
    "tall": (lambda: nn.Linear(6, 18), (4, 6)),
    "wide": (lambda: nn.Linear(18, 6, bias=False), (4, 18)),
    "conv 3x3": (lambda: nn.Conv2d(3, 10, 3, padding=1), (2, 3, 7, 7)),
    "conv 1x1": (lambda: nn.Conv2d(9, 5, 1), (2, 9, 7, 7)),
    "grouped": (lambda: nn.Conv2d(6, 8, 3, groups=2), (2, 6, 7, 7)),
    "transposed": (lambda: nn.ConvTranspose2d(6, 4, 2, stride=2), (2, 6, 5, 5)),
}
RANKS = (0, 1, 0.5, 1.0, 10_000, "auto")


@pytest.fixture(params=[0, 3], ids=["no low rank", "low rank 3"])
def lora_rank(request):
    return request.param


@pytest.fixture(params=RANKS, ids=[f"rank {rank!r}" for rank in RANKS])
def rank(request):
    return request.param


@pytest.fixture(params=LAYERS)
def layer(request):
    """A model of one layer, and an input."""
    build, shape = LAYERS[request.param]
    torch.manual_seed(0)
    return nn.ModuleDict({"it": build()}), torch.randn(shape)


@pytest.fixture
def carried(layer, rank, lora_rank):
    """A model of one layer with SALT, its input, and weight and output from before."""
    model, inputs = layer
    weight = model["it"].weight.detach().clone()
    with torch.no_grad():
        output = model["it"](inputs)
    attach(model, SaltConfig(rank=rank, lora_rank=lora_rank, targets=("it",)))
    return model, inputs, weight, output


def expected_rank(weight, rank) -> int:
    values = np.linalg.svd(weight.flatten(1).double().numpy(), compute_uv=False)
    if rank == "auto":
        shares = np.cumsum(values**2) / np.sum(values**2)
        return int(np.argmax(shares >= 0.9)) + 1
    return round(rank * len(values)) if isinstance(rank, float) else min(rank, len(values))


# Laws of one layer


def test_nothing_changes_at_the_start(carried):
    model, inputs, weight, output = carried
    assert not adapted_layers(model)["it"].delta().any()
    assert torch.equal(model["it"].weight, weight)
    assert torch.equal(model["it"](inputs), output)


def test_the_rank_is_what_was_asked_for(carried, rank):
    model, _, weight, _ = carried
    assert adapted_layers(model)["it"].rank == expected_rank(weight, rank)


def test_merged_equals_unmerged(carried):
    model, inputs, weight, _ = carried
    salt = adapted_layers(model)["it"]
    tiny.shake(model)
    unmerged = model["it"](inputs).detach()
    merge(model)
    assert isinstance(model["it"].weight, nn.Parameter)
    assert not hasattr(model["it"], "parametrizations")
    assert torch.equal(model["it"].weight, weight) == (salt.rank + salt.lora_b.numel() == 0)
    torch.testing.assert_close(model["it"](inputs), unmerged, atol=1e-6, rtol=1e-5)


def test_detach_gives_the_very_weights_back(carried):
    model, inputs, weight, output = carried
    bias = None if model["it"].bias is None else model["it"].bias.detach().clone()
    for salt in adapted_layers(model).values():
        tiny.shake(salt)
    detach(model)
    assert torch.equal(model["it"].weight, weight)
    assert not model["it"].weight.requires_grad
    assert bias is None or torch.equal(model["it"].bias, bias)
    assert torch.equal(model["it"](inputs), output)
    assert set(model.state_dict()) <= {"it.weight", "it.bias"}


def test_attach_twice_is_attach_once(carried, rank, lora_rank):
    model, *_ = carried
    tiny.shake(model)
    salt, state = adapted_layers(model)["it"], {k: v.clone() for k, v in model.state_dict().items()}
    assert attach(model, SaltConfig(rank=rank, lora_rank=lora_rank, targets=("it",))) == ["it"]
    assert adapted_layers(model)["it"] is salt
    assert len(model["it"].parametrizations["weight"]) == 1
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert set(state) == set(model.state_dict())


def test_the_update_is_the_papers_formula(carried):
    model, _, weight, _ = carried
    tiny.shake(model, std=1.0)
    salt = adapted_layers(model)["it"]
    if salt.rank:
        with torch.no_grad():
            salt.scale[0] = -0.4
    u, s, vt = np.linalg.svd(weight.flatten(1).double().numpy(), full_matrices=False)
    signs = np.sign(u[np.abs(u).argmax(0), np.arange(len(s))])
    u, vt, r = u * signs, vt * signs[:, None], salt.rank
    scale, shift, b, a = (
        p.detach().double().numpy() for p in (salt.scale, salt.shift, salt.lora_b, salt.lora_a)
    )
    core = np.diag(np.concatenate([np.maximum(scale * s[:r] + shift, 0), s[r:]]))
    core[r:, r:] += b @ a
    expected = torch.from_numpy((u @ core @ vt).reshape(weight.shape)).float()
    torch.testing.assert_close(model["it"].weight.detach(), expected, atol=2e-5, rtol=1e-4)


def test_another_lapack_gives_the_same_layer(carried, monkeypatch, rank, lora_rank):
    model, _, weight, _ = carried
    tiny.shake(model)
    lapack.use(monkeypatch)
    other = SaltParametrization(weight, rank=rank, lora_rank=lora_rank)
    other.load_state_dict(adapted_layers(model)["it"].state_dict())
    torch.testing.assert_close(other(weight), model["it"].weight, atol=1e-5, rtol=1e-5)


# The authors' numbers


@pytest.mark.parametrize("name", ["linear", "linear_tall", "conv"])
def test_the_authors_numbers_come_out(name):
    with np.load(REFERENCE) as file:
        reference = {
            key.split(".")[1]: torch.from_numpy(np.asarray(file[key]))
            for key in file.files
            if key.startswith(f"{name}.")
        }
    weight, r = reference["weight"], int(reference["rank"])
    x, y, adapted = (reference[key] for key in ("X", "Y", "adapted_weight"))
    salt = SaltParametrization(weight, rank=r, lora_rank=x.shape[1])
    torch.testing.assert_close(salt.s_top, reference["singular_values"][:r], atol=5e-5, rtol=0)
    # Their singular vectors had other signs d: with X Y > 0 everywhere, the core's signs tell d.
    u, _, vh = canonical_svd(weight)
    core = (u.T @ adapted.flatten(1).double() @ vh.T)[r:, r:]
    core -= torch.diag(reference["singular_values"][r:].double())
    signs = torch.sign(core[0]).float() * torch.sign(core[0, 0]).float()
    with torch.no_grad():
        salt.scale.copy_(reference["scale"])
        salt.shift.copy_(reference["shift"])
        salt.lora_b.copy_(signs[:, None] * x)
        salt.lora_a.copy_(y * signs)
    with torch.no_grad():
        found = salt(weight)
    torch.testing.assert_close(found, adapted, atol=5e-5, rtol=0)
    layer = nn.functional.linear if weight.ndim == 2 else lambda *a: nn.functional.conv2d(*a, padding=1)
    output = layer(reference["input"], found, reference["bias"])
    torch.testing.assert_close(output, reference["output"], atol=5e-5, rtol=1e-5)
    assert float(reference["scale"][0] * reference["singular_values"][0] + reference["shift"][0]) < 0


# Degenerate spectra


def shuffled(matrix):
    """The same singular values with rows and columns in another order, some with another sign."""
    random = torch.Generator().manual_seed(0)
    rows, columns = (torch.randperm(length, generator=random) for length in matrix.shape)
    signs = torch.sign(torch.rand(len(rows), 1, generator=random) - 0.5)
    return signs * matrix[rows][:, columns]


def block(height=4, width=4):
    return torch.randn(height, width, generator=torch.Generator().manual_seed(1))


DEGENERATE = {
    "zero": torch.zeros(6, 8),
    "identity": 3 * torch.eye(8),
    "every value twice": torch.kron(torch.eye(2), block()),
    "every value twice, tall": torch.kron(torch.eye(2), block(6, 3)),
    "the largest twice": shuffled(torch.diag(torch.tensor([9.0, 9, 5, 4, 3, 2, 1]))),
    "small ones twice": shuffled(torch.diag(torch.tensor([9.0, 7, 5, 2, 2, 1, 1]))),
    "rank deficient": block(8, 3) @ torch.eye(3, 7),
    "equal rows": block(4, 7)[[0, 1, 1, 2, 3]],
}


@pytest.mark.parametrize("weight", DEGENERATE.values(), ids=DEGENERATE)
def test_what_the_lapack_chooses_does_not_matter(weight, monkeypatch, rank):
    salt = SaltParametrization(weight, rank=rank, lora_rank=2)
    assert not salt.delta().any()
    tiny.shake(salt)
    lapack.use(monkeypatch)
    other = SaltParametrization(weight, rank=rank, lora_rank=2)
    other.load_state_dict(salt.state_dict())
    torch.testing.assert_close(other.delta(), salt.delta(), atol=1e-5, rtol=1e-5)
    assert salt.delta().abs().max() > 1e-3


@pytest.mark.parametrize("weight", DEGENERATE.values(), ids=DEGENERATE)
def test_what_is_left_of_degenerate_spectra_are_projectors(weight):
    salt = SaltParametrization(weight, rank=1.0, lora_rank=2)
    for projector, top in ((salt.left, salt.u_top), (salt.right, salt.vh_top.T)):
        torch.testing.assert_close(projector @ projector, projector, atol=1e-5, rtol=0)
        torch.testing.assert_close(projector, projector.T, atol=1e-6, rtol=0)
        torch.testing.assert_close(projector @ top, torch.zeros_like(top), atol=1e-5, rtol=0)
        assert round(float(projector.trace())) == len(projector) - salt.rank


# Laws of a model


def small_model():
    return nn.ModuleDict(
        {
            "encoder": nn.Sequential(
                nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 4, 1)
            ),
            "encoder_extra": nn.Linear(4, 4),
            "decoder": nn.ModuleDict({"used": nn.Linear(4, 4), "dead": nn.Linear(4, 4)}),
            "other": nn.Linear(4, 4),
        }
    )


def test_only_targets_train_and_only_by_salt_norms_and_biases():
    model = small_model()
    config = SaltConfig(targets=("encoder", "decoder"), lora_rank=2)
    assert attach(model, config, exclude=("decoder.dead",)) == ["encoder.0", "encoder.3", "decoder.used"]
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    salt = {"scale", "shift", "lora_a", "lora_b"}
    assert trainable == {
        f"{layer}.parametrizations.weight.0.{part}"
        for layer in ("encoder.0", "encoder.3", "decoder.used")
        for part in salt
    } | {"encoder.0.bias", "encoder.1.weight", "encoder.1.bias", "encoder.2.bias"} | {
        "encoder.3.bias",
        "decoder.used.bias",
    }
    assert trainable_parameters(model) == sum(p.numel() for p in model.parameters() if p.requires_grad)


def test_norms_and_biases_may_stay_frozen():
    model = small_model()
    attach(model, SaltConfig(targets=("encoder",), train_vectors=False))
    assert all("parametrizations" in n for n, p in model.named_parameters() if p.requires_grad)


def test_depthwise_convolutions_are_left_alone():
    model = small_model()
    attach(model, SaltConfig(targets=("encoder",)))
    assert "encoder.2" not in adapted_layers(model)
    assert not model["encoder"][2].weight.requires_grad


def test_targets_are_whole_components():
    model = small_model()
    attach(model, SaltConfig(targets=("encoder",)))
    assert "encoder_extra" not in adapted_layers(model)


def test_what_is_stored_holds_no_singular_vectors():
    model = nn.ModuleDict({"it": nn.Linear(8, 8)})
    attach(model, SaltConfig(targets=("it",)))
    assert not {key for key in model.state_dict() if key.endswith(("u_top", "vh_top", "left", "right"))}


def test_the_update_is_computed_in_float32_whatever_autocast_says():
    salt = SaltParametrization(block(16, 16), rank=0.5, lora_rank=2)
    tiny.shake(salt)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = salt.delta()
    assert inside.dtype == torch.float32
    assert torch.equal(inside, salt.delta())


def test_a_half_precision_weight_stays_so():
    weight = block(8, 8).bfloat16()
    salt = SaltParametrization(weight, rank=2, lora_rank=2)
    assert torch.equal(salt(weight), weight)
    assert salt(weight).dtype == torch.bfloat16


def test_canonical_svd_is_a_decomposition_with_fixed_signs():
    weight = torch.randn(10, 6, 3, 3, generator=torch.Generator().manual_seed(0))
    u, s, vh = canonical_svd(weight)
    torch.testing.assert_close(u @ torch.diag(s) @ vh, weight.double().flatten(1))
    assert (u.gather(0, u.abs().argmax(0, keepdim=True)) > 0).all()
    assert (s[:-1] >= s[1:]).all()
    assert u.dtype == s.dtype == vh.dtype == torch.float64


# What is refused


@pytest.mark.parametrize("rank", [-1, -0.5, 1.5, float("nan"), "half"])
def test_bad_ranks_are_refused(rank):
    with pytest.raises(InputError, match="rank is"):
        SaltConfig(rank=rank)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"lora_rank": -1}, "lora_rank"),
        ({"energy": 0.0}, "energy"),
        ({"energy": 1.1}, "energy"),
    ],
)
def test_bad_settings_are_refused(settings, words):
    with pytest.raises(InputError, match=words):
        SaltConfig(**settings)


@pytest.mark.parametrize("target", ["nonsense", "encod", "encoder.9", "ncoder"])
def test_targets_that_match_nothing_are_refused(target):
    with pytest.raises(InputError, match=target):
        attach(small_model(), SaltConfig(targets=("encoder", target)))


def test_no_targets_are_refused():
    with pytest.raises(InputError, match="targets is empty"):
        attach(small_model(), SaltConfig())
