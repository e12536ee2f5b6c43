"""The arithmetic in which relevance is propagated."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from salvit.extractors.tf32 import without_tf32
from salvit.vit import ViT


@contextmanager
def plain_arithmetic(device: str) -> Iterator[None]:
    """Compute without autocast and TF32, and without denormal numbers, which slow CPUs down several times over.

    Example:
        >>> with plain_arithmetic("cpu"):
        ...     float(torch.tensor(1e-310, dtype=torch.float64) * 2)
        0.0
    """
    # torch can set the processor's flag for denormals but not read it.
    flushed = bool((torch.tensor(1e-310, dtype=torch.float64, device="cpu") * 2).item() == 0)
    try:
        torch.set_flush_denormal(True)
        with torch.autocast(device, enabled=False), without_tf32():
            yield
    finally:
        torch.set_flush_denormal(flushed)


def in_double(vit: ViT) -> ViT:
    """Return a copy of a model whose floating-point weights are float64, or the model if they are already.

    Hooks of the model are called by the copy as well, with its float64 activations.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> next(in_double(vit).parameters()).dtype, next(vit.parameters()).dtype
        (torch.float64, torch.float32)
    """
    if next(vit.parameters()).dtype == torch.float64:
        return vit
    # deepcopy takes what is in the memo as it is, so no weight is copied in its old precision first.
    double: dict[int, object] = {id(one): one.double() for one in vit.buffers() if one.is_floating_point()}
    for weight in vit.parameters():
        double[id(weight)] = nn.Parameter(weight.detach().double(), requires_grad=False)
    return copy.deepcopy(vit, memo=double)
