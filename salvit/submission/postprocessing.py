"""Post-processing of a saliency map to a density of fixations, for a benchmark."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import torch
from scipy.ndimage import gaussian_filter
from scipy.stats import rankdata
from torch import Tensor

from salvit.errors import InvalidValueError, MissingFileError
from salvit.metrics.functional.maps import check_maps, sum_normalize
from salvit.options import HasOptions

FLOOR = 1e-4
"""Share of the uniform density in every density: no pixel is impossible, so that every logarithm is finite."""


class PostProcessing(HasOptions):
    r"""Blur, histogram, a power, a center prior and a floor, which make a map a density.

    .. math:: p = (1 - \varepsilon) \left[(1 - w) \frac{h(B_\sigma(s))^\gamma}{\sum h(B_\sigma(s))^\gamma} + w c\right]
              + \varepsilon / n

    with the map s shifted to ≥ 0, B a Gaussian blur (reflecting borders), h the identity or, equalised, the share of
    pixels below a value (ties count one half), c a Gaussian at the image's centre whose standard deviations are the
    same share of width and height, and ε = 1e-4. By default p = (1 − ε) s / Σs + ε / n, an affine function of the map,
    which changes neither ranks nor NSS nor CC.

    Args:
        blur: σ as a share of the image's longer side, ≥ 0.
        equalize: whether the map's histogram is made flat before the power shapes it.
        power: γ > 0; above 1 sharpens, below 1 flattens.
        center_weight: w, 0 … 1.
        center_sigma: standard deviation of c as a share of a side, > 0.

    Raises:
        ValueError: if a value is out of range.

    Example:
        >>> PostProcessing()(torch.tensor([[0.0, 1.0], [0.0, 3.0]]))
        tensor([[2.5000e-05, 2.5000e-01],
                [2.5000e-05, 7.4995e-01]], dtype=torch.float64)
    """

    def __init__(
        self,
        blur: float = 0.0,
        equalize: bool = False,
        power: float = 1.0,
        center_weight: float = 0.0,
        center_sigma: float = 0.25,
    ) -> None:
        if not (0 <= blur < 1 and power > 0 and 0 <= center_weight <= 1 and center_sigma > 0):
            raise InvalidValueError(
                f"blur={blur}, power={power}, center_weight={center_weight}, center_sigma={center_sigma}: expected "
                "blur in [0, 1), power > 0, center_weight in [0, 1] and center_sigma > 0"
            )
        self.blur = blur
        self.equalize = equalize
        self.power = power
        self.center_weight = center_weight
        self.center_sigma = center_sigma

    def __call__(self, saliency: Tensor) -> Tensor:
        """The density of a map.

        Args:
            saliency: [H, W] on any scale; one without mass is the uniform density.

        Returns:
            float64 [H, W] on the CPU, positive, sums to 1.

        Raises:
            ValueError: if the map is not [H, W], or not finite.
        """
        density = _normalized(check_maps(saliency[None], "saliency")[0].cpu().double())
        if self.blur:
            sigma = self.blur * max(density.shape)
            density = torch.from_numpy(gaussian_filter(density.numpy(), sigma, mode="reflect"))
        if self.equalize:
            ranks = torch.from_numpy(rankdata(density.numpy(), axis=None)).reshape(density.shape)
            density = (ranks - 0.5) / density.numel()
        if self.power != 1:
            # Relative to the largest value: a power of numbers around 1/n would underflow.
            density = (density / density.amax()) ** self.power
        density = _normalized(density)
        if self.center_weight:
            center = _center_gaussian(density.shape, self.center_sigma)
            density = (1 - self.center_weight) * density + self.center_weight * center
        return (1 - FLOOR) * density + FLOOR / density.numel()


def _center_gaussian(size: torch.Size, sigma: float) -> Tensor:
    """A Gaussian at the centre of an image, `sigma` as a share of each side: float64 [H, W] with sum 1."""
    rows, columns = (
        torch.exp(-0.5 * (((torch.arange(side, dtype=torch.float64) + 0.5) / side - 0.5) / sigma) ** 2)
        for side in size
    )
    gaussian = rows[:, None] * columns
    return gaussian / gaussian.sum()


def grid(**values: list[Any]) -> list[PostProcessing]:
    """Every combination of the values of some parameters.

    Example:
        >>> [one.blur for one in grid(blur=[0, 0.02], power=[1])]
        [0, 0.02]
    """
    return [PostProcessing(**dict(zip(values, chosen, strict=True))) for chosen in product(*values.values())]


def read_fit(path: Path) -> tuple[PostProcessing, dict[str, Any]]:
    """Read the file of `salvit.callbacks.postprocessing.FitPostProcessing`: the post-processing, and the whole record.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is something else.
    """
    if not path.is_file():
        raise MissingFileError(
            f"no post-processing {path}: `salvit validate` with FitPostProcessing writes one"
        )
    try:
        record = json.loads(path.read_text())
        return PostProcessing(**record["parameters"]), record
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidValueError(
            f"{path} holds no post-processing ({error}): expected the JSON that FitPostProcessing writes"
        ) from error


def _normalized(density: Tensor) -> Tensor:
    return sum_normalize(density.flatten()[None]).reshape(density.shape)
