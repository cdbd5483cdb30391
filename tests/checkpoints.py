"""Checkpoints with random weights of every kind of base, small enough for tests."""

import warnings
from functools import partial
from pathlib import Path

import torch
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import nn


def random_values(module: nn.Module, seed: int = 0) -> nn.Module:
    """`module` in eval mode; what starts as 0 or 1 (positions, norms) is random as well."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.03 * torch.randn(parameter.shape, generator=generator))
        for name, buffer in module.named_buffers():
            if name.endswith("running_var"):
                buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
    return module.eval()


def shallow_sam() -> Sam:
    """SAM for 1024 pixels as Meta built it, but of two blocks: one with windows, one that sees all."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = ImageEncoderViT(
            img_size=1024,
            embed_dim=64,
            depth=2,
            num_heads=2,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=14,
            global_attn_indexes=(1,),
        )
        sam = Sam(
            encoder,
            PromptEncoder(256, (64, 64), (1024, 1024), 16),
            MaskDecoder(transformer_dim=256, transformer=TwoWayTransformer(2, 256, 8, 2048)),
        )
    return random_values(sam)


def mobile_sam() -> nn.Module:
    """MobileSAM as published, by the mirror of its own package."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old names of timm, and a registry that it shares
        from mobile_sam import sam_model_registry
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return random_values(sam_model_registry["vit_t"]())


def write(module: nn.Module, path: Path) -> Path:
    torch.save(module.state_dict(), path)
    return path
