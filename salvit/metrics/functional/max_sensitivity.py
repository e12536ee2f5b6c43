"""Max-sensitivity of an explanation to small changes of the image."""

from collections.abc import Callable

import torch
from torch import Tensor

from salvit.errors import InvalidValueError


def max_sensitivity(
    explain: Callable[[Tensor], Tensor],
    images: Tensor,
    radius: float = 0.02,
    samples: int = 10,
    seed: int = 0,
) -> Tensor:
    r"""Largest relative change of an explanation within a small box around the image, by random search.

    .. math:: \max_{\|\delta\|_\infty \le r} \frac{\|\Phi(x + \delta) - \Phi(x)\|_2}{\|\Phi(x)\|_2}

    over uniformly drawn δ, the same for all images, so that no score depends on the batch. A lower bound that
    grows with the number of samples: compare only scores of as many. Source: Yeh et al., "On the
    (In)fidelity and Sensitivity of Explanations", NeurIPS 2019; radius and number of samples are Captum's
    defaults.

    Args:
        explain: from images [B, 3, H, W] to maps [B, ...]; called samples + 1 times. Let it explain one given
            class: the predicted one may change with the image.
        images: [B, 3, H, W], as `explain` takes them.
        radius: r > 0, in the images' units.
        samples: number of δ drawn, at least 1.
        seed: of the draws.

    Returns:
        float64 [B], ≥ 0; NaN for an image whose map is 0 everywhere, or where a map is not finite.

    Raises:
        ValueError: The radius or the number of samples is out of range.

    Example:
        >>> images = torch.ones(1, 3, 4, 4)
        >>> bool(max_sensitivity(lambda x: x.mean(1), images, radius=0.1) <= 0.1)
        True
        >>> max_sensitivity(lambda x: torch.ones(len(x), 2, 2), images)
        tensor([0.], dtype=torch.float64)
    """
    if not radius > 0 or samples < 1:
        raise InvalidValueError(
            f"radius is {radius} and samples {samples}; expected radius > 0 and samples ≥ 1"
        )
    generator = torch.Generator().manual_seed(seed)
    original = _flat(explain(images))
    changes = []
    for _ in range(samples):
        delta = (2 * torch.rand(images.shape[1:], generator=generator) - 1) * radius
        changes.append(
            (_flat(explain(images + delta.to(images.device, images.dtype))) - original).norm(dim=1)
        )
    # A change that is NaN is kept by max; a norm of 0 makes 0/0 or x/0 of it.
    relative = torch.stack(changes).amax(0) / original.norm(dim=1)
    return torch.where(relative.isfinite(), relative, torch.nan)


def _flat(maps: Tensor) -> Tensor:
    return maps.detach().cpu().double().flatten(1)
