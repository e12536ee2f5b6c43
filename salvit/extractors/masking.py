"""Methods that run the model on masked images."""

import torch
import torch.nn.functional as F
from torch import Tensor

from salvit.errors import InvalidValueError
from salvit.extractors.base import Extractor, patches_to_grid, register_method
from salvit.extractors.recording import inputs_of
from salvit.extractors.requirements import check_seed
from salvit.vit import ViT, attention_modules


@register_method("rise")
class RISE(Extractor):
    """Mean of random masks M_i, weighted by the probability of the target class on the masked image x ⊙ M_i.

    The map is (1 / (n · p)) Σ_i softmax(logits(x ⊙ M_i))[class] · M_i, [B, 1, H, W]. A mask is a grid of `cells` ×
    `cells` that are 1 with probability p, enlarged bilinearly and shifted at random by less than a cell. Hidden pixels
    are 0 in the normalised image. All images see the same masks.

    Source: Petsiuk, Das and Saenko, "RISE: Randomized Input Sampling for Explanation of Black-box Models", BMVC 2018,
    equation 6 and section 3.2.

    Args:
        masks: n, the number of masks, and of forward passes per image; the source uses 4000 to 8000.
        cells: number of cells per side.
        probability: p, of a cell being visible, in (0, 1).
        batch_size: masked images per forward pass.
        seed: seed of the masks.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> RISE(masks=8)(vit, torch.rand(2, 3, 32, 48), target=7).shape
        torch.Size([2, 1, 32, 48])
    """

    class_specific = True
    requires = frozenset({"two_classes"})

    def __init__(
        self, masks: int = 4000, cells: int = 7, probability: float = 0.5, batch_size: int = 64, seed: int = 0
    ) -> None:
        if min(masks, cells, batch_size) < 1:
            raise InvalidValueError(
                f"masks, cells and batch_size must be at least 1; got {masks}, {cells}, {batch_size}"
            )
        if not 0 < probability < 1:
            raise InvalidValueError(f"probability must be between 0 and 1; got {probability}")
        check_seed(seed)
        self.masks = masks
        self.cells = cells
        self.probability = probability
        self.batch_size = batch_size
        self.seed = seed

    def forward_passes(self, vit: ViT) -> int:
        """Return the number of masks."""
        return self.masks

    def _maps(self, vit: ViT, images: Tensor, target: Tensor | None) -> Tensor:
        classes = vit(images).argmax(dim=-1) if target is None else target
        dtype = torch.promote_types(images.dtype, torch.float32)
        total = images.new_zeros(len(images), 1, *images.shape[2:], dtype=dtype)
        generator = torch.Generator().manual_seed(self.seed)
        for start in range(0, self.masks, self.batch_size):
            count = min(self.batch_size, self.masks - start)
            masks = self._draw(count, images.shape[-2:], generator).to(images.device, dtype)
            for position, (image, index) in enumerate(zip(images, classes, strict=True)):
                logits = vit((image * masks).to(image.dtype)).to(dtype)
                scores = logits.softmax(dim=-1).index_select(1, index[None])
                total[position] += (scores[:, :, None, None] * masks).sum(dim=0)
        return total / (self.masks * self.probability)

    def _draw(self, count: int, size: torch.Size, generator: torch.Generator) -> Tensor:
        """The next masks, [count, 1, H, W]; on the CPU, so that they are the same on every device."""
        height, width = size
        cell = [-(-side // self.cells) for side in size]
        enlarged = [(self.cells + 1) * side for side in cell]
        shape, masks = (1, 1, self.cells, self.cells), []
        for _ in range(count):
            grid = torch.rand(shape, generator=generator, dtype=torch.float64, device="cpu")
            mask = F.interpolate((grid < self.probability).double(), enlarged, mode="bilinear")
            top, left = (int(torch.randint(side, (), generator=generator, device="cpu")) for side in cell)
            masks.append(mask[0, :, top : top + height, left : left + width])
        return torch.stack(masks)


_ROUNDING = 64  # in units of the last digit: patches whose features differ by less are equal


@register_method("scorecam")
class ScoreCAM(Extractor):
    """Features F_d of the patches that enter one block's attention, weighted by the target logit y of masked images.

    The map is max(Σ_d α_d F_d, 0), α = softmax_d y(x ⊙ M_d). The mask M_d is F_d enlarged bilinearly to the image x
    and stretched to [0, 1] (0 where F_d is constant up to rounding). Hidden pixels are 0 in the normalised image. F is
    that of `TokenGradCAM`. Masks are enlarged between pixel centres, where the pytorch-grad-cam package aligns
    corners. Costs one forward pass per image, and one for each of its D features (768 in ViT-B).

    Source: Wang et al., "Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks", CVPR
    Workshops 2020, algorithm 1, on the layer that the pytorch-grad-cam package names for ViTs, `blocks[-1].norm1`.

    Args:
        block: block index.
        channels: number of features to take, those that vary most over the patches, as in Faster Score-CAM; None: all.
        batch_size: masked images per forward pass.

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
    enlarged = F.interpolate(features[:, None], image.shape[-2:], mode="bilinear")
    low, high = enlarged.amin((2, 3), keepdim=True), enlarged.amax((2, 3), keepdim=True)
    # Enlarging what is the same everywhere gives rounding, which would be stretched too.
    least, most = features.amin((1, 2)), features.amax((1, 2))
    rounding = _ROUNDING * torch.finfo(features.dtype).eps * torch.maximum(most.abs(), least.abs())
    varies = most - least > rounding
    stretched = (enlarged - low) / (high - low).clamp(min=torch.finfo(enlarged.dtype).tiny)
    return stretched * varies[:, None, None, None]
