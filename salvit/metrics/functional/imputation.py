"""Noisy linear imputation: removed pixels become the weighted mean of their neighbours, so that no edge shows."""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, max_pool2d, pad

NOISE = 0.01
"""Standard deviation of the noise that is added to imputed pixels: ROAD's."""
_RESIDUAL = 1e-5
"""Residual at which the solver stops: the error of imputed pixels is then a tenth of the noise or less."""
_MOST_STEPS = 1000
_COARSEST = 4
"""Side of the smallest grid in pixels, at least."""
_PIXELS = 2**15
"""Pixels of the images that a CPU solves together."""
_DAMPING = 0.8
"""Of a Jacobi step, a usual value for grids of two dimensions."""


def impute(images: Tensor, removed: Tensor, noise: float = NOISE, seed: int = 0) -> Tensor:
    r"""Replace removed pixels by noisy linear imputation.

    .. math:: \sum_{j \in N(i)} w_{ij} (x_i - x_j) = 0

    for every removed pixel i, where N(i) are its up to eight neighbours in the image, and w is 1/6 for a direct and
    1/12 for a diagonal one; then Gaussian noise is added. Solved by conjugate gradients with a multigrid cycle as
    preconditioner: about 15 steps for holes of any size. Source: Rong, Leemann, Borisov, Kasneci and Kasneci, "A
    Consistent and Efficient Evaluation Strategy for Attribution Methods" (ROAD), ICML 2022, and its public code.

    Args:
        images: float [B, 3, H, W].
        removed: bool [B, 1, H, W], which pixels are replaced.
        noise: standard deviation of the noise, in the units of the images.
        seed: seed of the noise, which is the same for all images.

    Returns:
        [B, 3, H, W]; an image of which all pixels are removed becomes its mean plus noise.

    Example:
        >>> images = torch.tensor([[[[1.0, 5.0, 4.0]]]])
        >>> impute(images, torch.tensor([[[[False, True, False]]]]), noise=0.0)
        tensor([[[[1.0000, 2.5000, 4.0000]]]])
    """
    generator = torch.Generator().manual_seed(seed)
    grain = torch.randn(images.shape[1:], generator=generator).to(images.device, images.dtype)
    known = images.to(torch.promote_types(images.dtype, torch.float32))
    # A CPU is fastest with as many images as its cache can hold; a GPU with all.
    together = max(1, _PIXELS // images.shape[2:].numel() if images.is_cpu else len(images))
    parts = zip(known.split(together), removed.split(together), strict=True)
    solved = torch.cat([_solved(*part) for part in parts])
    return torch.where(removed, solved.to(images.dtype) + noise * grain, images)


def _solved(images: Tensor, removed: Tensor) -> Tensor:
    """Images without noise, by preconditioned conjugate gradients."""
    nothing_left = removed.all(dim=(2, 3), keepdim=True)
    unknown = (removed & ~nothing_left).to(images.dtype)
    grids = [_Grid(unknown)]
    while min(grids[-1].unknown.shape[2:]) >= 2 * _COARSEST:
        grids.append(grids[-1].coarser())
    # From the mean of what is left; of the whole image where nothing is, and there is nothing to solve.
    start = _sum(images * (1 - unknown)) / _sum(1 - unknown)
    solution = torch.where(removed, start, images)
    residual = -grids[0].apply(solution)
    correction = _cycle(grids, residual)
    direction, length = correction, _sum(residual * correction)
    for _ in range(_MOST_STEPS):
        if residual.abs().amax() < _RESIDUAL:
            break
        image = grids[0].apply(direction)
        # An image that is solved already has a length of 0, and stays as it is.
        step = _ratio(length, _sum(direction * image))
        solution, residual = solution + step * direction, residual - step * image
        correction = _cycle(grids, residual)
        before, length = length, _sum(residual * correction)
        direction = correction + _ratio(length, before) * direction
    return solution


class _Grid:
    """The equations on one grid: the image's own, or a coarser one of half the size.

    Attributes:
        unknown: [B, 1, h, w], 1 where a pixel is removed, else 0.
        weights: [1, 1, h, w], of all neighbours of a pixel; less at the border.
        jacobi: [B, 1, h, w], what a Jacobi step multiplies the residual by.
    """

    def __init__(self, unknown: Tensor) -> None:
        self.unknown = unknown
        self.weights = _neighbours(torch.ones_like(unknown[:1]))
        self.jacobi = _DAMPING * unknown / self.weights

    def apply(self, values: Tensor) -> Tensor:
        """The left side of the equations of the unknown pixels; 0 elsewhere."""
        return self.unknown * (self.weights * values - _neighbours(values))

    def coarser(self) -> "_Grid":
        """The next grid, on which a pixel is unknown if all of its four are."""
        return _Grid(1 - max_pool2d(1 - self.unknown, 2, ceil_mode=True))


def _cycle(grids: list[_Grid], residual: Tensor) -> Tensor:
    """An approximate solution for a residual, by a V-cycle: coarser grids correct the smooth part of the error."""
    grid, *coarser = grids
    found = grid.jacobi * residual
    if coarser:
        height, width = residual.shape[2:]
        rest = avg_pool2d(residual - grid.apply(found), 2, ceil_mode=True, divisor_override=1)
        correction = interpolate(_cycle(coarser, coarser[0].unknown * rest), scale_factor=2.0, mode="nearest")
        found = found + grid.unknown * correction[..., :height, :width]
    return found + grid.jacobi * (residual - grid.apply(found))


def _neighbours(values: Tensor) -> Tensor:
    """Weighted sum of the neighbours of each pixel; what lies outside the image is 0."""
    padded = pad(values, (1, 1, 1, 1))
    rows = padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]
    return (rows[..., :-2, :] + 2 * rows[..., 1:-1, :] + rows[..., 2:, :] - 4 * values) / 12


def _sum(values: Tensor) -> Tensor:
    return values.sum(dim=(2, 3), keepdim=True)


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    return torch.where(denominator > 0, numerator / denominator, 0.0)
