"""Deletion and insertion: the target's probability as the most relevant pixels go, and as they come."""

from collections.abc import Sequence

from torch import Tensor

from salvit.metrics.functional.fills import Fill, filled
from salvit.metrics.functional.heatmaps import finite_heatmaps
from salvit.metrics.functional.perturbation import FRACTIONS, removed_counts
from salvit.metrics.functional.removal import (
    BATCH_SIZE,
    Span,
    check_perturbation,
    ranks,
    scored_rows,
    target_probabilities,
)
from salvit.vit import ViT


def deletion_insertion(
    vit: ViT,
    images: Tensor,
    heatmaps: Tensor,
    target: int | Tensor,
    fractions: Sequence[float] = FRACTIONS,
    *,
    deleted: Fill = "zero",
    inserted_into: Fill = "blur",
    batch_size: int = BATCH_SIZE,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """Probability of the target as the most relevant pixels are deleted, and as they are inserted.

    Deletion removes a share of the pixels, the most relevant first; insertion starts from the blurred image
    and puts them back in the same order. Source: Petsiuk, Das and Saenko, "RISE", BMVC 2018, whose public
    evaluator takes 224 pixels per step: `fractions=[k / 224 for k in range(225)]` for 224 × 224 pixels.

    Args:
        vit: a plain timm ViT in eval mode.
        images: [B, 3, H, W], normalised for the model.
        heatmaps: [B, h, w]; brought to the images' size (bilinear). Only their order matters, equal pixels
            are taken in reading order.
        target: a class index, or int64 [B].
        fractions: F shares of pixels, in [0, 1]; each costs two forward passes per image.
        deleted: what deleted pixels become; see `filled`.
        inserted_into: what pixels are before they are inserted.
        batch_size: perturbed images per forward pass, which bounds the memory.
        seed: of the noise fill.

    Returns:
        Deletion and insertion curve, both [B, F] in [0, 1]; NaN for an image whose heatmap is not finite.

    Raises:
        TypeError: if the model is not a plain timm ViT, or the images are not floats.
        ValueError: if a shape, dtype or device does not fit, a target is no class of the model, a fraction is
            out of range, or there is no such fill.

    Example:
        >>> import torch
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> images, heatmaps = torch.rand(2, 3, 32, 32), torch.rand(2, 2, 2)
        >>> deletion, insertion = deletion_insertion(vit, images, heatmaps, target=7)
        >>> bool(torch.isclose(deletion[:, 0], insertion[:, -1]).all())  # the image as it is
        True
    """
    maps, classes = check_perturbation(vit, images, heatmaps, target)
    scored = finite_heatmaps(maps[:, None])
    images, classes, pixels = images[scored], classes[scored], maps.shape[1]
    order = ranks(maps[scored], descending=True)[:, None]
    counts = removed_counts(fractions, pixels)

    def curve(fill: Fill, spans: list[Span]) -> Tensor:
        fills = filled(images, fill, seed)
        found = target_probabilities(vit, images, fills, order, spans, classes, batch_size)
        return scored_rows(found, scored)

    deletion = curve(deleted, [Span(0, 0, count) for count in counts])
    # What has not been inserted yet is what is removed.
    return deletion, curve(inserted_into, [Span(0, count, pixels) for count in counts])
