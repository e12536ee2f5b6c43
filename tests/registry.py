"""Every plain ViT that timm has, made small."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import timm
import torch
from timm.models import is_model_in_modules
from torch.nn.modules.module import register_module_forward_pre_hook

from salvit.extractors import METHODS, Extractor
from salvit.vit import ViT, load_vit
from salvit.vit.plain import TIMM_MODULES

SMALL = {"depth": 2, "embed_dim": 96, "num_heads": 4, "num_classes": 5}
ARCHITECTURES = timm.list_models(module=list(TIMM_MODULES))
OTHERS = sorted(set(timm.list_models()) - set(ARCHITECTURES))
OPTIONS: dict[str, dict[str, Any]] = {
    "integrated_gradients": {"steps": 3},
    "rise": {"masks": 4},
    "salient_attention": {"k": 3, "max_iter": 5},
    "scorecam": {"channels": 4},
    "smoothgrad": {"samples": 3},
    "xrai": {"steps": 2},
}
"""Of methods that would take long with their defaults."""


def small_vit(architecture: str) -> ViT:
    """Two blocks of random weights, as narrow as the architecture lets one ask for."""
    torch.manual_seed(0)
    options: dict[str, Any] = {**SMALL, "img_size": side(architecture)}
    if "sapiens2" in architecture:  # heads are grouped by block, for as many blocks as it has
        options["num_kv_heads"] = 2
    if is_model_in_modules(architecture, ["vitamin"]) or "_mci_" in architecture:
        del options["embed_dim"]  # the width is that of the convolutions before it
    return randomize(load_vit(architecture, pretrained=False, **options))


def side(architecture: str) -> int:
    """Of a small square image, in pixels."""
    if architecture.startswith("vitamin"):  # wide convolutions
        return 32
    return 56 if "patch14" in architecture else 64


def square_images(architecture: str) -> torch.Tensor:
    """Two images of the size that a small model is made for."""
    size = side(architecture)
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


def images_for(vit: ViT, architecture: str) -> torch.Tensor:
    """Two images, not square if the model takes such."""
    height = width = side(architecture)
    if not getattr(getattr(vit, "patch_embed", None), "strict_img_size", False):
        width = 3 * height // 2
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1))


def randomize(vit: torch.nn.Module) -> Any:
    """Peaked instead of nearly uniform attention, so that a wrong scale, bias or rotation shows."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in vit.named_parameters():
            if ".backbone." not in name:
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator).to(parameter.dtype))
    return vit.eval()


def why_not(extractor: Extractor, vit: ViT) -> str:
    """What a method says of a model it has no meaning for, or nothing."""
    try:
        extractor.check(vit)
    except ValueError as error:
        return str(error)
    return ""


@contextmanager
def nothing_computed() -> Iterator[None]:
    """Fail as soon as any module is called."""

    def fail(module: torch.nn.Module, args: Any) -> None:
        raise AssertionError(f"{type(module).__name__} was called")

    handle = register_module_forward_pre_hook(fail)
    try:
        yield
    finally:
        handle.remove()


def make(name: str, **options: Any) -> Extractor:
    """A method that does not take long."""
    return METHODS[name](**OPTIONS.get(name, {}), **options)


def tolerance(name: str) -> float:
    """Of float64 maps on another device or in another batch.

    Where a sum that LRP or Grad-CAM++ divides by nearly vanishes, even its rounding grows; attention flow has integers.
    """
    return 1e-7 if name.endswith("lrp") or name in ("attention_flow", "gradcam_plus_plus") else 1e-10
