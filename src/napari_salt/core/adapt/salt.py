"""SALT as a change of weights.

Source: Elsayed et al., "SALT: Singular Value Adaptation with Low-Rank Transformation",
arXiv 2503.16055, equations 3 to 5.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from napari_salt.core.adapt.layers import LOW_RANK_SHARE, WeightChange, attach_changes
from napari_salt.core.adapt.svd import first_coincident, remembered_svd
from napari_salt.terms.config import Rank, SaltConfig

__all__ = ["SaltParametrization", "attach", "salt_of"]


class SaltParametrization(WeightChange):
    """Adapted weight ``W + U_r diag(relu(scale s + shift) - s) V_r^T + (L lora_b)(lora_a R)``.

    ``L`` and ``R`` span what the top `rank` singular vectors leave: ``U_rest`` and ``V_rest^T``.
    Where singular values coincide or vanish, their vectors are arbitrary within a subspace; then the top part
    ends before the first such value, and ``L`` and ``R`` are the projectors onto the complement of
    the top part, which are not arbitrary. So a stored adapter means the same everywhere.

    Parameters
    ----------
    weight
        The frozen weight, float, shape (out, ...); flattened to (out, in).
    rank
        Top singular values that are scaled and shifted (see `SaltConfig.rank`).
    lora_rank
        Rank k of the update of the remaining subspace.
    energy
        Share of the spectrum's energy for ``rank="auto"``.

    Attributes
    ----------
    scale, shift
        Parameters of shape (r,), 1 and 0 at the start.
    lora_b, lora_a
        Parameters of shape (m, k) and (k, m'), m = m' = n - r (or out and in, see above);
        `lora_b` is 0 at the start, so the whole update is exactly 0.
    """

    u_top: Tensor
    s_top: Tensor
    vh_top: Tensor
    left: Tensor
    right: Tensor

    def __init__(self, weight: Tensor, *, rank: Rank = 0.5, lora_rank: int = 8, energy: float = 0.9) -> None:
        super().__init__()
        u, s, vh = remembered_svd(weight)
        top = _top_count(s, rank, energy)
        coincident = first_coincident(s)
        if coincident is None:
            left, right = u[:, top:], vh[top:]
        else:
            top = min(top, coincident)
            left = torch.eye(u.shape[0], dtype=u.dtype) - u[:, :top] @ u[:, :top].T
            right = torch.eye(vh.shape[1], dtype=u.dtype) - vh[:top].T @ vh[:top]
        device = weight.device
        basis = {
            "u_top": u[:, :top],
            "s_top": s[:top],
            "vh_top": vh[:top],
            "left": left,
            "right": right,
        }
        for name, value in basis.items():
            self.register_buffer(name, value.to(device, torch.float32).contiguous(), persistent=False)
        self.scale = nn.Parameter(torch.ones(top, device=device))
        self.shift = nn.Parameter(torch.zeros(top, device=device))
        self.lora_b = nn.Parameter(torch.zeros(left.shape[1], lora_rank, device=device))
        self.lora_a = nn.Parameter(torch.empty(lora_rank, right.shape[0], device=device))
        nn.init.normal_(self.lora_a, std=max(1, right.shape[0]) ** -0.5)

    @property
    def rank(self) -> int:
        """Number of singular values that are scaled and shifted."""
        return self.scale.numel()

    def delta(self) -> Tensor:
        """Change of the flattened weight, float32, shape (out, in)."""
        with torch.autocast(self.scale.device.type, enabled=False):
            gain = torch.relu(self.scale * self.s_top + self.shift) - self.s_top
            columns = torch.cat([self.u_top * gain, self.left @ self.lora_b], dim=1)
            rows = torch.cat([self.vh_top, self.lora_a @ self.right], dim=0)
            return columns @ rows

    def sizes(self) -> Mapping[nn.Parameter, float]:
        """Sizes of the low-rank factors, and of `shift`: the mean of the singular values it is added to."""
        sizes = {self.lora_a: LOW_RANK_SHARE, self.lora_b: LOW_RANK_SHARE}
        return {**sizes, self.shift: float(self.s_top.mean())} if self.rank else sizes


def _top_count(s: Tensor, rank: Rank, energy: float) -> int:
    """Number of top singular values that `rank` means for the spectrum `s`."""
    n = s.numel()
    if rank == "auto":
        share = torch.cumsum(s**2, 0) / (s**2).sum().clamp_min(torch.finfo(s.dtype).tiny)
        return min(n, int((share < energy).sum()) + 1)
    return round(rank * n) if isinstance(rank, float) else min(int(rank), n)


def salt_of(weight: Tensor, config: SaltConfig) -> SaltParametrization:
    """SALT's change of `weight`, with the ranks of `config`."""
    return SaltParametrization(weight, rank=config.rank, lora_rank=config.lora_rank, energy=config.energy)


def attach(model: nn.Module, config: SaltConfig, *, exclude: tuple[str, ...] = ()) -> list[str]:
    """Freeze `model`, put SALT on its target layers, and return their names (see `attach_changes`)."""
    return attach_changes(model, config, salt_of, exclude=exclude)
