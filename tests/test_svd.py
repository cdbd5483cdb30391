"""Decompositions that are kept from one session to the next."""

import logging
import os

import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from napari_salt.core.adapt.salt import SaltParametrization, attach
from napari_salt.core.adapt.svd import canonical_svd, remembered_svd
from napari_salt.core.bases.checkpoints import weights_digest
from napari_salt.terms.config import SaltConfig
from napari_salt.terms.stopping import check_stop, stopping_by


@pytest.fixture
def large(monkeypatch, tmp_path):
    """A weight whose decomposition is kept, in an empty cache folder."""
    monkeypatch.setenv("NAPARI_SALT_CACHE", str(tmp_path))
    monkeypatch.setattr("napari_salt.core.adapt.svd.WORTH_KEEPING", 20 * 30 * 20)
    return torch.randn(30, 20, 1, 1, generator=torch.Generator().manual_seed(4))


def no_svd(matrix, full_matrices=True):
    raise AssertionError("the decomposition was computed again")


def test_a_kept_svd_gives_the_same_bits(large, monkeypatch):
    first = remembered_svd(large)
    for kept, computed in zip(first, canonical_svd(large), strict=True):
        assert torch.equal(kept.float(), computed.float())
    salt = SaltParametrization(large)
    monkeypatch.setattr(torch.linalg, "svd", no_svd)
    assert all(map(torch.equal, remembered_svd(large), first))
    again = SaltParametrization(large)
    assert all(torch.equal(a, b) for a, b in zip(salt.buffers(), again.buffers(), strict=True))
    with pytest.raises(AssertionError, match="computed again"):
        remembered_svd(large + 1)


@pytest.mark.parametrize("damage", [lambda c: b"", lambda c: c[:-9], lambda c: c[:-9] + b"?" + c[-8:]])
def test_a_damaged_svd_is_made_anew(large, tmp_path, damage):
    first = remembered_svd(large)
    (path,) = (tmp_path / "svd").iterdir()
    content = path.read_bytes()
    path.write_bytes(damage(content))
    assert all(map(torch.equal, remembered_svd(large), first))
    assert path.read_bytes() == content


def tampered(**changes):
    def change(tensors):
        for name, made in changes.items():
            tensors[name] = made(tensors[name])

    return change


TAMPERED = {
    "another matrix": tampered(s=lambda s: s * 1.01),
    "vectors of another length": tampered(u=lambda u: 2 * u, s=lambda s: s / 2),
    "another shape": tampered(u=lambda u: u[:, :-1].contiguous()),
    "another type": tampered(u=torch.Tensor.double),
    "not a number": tampered(vh=lambda vh: vh * float("nan")),
    "a tensor less": lambda tensors: tensors.pop("vh"),
    "a tensor more": lambda tensors: tensors.update(x=torch.zeros(9)),
}


@pytest.mark.parametrize("change", TAMPERED.values(), ids=TAMPERED)
def test_an_svd_that_something_else_wrote_is_made_anew(large, tmp_path, change):
    """Also where its own hash is right."""
    first = remembered_svd(large)
    (path,) = (tmp_path / "svd").iterdir()
    content = path.read_bytes()
    tensors = load(content)
    change(tensors)
    path.write_bytes(save(tensors, {"sha256": weights_digest(tensors)}))
    assert all(map(torch.equal, remembered_svd(large), first))
    assert path.read_bytes() == content


def test_the_svds_used_last_stay(large, tmp_path, monkeypatch):
    for change in range(3):
        remembered_svd(large + change)
        for path in (tmp_path / "svd").iterdir():
            os.utime(path, ns=(0, path.stat().st_mtime_ns - 10**9))
    monkeypatch.setattr("napari_salt.core.adapt.svd.KEPT_BYTES", 3.5 * path.stat().st_size)
    remembered_svd(large)
    remembered_svd(large + 3)
    monkeypatch.setattr(torch.linalg, "svd", no_svd)
    for change in (0, 2, 3):
        remembered_svd(large + change)
    with pytest.raises(AssertionError, match="computed again"):
        remembered_svd(large + 1)


@pytest.mark.parametrize(("seconds", "told"), [(-1, ["0 of 3", "1 of 3", "2 of 3"]), (60, [])])
def test_how_far_a_decomposition_is_is_logged_where_it_takes_long(monkeypatch, caplog, seconds, told):
    monkeypatch.setattr("napari_salt.core.adapt.svd.TELL_SECONDS", seconds)
    model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(3)))
    with caplog.at_level("INFO"):
        attach(model, SaltConfig(targets=("0", "1", "2")))
    texts = [f"decomposing weights, only the first time: {count}" for count in told]
    assert [record.getMessage() for record in caplog.records] == texts


def test_small_and_coincident_svds_are_not_kept(large, tmp_path):
    remembered_svd(large[:19])
    assert remembered_svd(torch.eye(40))[0].dtype == torch.float64
    assert not list(tmp_path.iterdir())


def test_without_a_cache_folder_svds_are_computed(large, monkeypatch, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("NAPARI_SALT_CACHE", str(tmp_path / "file"))
    assert torch.equal(remembered_svd(large)[1], canonical_svd(large)[1])


def test_decomposing_can_be_stopped_whatever_is_logged():
    seen = []

    def stop_at_the_third():
        seen.append(None)
        if len(seen) == 3:
            raise InterruptedError

    model = nn.Sequential(*(nn.Linear(8, 8) for _ in range(6)))
    logging.disable(logging.CRITICAL)
    try:
        with stopping_by(stop_at_the_third), pytest.raises(InterruptedError):
            attach(model, SaltConfig(targets=tuple("012345")))
    finally:
        logging.disable(logging.NOTSET)
    assert len(seen) == 3
    check_stop()  # outside nothing is stopped
