"""A ViT, images and heatmaps to perturb, in float64."""

from contextlib import contextmanager

import torch
from timm.models.vision_transformer import VisionTransformer

TARGETS = torch.tensor([3, 0, 7])


def tiny_vit():
    torch.manual_seed(0)
    vit = VisionTransformer(
        img_size=16, patch_size=8, embed_dim=24, depth=2, num_heads=3, num_classes=10, dynamic_img_size=True
    )
    for parameter in vit.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return vit.double().requires_grad_(False).eval()


def images_and_heatmaps(seed, levels=None, size=(16, 16)):
    """Three images with heatmaps at their size; `levels` makes values tie."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(3, 3, *size, dtype=torch.float64, generator=generator)
    heatmaps = torch.rand(3, *size, dtype=torch.float64, generator=generator)
    return images, heatmaps if levels is None else (heatmaps * levels).floor()


@contextmanager
def forward_counter(vit):
    """Images of each forward pass inside the `with` block."""
    passed = []
    handle = vit.register_forward_pre_hook(lambda _, inputs: passed.append(len(inputs[0])))
    try:
        yield passed
    finally:
        handle.remove()
