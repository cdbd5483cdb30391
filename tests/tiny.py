"""A SAM for 64x64 pixels with random weights, built in milliseconds, in the place of a real base."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import nn

from napari_salt.core.adapt.adapter import Adapter, ClassInfo
from napari_salt.core.adapt.segmenter import Segmenter
from napari_salt.core.bases.load import BASES, BaseModel, BaseSpec, weights_digest
from napari_salt.terms.cache import file_digests
from napari_salt.terms.config import SaltConfig, TrainConfig
from napari_salt.terms.preprocess import Preprocess

SIZE, CHANNELS, PATCH = 64, 32, 8
SALT = SaltConfig(lora_rank=2)
SPEC = BaseSpec(
    name="tiny",
    kind="sam-vit",
    licence="CC0-1.0",
    input_size=SIZE,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    package="",
    digest="sha256:" + "0" * 64,
    size=0,
)

QUICK = TrainConfig(
    base="tiny", steps=12, pixel_scale=1.0, device="cpu", learning_rate=1e-2, batch_size=2, salt=SALT
)
WARM = QUICK.steps // 2
"""Steps of the warm start in a training by `QUICK`."""


def module(seed: int = 0) -> nn.Module:
    """The bare SAM, in eval mode; the same seed gives the same weights."""
    grid = (SIZE // PATCH, SIZE // PATCH)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sam = Sam(
            ImageEncoderViT(
                img_size=SIZE,
                patch_size=PATCH,
                embed_dim=CHANNELS,
                depth=2,
                num_heads=2,
                mlp_ratio=2,
                out_chans=CHANNELS,
                window_size=4,
                use_rel_pos=True,
                global_attn_indexes=(1,),
                norm_layer=partial(nn.LayerNorm, eps=1e-6),
            ),
            PromptEncoder(CHANNELS, grid, (SIZE, SIZE), 16),
            MaskDecoder(
                transformer_dim=CHANNELS,
                transformer=TwoWayTransformer(2, CHANNELS, num_heads=8, mlp_dim=64),
                iou_head_hidden_dim=32,
            ),
        )
    return sam.eval()


def checkpoint(path: str | Path, seed: int = 0) -> Path:
    """Write the SAM's weights as Meta writes its own, for ``--base`` and other processes."""
    torch.save(module(seed).state_dict(), path)
    return Path(path)


def base(seed: int = 0) -> BaseModel:
    """The SAM as `load_base` would give it; the file's hash is made up from the weights'."""
    sam = module(seed)
    digest = weights_digest(sam.state_dict())
    return BaseModel(SPEC, sam, digest[::-1], digest)


def use(monkeypatch, seed: int = 0) -> None:
    """Register the base model ``tiny``, with a checkpoint of its own."""
    path = _checkpoint(seed)
    spec = replace(SPEC, file=str(path), digest=f"sha256:{file_digests(path, ('sha256',))['sha256']}")
    monkeypatch.setitem(BASES, SPEC.name, spec)


@cache
def _checkpoint(seed: int) -> Path:
    return checkpoint(Path(tempfile.mkdtemp(prefix="tiny-")) / f"{seed}.pth", seed)


def segmenter(
    n_classes: int = 1, salt: SaltConfig | None = SALT, seed: int = 0, method: str = "salt"
) -> Segmenter:
    """A segmenter on the tiny base, with the same tokens at every call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Segmenter(module(seed), SPEC, n_classes, salt, method)


def shake(model: nn.Module, seed: int = 1, std: float = 0.1) -> None:
    """Move every trainable parameter, as training would."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(std * torch.randn(parameter.shape, generator=generator))


def images(count: int = 1, seed: int = 0) -> torch.Tensor:
    """Random input of shape (count, 3, 64, 64), 0 to 1."""
    return torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


def adapter(
    values: Sequence[int] = (3, 200), *, preprocess: Preprocess | None = None, method: str = "salt"
) -> Adapter:
    """An adapter with random values, as if trained on the tiny base."""
    model = segmenter(len(values), method=method)
    shake(model)
    known = base()
    return Adapter(
        tensors={n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad},
        base_model=SPEC.name,
        base_sha256=known.sha256,
        weights_sha256=known.weights_sha256,
        method=method,
        salt=SALT if method == "salt" else model.salt,
        classes=tuple(ClassInfo(value, f"class {value}", "#e6194b") for value in values),
        preprocess=preprocess or Preprocess(),
        training={"steps": 7, "device": "cpu", "held_out_dice": {"3": 0.5}},
        name="a name",
        description="what it finds",
        author="somebody",
        license="CC0-1.0",
    )


def discs(count: int = 6, side: int = SIZE, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Bright discs on dark noise, and where they are: uint16 and uint8, shape (count, side, side)."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side]
    truth = np.zeros((count, side, side), np.uint8)
    for plane in truth:
        for _ in range(3):
            y, x = random.uniform(8, side - 8, 2)
            plane[(rows - y) ** 2 + (columns - x) ** 2 < (side / 7) ** 2] = 1
    image = 300 + 2000.0 * truth + random.normal(0, 60, truth.shape)
    return image.clip(0).astype(np.uint16), truth


def painted(truth: np.ndarray, *slices: int) -> np.ndarray:
    """`truth` on the given slices, nothing on the others."""
    paint = np.zeros_like(truth)
    paint[list(slices)] = truth[list(slices)]
    return paint
