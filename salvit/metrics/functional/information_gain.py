"""Information gain over a baseline density."""

from collections.abc import Sequence

import torch
from torch import Tensor

from salvit.errors import InvalidValueError
from salvit.metrics.functional.fixations import Size, fixation_indices
from salvit.metrics.functional.maps import EPS, check_maps, sum_normalize
from salvit.resize import resize_antialiased


def information_gain(pred: Tensor, fixations: Sequence[Tensor], baseline: Tensor | None = None) -> Tensor:
    r"""Information gain of each image: how much better than the baseline the prediction says where people look.

    .. math:: \mathrm{IG} = \frac{1}{n} \sum_{i=1}^{n} \log_2(\varepsilon + p(x_i, y_i))
              - \log_2(\varepsilon + b(x_i, y_i))

    in bits per fixation, with both maps divided by their sums and ε = 2.2204e-16. A prediction that goes below 0 is
    shifted to ≥ 0 first; one without mass is the uniform distribution. Source: Kümmerer, Wallis and Bethge,
    "Information-theoretic model comparison unifies saliency metrics", PNAS 2015; in this form Bylinskii et al.,
    "What do different evaluation metrics tell us about saliency models?", TPAMI 2019.

    Args:
        pred: [B, H, W] saliency maps, read as densities.
        fixations: B tensors [n, 2] of (x, y) in pixels of `pred`.
        baseline: [H', W'] density, usually the center prior of the training set; brought to the size of `pred`
            (antialiased bilinear) where it has another. None for the uniform one.

    Returns:
        float64 [B]; 0 for the baseline itself, NaN for an image without fixations. A fixation where the prediction
        is 0 costs about 52 bits more than one where it is 1.

    Raises:
        ValueError: A shape does not fit, a map is not finite, the baseline is negative somewhere or 0 everywhere, or
            a fixation lies outside its map.

    Example:
        >>> pred = torch.tensor([[[1.0, 3.0], [0.0, 4.0]]])
        >>> information_gain(pred, [torch.tensor([[1.0, 1.0]])])  # 1/2 instead of 1/4
        tensor([1.0000], dtype=torch.float64)
        >>> information_gain(pred, [torch.tensor([[1.0, 1.0]])], baseline=pred[0])
        tensor([0.], dtype=torch.float64)
    """
    maps = check_maps(pred, "pred")
    size = (maps.shape[1], maps.shape[2])
    logs = (EPS + sum_normalize(maps.double().flatten(1))).log2()
    gains = logs - (EPS + density_of(baseline, size).to(maps.device)).log2()
    indices = fixation_indices(fixations, [size] * len(maps))
    # The mean of no values is NaN, which marks an image that cannot be scored.
    scores = [row[index.to(row.device)].mean() for row, index in zip(gains, indices, strict=True)]
    return torch.stack(scores) if scores else gains.new_empty(0)


def check_baseline(baseline: Tensor) -> Tensor:
    """Return a baseline density that can be compared with.

    Args:
        baseline: [H, W], any real dtype.

    Returns:
        float64 [H, W], detached, on the CPU.

    Raises:
        ValueError: It is not [H, W], not finite, negative somewhere or 0 everywhere.

    Example:
        >>> check_baseline(torch.ones(1, 2))
        tensor([[1., 1.]], dtype=torch.float64)
    """
    if baseline.ndim != 2:
        raise InvalidValueError(f"baseline has shape {tuple(baseline.shape)}; expected one density [H, W]")
    density = check_maps(baseline[None], "baseline")[0].cpu().double()
    if (density < 0).any() or not density.any():
        raise InvalidValueError(
            "baseline is negative somewhere or 0 everywhere; expected a density ≥ 0, such as the mean density of "
            "the training set (SaliencyDataModule.center_prior)"
        )
    return density


def density_of(baseline: Tensor | None, size: Size) -> Tensor:
    """The baseline at the size of an image.

    Args:
        baseline: [H', W'] ≥ 0; None for the uniform one.
        size: (H, W).

    Returns:
        float64 [H · W] with sum 1, on the CPU.

    Example:
        >>> density_of(None, (1, 2))
        tensor([0.5000, 0.5000], dtype=torch.float64)
    """
    if baseline is None:
        return torch.full((size[0] * size[1],), 1 / (size[0] * size[1]), dtype=torch.float64)
    density = check_baseline(baseline)
    if density.shape != size:
        density = resize_antialiased(density[None, None], size)[0, 0]
    return sum_normalize(density.flatten()[None])[0]
