"""The probability of the target as pixels are removed in the order of a heatmap."""

from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import product
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur

from salvit.errors import InvalidValueError
from salvit.extractors.requirements import check_images, check_target
from salvit.metrics.functional.heatmaps import check_heatmaps, finite_heatmaps, upsampled
from salvit.metrics.functional.imputation import impute
from salvit.vit import ViT, require_frozen_vit

BATCH_SIZE = 64
Fill = Literal["zero", "mean", "blur", "noise", "linear"]
Alter = Callable[[Tensor, Tensor], Tensor]
"""Takes indices [C] of images and the pixels to remove, bool [C, 1, H, W]; returns altered images [C, 3, H, W]."""
LEAST, MOST = 0, 1
"""The two orders of a heatmap: least and most relevant pixel first."""
_BLUR_KERNEL, _BLUR_SIGMA = 11, 5.0


class Span(NamedTuple):
    """Pixels to remove: those whose rank in an order is at least `low` and below `high`."""

    order: int
    low: int
    high: int


def check_perturbation(
    vit: ViT, images: Tensor, heatmaps: Tensor, target: int | Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Select the images whose heatmap is finite, after all checks.

    Returns:
        These n images, their heatmaps at pixel resolution [n, H·W] and their classes [n]; and which images these are,
        bool [B]. All on the device of the images.

    Raises:
        TypeError: The model is not a plain timm ViT, or the images are not floats.
        ValueError: A shape, dtype or device is wrong, or a target is not a class of the model.
    """
    require_frozen_vit(vit)
    check_images(vit, images)
    classes = check_target(vit, images, target)
    assert classes is not None, "a target was given"
    if len(heatmaps) != len(images):
        raise InvalidValueError(
            f"there are {len(heatmaps)} heatmaps for {len(images)} images; expected one each"
        )
    size = (images.shape[2], images.shape[3])
    maps = upsampled(check_heatmaps(heatmaps).to(images.device), size).flatten(1)
    scored = finite_heatmaps(maps)
    return images[scored], maps[scored], classes[scored], scored


def ranks(heatmaps: Tensor, descending: bool) -> Tensor:
    """Position of each pixel in the order of its heatmap [B, N]; equal pixels in reading order: int32 [B, N].

    Example:
        >>> ranks(torch.tensor([[5.0, 7.0, 5.0]]), descending=True)
        tensor([[1, 0, 2]], dtype=torch.int32)
    """
    order = _comparable(heatmaps).argsort(dim=1, descending=descending, stable=True)
    positions = torch.arange(heatmaps.shape[1], device=heatmaps.device, dtype=torch.int32).expand_as(order)
    return torch.empty_like(order, dtype=torch.int32).scatter_(1, order, positions)


def _comparable(heatmaps: Tensor) -> Tensor:
    """Values without the rounding errors of float32, which depend on the batch and would order equal pixels.

    Each is rounded to 17 binary digits, not to a share of the largest: in a map with a peak most pixels are small.
    """
    if heatmaps.dtype == torch.float64:
        return heatmaps
    digits, exponent = torch.frexp(heatmaps.double())
    return torch.ldexp((digits * 2**17).round(), exponent)


@torch.no_grad()
def target_probabilities(
    vit: ViT,
    images: Tensor,
    alter: Alter,
    orders: Tensor,
    spans: Sequence[Span],
    classes: Tensor,
    batch_size: int = BATCH_SIZE,
) -> Tensor:
    """Softmax probability of the target after each of S removals, one forward pass per image and removal.

    Args:
        vit: a plain timm ViT in eval mode.
        images: [B, 3, H, W], normalised for the model.
        alter: removes pixels, from `remover`.
        orders: int [B, D, H·W], ranks of the pixels in D orders.
        spans: the S removals.
        classes: int64 [B].
        batch_size: perturbed images per forward pass, which bounds the memory; ValueError if below 1.

    Returns:
        [B, S], float32 or the dtype of the model if wider.
    """
    if batch_size < 1:
        raise InvalidValueError(f"batch_size must be at least 1; got {batch_size}")
    if not len(images):
        return images.new_empty(0, len(spans))
    pairs = torch.tensor([(image, *span) for image, span in product(range(len(images)), spans)])
    chunks = pairs.to(images.device).split(batch_size)
    found = [_probabilities(vit, alter, orders, chunk, classes, images.shape[2:]) for chunk in chunks]
    return torch.cat(found).view(len(images), len(spans))


def _probabilities(
    vit: ViT, alter: Alter, orders: Tensor, pairs: Tensor, classes: Tensor, size: Sequence[int]
) -> Tensor:
    """Probabilities [C] for the pairs [C, 4] of image, order, low and high."""
    image, order, low, high = pairs.unbind(1)
    rank = orders[image, order]
    removed = ((rank >= low[:, None].int()) & (rank < high[:, None].int())).view(-1, 1, *size)
    logits = vit(alter(image, removed))
    probabilities = logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(-1)
    return probabilities.gather(1, classes[image][:, None])[:, 0]


class Removals:
    """The probability of the target after removals in the orders of a heatmap; each is computed once.

    Scores that share one instance share its forward passes.

    Args:
        vit: a plain timm ViT in eval mode.
        images: [B, 3, H, W], normalised for the model.
        heatmaps: [B, h, w]; brought to the size of the images (bilinear).
        target: a class index, or int64 [B].
        seed: seed of the noise in fills.

    Attributes:
        images, maps, classes, scored: of `check_perturbation`.
        pixels: H · W.

    Raises:
        TypeError, ValueError: As `check_perturbation`.
    """

    def __init__(
        self, vit: ViT, images: Tensor, heatmaps: Tensor, target: int | Tensor, seed: int = 0
    ) -> None:
        self.vit = vit
        self.images, self.maps, self.classes, self.scored = check_perturbation(vit, images, heatmaps, target)
        self.pixels = self.maps.shape[1]
        self.seed = seed
        self._known: dict[tuple[Any, ...], Tensor] = {}

    @cached_property
    def orders(self) -> Tensor:
        """Ranks of the pixels, least and most relevant first: int32 [n, 2, H·W]."""
        return torch.stack([ranks(self.maps, descending=False), ranks(self.maps, descending=True)], 1)

    def probabilities(self, fill: Fill, spans: Sequence[Span], batch_size: int = BATCH_SIZE) -> Tensor:
        """Probabilities [n, S] after S removals, in the orders LEAST and MOST.

        Raises:
            ValueError: There is no such fill, or the batch size is below 1.
        """
        keys = [self._key(fill, span) for span in spans]
        missing = {key: span for key, span in zip(keys, spans, strict=True) if key not in self._known}
        if missing:
            alter, steps = remover(self.images, fill, self.seed), list(missing.values())
            found = target_probabilities(
                self.vit, self.images, alter, self.orders, steps, self.classes, batch_size
            )
            self._known.update(zip(missing, found.unbind(1), strict=True))
        return torch.stack([self._known[key] for key in keys], 1)

    def _key(self, fill: Fill, span: Span) -> tuple[Any, ...]:
        """Equal for removals that leave the same image."""
        if span.low >= span.high:
            return ()
        return (fill, "all") if (span.low, span.high) == (0, self.pixels) else (fill, *span)


def scored_rows(scores: Tensor, scored: Tensor) -> Tensor:
    """Rows [B, ...] of all images, from rows [n, ...] of those in `scored`, bool [B]; NaN for the others."""
    rows = scores.new_full((len(scored), *scores.shape[1:]), torch.nan)
    rows[scored] = scores
    return rows


def remover(images: Tensor, fill: Fill, seed: int = 0) -> Alter:
    """How pixels of images are removed.

    Args:
        images: [B, 3, H, W], normalised for the model.
        fill: one of `filled`, or "linear": the weighted mean of the neighbours and a little noise, as ROAD has it
            (`salvit.metrics.functional.imputation.impute`).
        seed: seed of the noise.

    Raises:
        ValueError: As `filled`.

    Example:
        >>> alter = remover(torch.tensor([[[[1.0, 3.0]]]]), "mean")
        >>> alter(torch.tensor([0]), torch.tensor([[[[False, True]]]]))
        tensor([[[[1., 2.]]]])
    """
    if fill == "linear":
        return lambda image, removed: impute(images[image], removed, seed=seed)
    fills = filled(images, fill, seed)
    return lambda image, removed: torch.where(removed, fills[image], images[image])


def filled(images: Tensor, fill: Fill, seed: int = 0) -> Tensor:
    """What the pixels of images become when they are removed.

    Args:
        images: [B, 3, H, W], normalised for the model.
        fill: "zero" is the mean colour of the training set, "mean" the mean of each image, "blur" the image under a
            Gaussian of σ = 5 pixels (11 × 11), "noise" standard normal noise.
        seed: seed of the noise, which is the same for all images.

    Returns:
        [B, 3, H, W], with axes of length 1 where all values along them are equal.

    Raises:
        ValueError: There is no such fill, or the image is too small to be blurred.

    Example:
        >>> filled(torch.tensor([[[[1.0, 3.0]]]]), "mean")
        tensor([[[[2.]]]])
    """
    if fill == "zero":
        return images.new_zeros(len(images), 1, 1, 1)
    if fill == "mean":
        return images.mean((2, 3), keepdim=True)
    if fill == "blur":
        if min(images.shape[2:]) <= _BLUR_KERNEL // 2:
            raise InvalidValueError(
                f"images of {images.shape[2]}×{images.shape[3]} pixels cannot be blurred over {_BLUR_KERNEL} "
                "pixels: take another fill"
            )
        return gaussian_blur(images, [_BLUR_KERNEL] * 2, [_BLUR_SIGMA] * 2)
    if fill == "noise":
        noise = torch.randn(images.shape[1:], generator=torch.Generator().manual_seed(seed))
        return noise.to(images.device, images.dtype).expand_as(images)
    raise InvalidValueError(f'there is no fill "{fill}"; expected one of {", ".join(get_args(Fill))}')
