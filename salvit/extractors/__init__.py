"""Extractors: images → maps [B, K, h, w]; one class per method.

`METHODS` maps each method's name to its class; `salvit.extract` calls one by name.
"""

import difflib
from typing import Any

from torch import Tensor

from salvit.extractors.attention import RawAttention
from salvit.extractors.base import Extractor
from salvit.extractors.salient import SalientAttention
from salvit.vit import ViT

METHODS: dict[str, type[Extractor]] = {
    "raw_attention": RawAttention,
    "salient_attention": SalientAttention,
}

__all__ = ["METHODS", "Extractor", "RawAttention", "SalientAttention", "extract"]


def extract(
    vit: ViT,
    images: Tensor,
    method: str = "raw_attention",
    target: int | Tensor | None = None,
    **options: Any,
) -> Tensor:
    """Extract maps with a method given by name.

    Args:
        vit: a plain timm ViT in eval mode, on the device of the images.
        images: [B, 3, H, W], normalised for the model (`salvit.vit.normalize`).
        method: a key of `METHODS`.
        target: None for each image's predicted class, one class index, or a [B] tensor; only class-specific
            methods use it.
        **options: options of the method's class.

    Returns:
        Maps [B, K, h, w] over the patch grid; see the method's class.

    Raises:
        ValueError: if there is no such method.

    Example:
        >>> import torch
        >>> import salvit
        >>> vit = salvit.load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> salvit.extract(vit, torch.rand(1, 3, 32, 32), method="raw_attention", block=0).shape
        torch.Size([1, 1, 2, 2])
    """
    if method not in METHODS:
        closest = difflib.get_close_matches(method, METHODS, n=1)
        hint = f'; did you mean "{closest[0]}"?' if closest else ""
        raise ValueError(f'unknown method "{method}"{hint} Methods: {", ".join(METHODS)}')
    return METHODS[method](**options)(vit, images, target)
