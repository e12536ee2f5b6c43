"""LOST: the object as the patches similar to a seed, the patch that is similar to the fewest others."""

import torch
from torch import Tensor

from salvit.errors import InvalidValueError
from salvit.extractors.base import Extractor, register_method
from salvit.extractors.keys import component, patch_keys
from salvit.vit import ViT, patch_grid


@register_method("lost")
class LOST(Extractor):
    """Σ over the seed patches s of k_p · k_s, where k_p is the key of patch p: positive on the object.

    Two patches are similar if k_p · k_q > 0. Patches are ranked by how few others are similar to them; of equal ones
    the upper left one comes first. The first patch is the first seed; of the first `patches` patches, those similar to
    it are seeds, too. Meant for a self-supervised model, which need not have a class token.

    With `mask` the map is 1 where the sum is above 0 and connected with the first seed, else 0. The source draws a box
    around it; MaxBoxAcc of `salvit.metrics.BoxSweep` on such maps is CorLoc.

    Source: Siméoni et al., "Localizing Objects with Self-Supervised Transformers and no Labels", BMVC 2021, section
    3.2, on the keys of the last block.

    Args:
        patches: how many patches may be seeds, at least 1; all if there are fewer.
        mask: give the object as a mask.
        block: block index, negative ones counting from the last.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> LOST()(vit, torch.rand(4, 3, 32, 48)).shape
        torch.Size([4, 1, 2, 3])
    """

    def __init__(self, patches: int = 100, mask: bool = False, block: int = -1) -> None:
        if patches < 1:
            raise InvalidValueError(f"patches must be at least 1; got {patches}")
        self.patches = patches
        self.mask = mask
        self.block = block

    def _maps(self, vit: ViT, images: Tensor, target: Tensor | None) -> Tensor:
        keys = patch_keys(vit, images, self.block)
        with torch.autocast(images.device.type, enabled=False):
            products = keys @ keys.mT
        alike = products > 0
        ranked = alike.sum(dim=2).sort(dim=1, stable=True).indices
        seed, candidates = ranked[:, 0], ranked[:, : self.patches]
        seeds = torch.zeros_like(alike[:, 0]).scatter(1, candidates, True)
        images_of = torch.arange(len(seed), device=seed.device)
        seeds &= alike[images_of, seed]
        total = (products * seeds[:, None]).sum(dim=2)
        grid = total.unflatten(1, patch_grid(vit, images))
        found = component(grid > 0, seed).to(grid.dtype) if self.mask else grid
        return found[:, None]
