"""Score-CAM on a ViT: each feature of the tokens weighs what the model says of the image seen through it."""

import torch
import torch.nn.functional as F
from torch import Tensor

from salvit.errors import InvalidValueError
from salvit.extractors.base import Extractor, patches_to_grid
from salvit.extractors.hooks import inputs_of
from salvit.extractors.registry import register_method
from salvit.vit import ViT, attention_modules

_ROUNDING = 64
"""In units of the last digit: features that differ by less are those of equal patches."""


@register_method("scorecam")
class ScoreCAM(Extractor):
    """Features F_d of the patches that enter one block's attention, weighted by the class's logit y behind them.

    The map is max(Σ_d α_d F_d, 0), α = softmax_d y(x ⊙ M_d), and the mask M_d is F_d enlarged bilinearly to the
    image x and stretched to [0, 1] (0 where F_d is the same everywhere, up to rounding). Hidden pixels are 0 in the
    normalised image, the model's mean colour; what the model says of an image hidden altogether does not change the
    softmax. F is that of `TokenGradCAM`. Masks are enlarged between pixel centres; the pytorch-grad-cam package aligns
    the grid's corners with the image's, which on coarse grids gives other maps. Costs one forward pass per image, and
    one for each of its D features (768 in ViT-B).

    Source: Wang et al., "Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks", CVPR
    Workshops 2020, algorithm 1, on the layer that the pytorch-grad-cam package names for ViTs, `blocks[-1].norm1`.

    Args:
        block: block index, negative ones counting from the last.
        channels: take only so many features, those that vary most over the patches, as Faster Score-CAM does; None
            for all.
        batch_size: masked images per forward pass.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> ScoreCAM(channels=8)(vit, torch.rand(2, 3, 32, 48), target=7).shape
        torch.Size([2, 1, 2, 3])
    """

    class_specific = True
    requires = frozenset()

    def __init__(self, block: int = -1, channels: int | None = None, batch_size: int = 64) -> None:
        if batch_size < 1 or (channels is not None and channels < 1):
            raise InvalidValueError(
                f"channels and batch_size must be at least 1; got {channels}, {batch_size}"
            )
        self.block = block
        self.channels = channels
        self.batch_size = batch_size

    def forward_passes(self, vit: ViT) -> int:
        """Return 1, and one for each feature."""
        features = int(vit.embed_dim) * len(attention_modules(vit, self.block))
        return 1 + min(features, self.channels or features)

    def _maps(self, vit: ViT, images: Tensor, target: Tensor | None) -> Tensor:
        modules = attention_modules(vit, self.block)
        with inputs_of(modules) as inputs:
            logits = vit(images)
        classes = logits.argmax(dim=-1) if target is None else target
        features = torch.cat([inputs[module] for module in modules], dim=-1)
        features = features.to(torch.promote_types(features.dtype, torch.float32))
        of_patches = patches_to_grid(vit, images, features.transpose(1, 2))
        triples = zip(images, classes, of_patches, strict=True)
        return torch.stack([self._explain(vit, *triple) for triple in triples])

    def _explain(self, vit: ViT, image: Tensor, index: Tensor, features: Tensor) -> Tensor:
        """The map [1, h, w] of an image and its features [D, h, w]."""
        if self.channels is not None and self.channels < len(features):
            features = features[features.flatten(1).var(dim=1, correction=0).topk(self.channels).indices]
        scores = [
            vit((image * _masks(part, image)).to(image.dtype)).index_select(1, index[None])[:, 0]
            for part in features.split(self.batch_size)
        ]
        weights = torch.cat(scores).to(features.dtype).softmax(dim=0)
        return (weights[:, None, None] * features).sum(dim=0, keepdim=True).clamp(min=0)


def _masks(features: Tensor, image: Tensor) -> Tensor:
    """[C, 1, H, W] in [0, 1] from features [C, h, w], promoted to float32 at least."""
    enlarged = F.interpolate(features[:, None], image.shape[-2:], mode="bilinear", align_corners=False)
    low, high = enlarged.amin((2, 3), keepdim=True), enlarged.amax((2, 3), keepdim=True)
    # Enlarging what is the same everywhere gives rounding, which would be stretched too.
    least, most = features.amin((1, 2)), features.amax((1, 2))
    varies = most - least > _ROUNDING * torch.finfo(features.dtype).eps * torch.maximum(
        most.abs(), least.abs()
    )
    stretched = (enlarged - low) / (high - low).clamp(min=torch.finfo(enlarged.dtype).tiny)
    return stretched * varies[:, None, None, None]
