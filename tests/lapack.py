"""Another LAPACK: an SVD that is as right as torch's, with the choices it leaves open made otherwise."""

import torch

SVD = torch.linalg.svd


def another_svd(matrix, full_matrices=True):
    """Other signs, and other bases of the subspaces in which singular values coincide."""
    u, s, vh = SVD(matrix, full_matrices=full_matrices)
    generator = torch.Generator().manual_seed(3)

    def rotation(count):
        return torch.linalg.qr(torch.randn(count, count, generator=generator, dtype=s.dtype))[0]

    close = (s[:-1] - s[1:]) < 1e-12 * s[0].clamp_min(1e-300)
    first = 0
    for last in range(len(s)):
        if last < len(s) - 1 and close[last]:
            continue
        group = slice(first, last + 1)
        vanishing = s[last] <= 1e-12 * s[0]
        turn = rotation(last + 1 - first)
        other_turn = rotation(last + 1 - first) if vanishing else turn
        u[:, group] = u[:, group] @ turn
        vh[group] = other_turn.T @ vh[group]
        first = last + 1
    return u, s, vh


def use(monkeypatch) -> None:
    """Compute every SVD from here on by the other LAPACK."""
    monkeypatch.setattr(torch.linalg, "svd", another_svd)
