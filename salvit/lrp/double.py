"""A model in float64."""

import copy

from torch import Tensor, nn

from salvit.vit import ViT


def in_double(vit: ViT) -> ViT:
    """Return a copy of a model whose floating-point weights are float64.

    Args:
        vit: a plain timm ViT.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> next(in_double(vit).parameters()).dtype, next(vit.parameters()).dtype
        (torch.float64, torch.float32)
    """
    doubles: dict[int, Tensor] = {}
    for parameter in vit.parameters():
        doubles[id(parameter)] = nn.Parameter(parameter.detach().double(), requires_grad=False)
    for buffer in vit.buffers():
        if buffer.is_floating_point():
            doubles[id(buffer)] = buffer.double()
    # What is in the memo already is taken as it is, so no weight is copied in its old precision first.
    return copy.deepcopy(vit, memo=dict(doubles))
