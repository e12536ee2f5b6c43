"""Augmentation that keeps image and ground truth in register."""

import torch

from datamodules.dataset import Sample


def mirrored(sample: Sample) -> Sample:
    """Mirror a sample left to right: image, density, mask, fixations (x' = W0 − 1 − x) and boxes (x' = W − x).

    Args:
        sample: of any dataset; it is left as it is.

    Returns:
        A new sample, whose ``mirrored`` is True.

    Example:
        >>> import torch
        >>> image, fixations = torch.arange(3.0).expand(3, 1, 3), torch.tensor([[0.0, 0.0]])
        >>> flipped = mirrored({"image": image, "size": (1, 3), "fixations": fixations})
        >>> flipped["image"][0], flipped["fixations"]
        (tensor([[2., 1., 0.]]), tensor([[2., 0.]]))
    """
    result = {**sample, "mirrored": True}
    for key in ("image", "density", "mask", "items"):
        if sample.get(key) is not None:
            result[key] = sample[key].flip(-1)
    if "fixations" in sample:
        x, y = sample["fixations"].unbind(-1)
        width = sample["size"][1]
        # A point on the left edge (-0.5) belongs to pixel 0; its mirror image must belong to the last one.
        result["fixations"] = torch.stack(((width - 1 - x).clamp(max=width - 0.51), y), dim=-1)
    if "boxes" in sample:
        x0, y0, x1, y1 = sample["boxes"].unbind(-1)
        width = sample["image"].shape[-1]
        result["boxes"] = torch.stack((width - x1, y0, width - x0, y1), dim=-1)
    return result
