"""Tiny timm ViTs whose attention is far from uniform, so that a mistake shows."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

OPTIONS = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 3, "num_heads": 3, "num_classes": 5}


def build_vit(seed: int = 0, kind: Callable[..., Any] = VisionTransformer, **kwargs) -> Any:
    """A frozen float64 ViT on 32×32 pixels, 4×4 patches; random weights large enough for peaked attention."""
    torch.manual_seed(seed)
    return spread(kind(**{**OPTIONS, "dynamic_img_size": True, **kwargs}))


def spread(vit: Any) -> Any:
    vit = vit.double().requires_grad_(False).eval()
    for parameter in vit.parameters():
        parameter.add_(0.2 * torch.randn_like(parameter))
    return vit


@pytest.fixture(scope="session")
def make_vit() -> Callable[..., VisionTransformer]:
    return build_vit


@pytest.fixture
def vit() -> VisionTransformer:
    return build_vit()


@pytest.fixture
def images() -> torch.Tensor:
    """Three non-square images, [3, 3, 32, 48]: a 4×6 patch grid."""
    return torch.randn(3, 3, 32, 48, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
