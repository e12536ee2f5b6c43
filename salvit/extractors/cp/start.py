"""The columns that a decomposition starts from."""

import torch
from torch import Tensor

# Singular vectors below 3 % of the largest value depend on rounding, and so would the minimum that ALS finds.
# Random columns in their place give the same errors, reproducibly.
_LEAST_EIGENVALUE = 1e-3

# Of the randomised range finder: larger values of either do not change the errors of ALS.
_OVERSAMPLING = 8
_POWER_STEPS = 2


def initial_factors(tensor: Tensor, rank: int, init: str, seed: int) -> Tensor:
    """Unit columns for every mode, one mode after the other.

    Args:
        tensor: [B, d_1, …, d_n].
        rank: number of terms R.
        init: "svd" for singular vectors as far as they reach, "random" for Gaussian columns only.
        seed: seed of the Gaussian columns.

    Returns:
        [B, R, d_1 + … + d_n], float64.
    """
    generator = torch.Generator().manual_seed(seed)  # on the CPU: the same columns on every device
    factors = []
    for mode, size in enumerate(tensor.shape[1:]):
        factor = _gaussian(size, rank, generator).to(tensor.device).mT
        factor = factor / torch.linalg.vector_norm(factor, dim=1, keepdim=True)
        factor = factor.expand(len(tensor), -1, -1)
        # The first update overwrites the first factor unread.
        if init == "svd" and mode > 0:
            factor = _with_singular_vectors(factor, tensor.movedim(mode + 1, 1).flatten(2), generator)
        factors.append(factor)
    return torch.cat(factors, dim=2)


def range_basis(unfolding: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Orthonormal basis [B, d, count] of nearly the leading left singular space of [B, d, m], count < d.

    Randomised subspace iteration (Halko, Martinsson and Tropp, "Finding structure with randomness", SIAM
    Review 53, 2011, algorithm 4.4), from a start drawn by a generator on the CPU: the eigenvectors of the Gram
    matrix of all patches would cost as much as all sweeps together.
    """
    basis = _gaussian(unfolding.shape[1], count, generator).to(unfolding).expand(len(unfolding), -1, -1)
    for _ in range(_POWER_STEPS):
        basis = torch.linalg.qr(unfolding @ (unfolding.mT @ basis)).Q
    return basis


def _gaussian(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    # On the CPU, where the generator is, whatever torch's default device.
    return torch.randn(rows, columns, generator=generator, dtype=torch.float64, device="cpu")


def _with_singular_vectors(factor: Tensor, unfolding: Tensor, generator: torch.Generator) -> Tensor:
    """Replace the columns [B, R, d] by the left singular vectors of [B, d, m] as far as those reach."""
    rank, count = factor.shape[1], factor.shape[1] + _OVERSAMPLING
    basis = range_basis(unfolding, count, generator) if count < unfolding.shape[1] else None
    projected = unfolding if basis is None else basis.mT @ unfolding
    values, vectors = torch.linalg.eigh((projected @ projected.mT).double())
    vectors = vectors if basis is None else basis.double() @ vectors
    vectors, values = vectors.flip(2)[:, :, :rank].mT, values.flip(1)[:, :rank, None]
    reached = values > _LEAST_EIGENVALUE * values[:, :1]
    leading, others = factor.split([vectors.shape[1], rank - vectors.shape[1]], dim=1)
    return torch.cat([vectors.where(reached, leading), others], dim=1)
