"""RISE: which parts of the image, left visible at random, go with the class."""

import torch
import torch.nn.functional as F
from torch import Tensor

from salvit.errors import InvalidValueError
from salvit.extractors.base import Extractor
from salvit.extractors.registry import register_method
from salvit.extractors.requirements import check_seed
from salvit.vit import ViT


@register_method("rise")
class RISE(Extractor):
    """Mean of random masks M_i, weighted by the probability of the target class on the masked image x ⊙ M_i.

    The map is (1 / (n · p)) Σ_i softmax(logits(x ⊙ M_i))[class] · M_i, at pixel resolution [B, 1, H, W]. A mask
    is a grid of `cells` × `cells` that are 1 with probability p, enlarged bilinearly and shifted at random by
    less than a cell. Hidden pixels are 0 in the normalised image, the model's mean colour. All images see the
    same masks, so a map does not depend on the batch. Costs n forward passes per image, and
    one to find the class where it is to be the predicted one.

    Source: Petsiuk, Das and Saenko, "RISE: Randomized Input Sampling for Explanation of Black-box Models",
    BMVC 2018, equation 6 and section 3.2.

    Args:
        masks: n, the number of masks; the source uses 4000 to 8000.
        cells: number of cells per side.
        probability: p, of a cell being visible, in (0, 1).
        batch_size: masked images per forward pass.
        seed: of the masks.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> RISE(masks=8)(vit, torch.rand(2, 3, 32, 48), target=7).shape
        torch.Size([2, 1, 32, 48])
    """

    class_specific = True
    requires = frozenset({"two_classes"})

    def __init__(
        self,
        masks: int = 4000,
        cells: int = 7,
        probability: float = 0.5,
        batch_size: int = 64,
        seed: int = 0,
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
        cell_height, cell_width = -(-height // self.cells), -(-width // self.cells)
        grids, corners = [], []
        for _ in range(count):
            grids.append(
                torch.rand(1, self.cells, self.cells, generator=generator, dtype=torch.float64, device="cpu")
            )
            corners.append(
                [
                    int(torch.randint(cell, (), generator=generator, device="cpu"))
                    for cell in (cell_height, cell_width)
                ]
            )
        enlarged = F.interpolate(
            (torch.stack(grids) < self.probability).double(),
            size=((self.cells + 1) * cell_height, (self.cells + 1) * cell_width),
            mode="bilinear",
            align_corners=False,
        )
        shifted = [
            mask[:, top : top + height, left : left + width]
            for mask, (top, left) in zip(enlarged, corners, strict=True)
        ]
        return torch.stack(shifted)
