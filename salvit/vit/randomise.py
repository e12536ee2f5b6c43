"""Random weights in the place of a model's own, part by part."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from salvit.vit.plain import ViT

_AFTER_THE_BLOCKS = ("norm", "fc_norm", "attn_pool", "head")


def model_parts(vit: ViT) -> dict[str, list[Tensor]]:
    """The parameters of a model by part: "head", the blocks from the last to the first, "embedding".

    "head" is all that follows the last block, "embedding" all that comes before the first. Parts without parameters
    are left out.

    Example:
        >>> from salvit.vit import load_vit
        >>> list(model_parts(load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)))
        ['head', 'block 1', 'block 0', 'embedding']
    """
    names = ["head", *(f"block {index}" for index in reversed(range(len(vit.blocks)))), "embedding"]
    parts: dict[str, list[Tensor]] = {name: [] for name in names}
    for name, parameter in vit.named_parameters():
        first, _, rest = name.partition(".")
        block = f"block {rest.partition('.')[0]}"
        outside = "head" if first in _AFTER_THE_BLOCKS else "embedding"
        parts[block if first == "blocks" else outside].append(parameter)
    return {name: parameters for name, parameters in parts.items() if parameters}


@torch.no_grad()
def randomise(vit: ViT, part: str, seed: int = 0) -> None:
    """Replace the weights of one part by normal noise, which has each tensor's own mean and standard deviation.

    So activations keep their scale, whatever the layers are. What is drawn depends on the seed and the part only.

    Args:
        vit: the model; its weights are written over: see `weights_restored`.
        part: of `model_parts`.
        seed: of the noise.
    """
    parts = model_parts(vit)
    generator = torch.Generator().manual_seed(1000 * seed + list(parts).index(part))
    for parameter in parts[part]:
        noise = torch.randn(parameter.shape, generator=generator).to(parameter.device, parameter.dtype)
        parameter.copy_(parameter.mean() + parameter.std(correction=0) * noise)


@contextmanager
def weights_restored(vit: ViT) -> Iterator[None]:
    """Give a model its weights back at the end of the `with` block, also after an error."""
    with torch.no_grad():
        before = [(parameter, parameter.clone()) for parameter in vit.parameters()]
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, weights in before:
                parameter.copy_(weights)
