"""The saliency decoder: attention or relevance maps on the patch grid → one saliency map."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from salvit.errors import InvalidValueError

WIDTHS = (64, 48, 28)
"""Output channels of the hidden blocks: 58,569 parameters at 32 input channels (the paper says 59k)."""


class SaliencyDecoder(nn.Module):
    """Four blocks of Conv2d(3×3) → ReLU → Upsample ×2, from K maps to one non-negative saliency map.

    The maps of different extractors, heads and grids differ in scale by orders of magnitude (an attention map over n
    patches has values around 1/n), so each map enters as the logarithm of its ratio to its own mean, clipped
    at `FLOOR` below it. A map that holds negative values is shifted to ≥ 0 first.

    Four doublings turn a 14×14 grid into 224×224; for other patch sizes the result is resized to `size`.

    Source: Djilali, McGuinness and O'Connor, "Vision Transformers are Inherently Saliency Learners", 2023,
    section 4.1 and "Technical details", which give blocks and parameters but no widths.

    Args:
        in_channels: K, at least 1.
        center_bias: multiply the map by (1 − w) + w · Gaussian, with w and the Gaussian's centre and widths
            learnt (five parameters). Convolutions see no position, people look at the middle; not in the paper.
        doublings: how many of the four blocks, from the first, double the resolution. The paper's is 4; with 1, half of
            the patch size, a step takes a small part of the time, for comparisons of many extractors.

    Example:
        >>> decoder = SaliencyDecoder(in_channels=32)
        >>> sum(parameter.numel() for parameter in decoder.parameters())
        58569
        >>> decoder(torch.rand(2, 32, 14, 14), size=(224, 224)).shape
        torch.Size([2, 224, 224])
    """

    FLOOR = 1e-3

    def __init__(self, in_channels: int, center_bias: bool = False, doublings: int = 4) -> None:
        super().__init__()
        if in_channels < 1:
            raise InvalidValueError(f"in_channels is {in_channels}: the decoder needs at least one map")
        if not 0 <= doublings <= len(WIDTHS) + 1:
            raise InvalidValueError(f"doublings is {doublings}: the decoder has {len(WIDTHS) + 1} blocks")
        self.doublings = doublings
        channels = (in_channels, *WIDTHS, 1)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, kernel_size=3, padding=1) for before, after in pairwise(channels)
        )
        # A last ReLU that starts below zero passes no gradient: begin with a map that is positive everywhere.
        nn.init.constant_(self.get_parameter(f"convolutions.{len(WIDTHS)}.bias"), 0.5)
        self.center_bias = CenterBias() if center_bias else None

    def forward(self, maps: Tensor, size: tuple[int, int]) -> Tensor:
        """Predict saliency.

        Args:
            maps: [B, K, h, w] floats.
            size: (H, W) of the result in pixels.

        Returns:
            [B, H, W], non-negative, on no particular scale.
        """
        saliency = log_ratio(maps, self.FLOOR)
        if saliency.device.type == "cpu":  # where a step takes half of the time in this layout
            saliency = saliency.contiguous(memory_format=torch.channels_last)
        for block, convolution in enumerate(self.convolutions):
            saliency = F.relu(convolution(saliency))
            if block < self.doublings:
                saliency = F.interpolate(saliency, scale_factor=2, mode="bilinear", align_corners=False)
        if saliency.shape[-2:] != size:
            saliency = F.interpolate(saliency, size, mode="bilinear", align_corners=False)
        return saliency[:, 0] if self.center_bias is None else self.center_bias(saliency[:, 0])


def log_ratio(maps: Tensor, floor: float) -> Tensor:
    """Logarithm of each map's ratio to its own mean.

    Args:
        maps: [B, K, h, w] floats.
        floor: smallest ratio, which stands for 0.

    Returns:
        Of the same shape, float32; 0 everywhere for a constant map.

    Example:
        >>> log_ratio(torch.tensor([[[[1.0, 3.0]]]]), 1e-3)
        tensor([[[[-0.6931,  0.4055]]]])
    """
    maps = maps.float()
    maps = maps - maps.amin(dim=(2, 3), keepdim=True).clamp_max(0)
    mean = maps.mean(dim=(2, 3), keepdim=True)
    ratio = torch.where(mean > 0, maps / mean.clamp_min(torch.finfo(maps.dtype).tiny), 1)
    return ratio.clamp_min(floor).log()


class CenterBias(nn.Module):
    """A learnt Gaussian over the image, mixed with a constant.

    Lengths are in half image sides, so that the bias fits any image size; it starts at the centre with σ = 0.5
    and half of the weight.
    """

    def __init__(self) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(2))
        self.log_sigma = nn.Parameter(torch.full((2,), 0.5).log())
        self.mixing = nn.Parameter(torch.zeros(()))

    def forward(self, saliency: Tensor) -> Tensor:
        """Weigh maps [B, H, W] by the bias; the shape stays."""
        height, width = saliency.shape[-2:]
        rows = self._profile(height, 1, saliency)
        columns = self._profile(width, 0, saliency)
        weight = self.mixing.sigmoid()
        return saliency * (1 - weight + weight * rows[:, None] * columns[None, :])

    def _profile(self, length: int, axis: int, like: Tensor) -> Tensor:
        steps = (torch.arange(length, device=like.device) + 0.5) * 2 / length - 1
        return torch.exp(-0.5 * ((steps - self.mean[axis]) / self.log_sigma[axis].exp()) ** 2)
