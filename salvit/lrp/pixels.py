"""From the patches back to the pixels."""

import torch
import torch.nn.functional as F
from torch import Tensor

from salvit.lrp.rules import STABILIZER
from salvit.vit import ViT


def pixels_relevance(vit: ViT, images: Tensor, relevance: Tensor) -> Tensor:
    """Carry relevance from patch tokens to pixels by the z^B rule, summed over colours.

    With L and H an image's smallest and largest value, Z = W∗x − W⁺∗L − W⁻∗H + 1e-9, S = R / Z and
    R_in = x ⊙ WᵀS − L ⊙ W⁺ᵀS − H ⊙ W⁻ᵀS. Source: Montavon et al., "Explaining nonlinear classification
    decisions with deep Taylor decomposition", Pattern Recognition 2017, the rule for bounded inputs, as used
    by Chefer, Gur and Wolf, CVPR 2021. An image of one value has none: L = H = x leave nothing in R_in but rounding.

    Args:
        vit: a timm VisionTransformer.
        images: x, [B, 3, H, W].
        relevance: R of the patch tokens, [B, hw, D].

    Returns:
        [B, 1, H, W].

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=1)
        >>> pixels_relevance(vit, torch.rand(1, 3, 32, 32), torch.rand(1, 4, 192)).shape
        torch.Size([1, 1, 32, 32])
    """
    convolution = vit.patch_embed.proj
    weight, stride = convolution.weight, convolution.stride
    terms = (
        (images, weight, 1.0),
        (images.amin((1, 2, 3), keepdim=True).expand_as(images), weight.clamp(min=0), -1.0),
        (images.amax((1, 2, 3), keepdim=True).expand_as(images), weight.clamp(max=0), -1.0),
    )
    total = torch.stack([sign * F.conv2d(x, kernel, stride=stride) for x, kernel, sign in terms]).sum(0)
    of_one_value = (images.amin((1, 2, 3)) == images.amax((1, 2, 3)))[:, None, None, None]
    share = relevance.mT.reshape(total.shape) / (total + STABILIZER)
    shares = [sign * x * F.conv_transpose2d(share, kernel, stride=stride) for x, kernel, sign in terms]
    return torch.stack(shares).sum((0, 2)).unsqueeze(1).masked_fill(of_one_value, 0)
