"""Batched CP decomposition (CANDECOMP/PARAFAC) by alternating least squares."""

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from salvit.errors import InvalidValueError
from salvit.extractors.cp.iterate import Fit, initial_fit, iterate, restarted
from salvit.extractors.cp.solve import DAMPING
from salvit.extractors.cp.start import initial_factors
from salvit.extractors.cp.sweep import Problem, as_problem
from salvit.extractors.requirements import check_choice
from salvit.extractors.tf32 import without_tf32

Init = Literal["svd", "random"]

# Columns of a matrix with which compression pays.
_LARGE = 128
# Most sweeps then run on nearly the leading 2R singular vectors of the columns (or two thirds of all, if those are
# fewer), and in the tensors' dtype. With R vectors the fit ends at larger errors.
_VECTORS_PER_TERM = 2
# Of `max_iter`, so that some sweeps are left for the whole tensor in float64.
_COARSE_SWEEPS = 0.75
# A smaller tolerance is for the whole tensor alone.
_COARSE_TOL = 3e-4


class CPDecomposition(NamedTuple):
    """A sum of R rank-one terms for each tensor of a batch: T[b] ≈ Σ_r weights[b, r] ⊗_i factors[i][b, :, r].

    Attributes:
        weights: [B, R], non-negative, descending.
        factors: for every dimension of the tensors [B, d_i, R], columns of unit norm. The columns of all but
            the first have non-negative sums; the first carries the sign of the term.
        errors: [B], relative error ‖T − T̂‖ / ‖T‖ of each sample, 0 for an all-zero one. It is computed
            without forming T̂: where the fit is exact, rounding leaves 1e-3 in float32, 1e-7 in float64.
        n_iter: [B] int64, sweeps until each sample converged, at most `max_iter`.
    """

    weights: Tensor
    factors: tuple[Tensor, ...]
    errors: Tensor
    n_iter: Tensor


@torch.no_grad()
def cp_als(
    tensor: Tensor,
    rank: int,
    *,
    nonnegative: bool = False,
    init: Init = "svd",
    max_iter: int = 100,
    tol: float = 3e-4,
    seed: int = 0,
) -> CPDecomposition:
    """Fit a CP decomposition to every tensor of a batch at once.

    Alternating least squares (Kolda and Bader, "Tensor decompositions and applications", SIAM Review 51,
    2009, section 3.4) with Nesterov momentum between sweeps, restarted where the error would grow (Mitchell,
    Ye and De Sterck, "Nesterov acceleration of alternating least squares for canonical tensor decomposition",
    Numerical Linear Algebra with Applications 27, 2020). A sweep reads the tensors only twice, as neighbouring
    modes share a contraction. Factors are solved for in float64. Non-negative ones come from a few projected gradient
    steps instead ("NeNMF", see `salvit.extractors.cp.solve`).

    Large tensors (as matrices, 128 columns or more) start with coarse sweeps, up to three quarters of `max_iter`: on a
    projection to leading singular vectors (Zhou, Cichocki and Xie, "Fast nonnegative matrix/tensor factorization
    based on low-rank approximation", IEEE Transactions on Signal Processing 60, 2012) and in the tensors' dtype. The
    result and its error rest on the sweeps that follow.

    A sample has converged, and is frozen, once a sweep without momentum lowers its error by less than `tol`
    times that error; so results do not depend on the rest of the batch, except for rounding. Terms may grow and cancel
    each other (a best fit of a rank need not exist), and more so if there are many. The result then depends on start,
    seed and tolerance, and, with more terms than the tensor needs, on rounding.

    Args:
        tensor: [B, d_1, …, d_n], n ≥ 3, float32 or float64, finite.
        rank: number of terms R, at most the product of all dimensions but the largest.
        nonnegative: whether no factor may be negative, so that terms add up as parts and cannot cancel.
        init: "svd" for the leading left singular vectors of each unfolding, and Gaussian random columns where
            it has fewer than R of any size; "random" for Gaussian random columns only.
        max_iter: largest number of sweeps.
        tol: relative decrease of the error per sweep below which a sample has converged. On attention maps the error
            with the default is about 1 % larger than with 1e-6, and 4 % with many terms for a small grid (32 for 8×8
            patches), where most fits stop at `max_iter`; another seed changes as much (docs/results.md).
        seed: seed of the random columns; every sample starts from the same ones.

    Returns:
        The decomposition, in the dtype and on the device of the tensor.

    Raises:
        ValueError: if the tensor has fewer than 4 dimensions, another dtype, or NaN or infinite values (the
            message names the samples), or if an option is out of range.

    Example:
        >>> columns = [torch.rand(2, size, 3, dtype=torch.float64) for size in (4, 5, 6)]
        >>> tensor = torch.einsum("bir,bjr,bkr->bijk", *columns)
        >>> cp = cp_als(tensor, rank=3, tol=1e-9, max_iter=2000)
        >>> [tuple(factor.shape) for factor in cp.factors]
        [(2, 4, 3), (2, 5, 3), (2, 6, 3)]
        >>> bool((cp.errors < 1e-4).all())
        True
    """
    _check(tensor, rank, init, max_iter, tol)
    norms = torch.linalg.vector_norm(tensor.flatten(1), dim=1, dtype=torch.float64)
    scale = norms.where(norms > 0, 1.0)
    # A caller's autocast would run the contractions in half precision, TF32 with more rounding than is damped.
    with torch.autocast(tensor.device.type, enabled=False), without_tf32():
        tensor = tensor / scale.to(tensor.dtype).view(-1, *[1] * (tensor.ndim - 1))
        problem = as_problem(tensor, nonnegative)
        factors = initial_factors(tensor, rank, init, seed)
        fit = initial_fit(factors.abs() if nonnegative else factors)
        if problem.matrix.shape[2] >= _LARGE:
            fit = _coarse(problem, fit, max_iter, tol)
        fit = iterate(problem, fit, max_iter, tol)
    return _normal_form(fit, problem.dims, scale, tensor.dtype)


def _coarse(problem: Problem, fit: Fit, max_iter: int, tol: float) -> Fit:
    """Most sweeps, at a part of the cost, from which those on the whole tensor in float64 go on."""
    compressed = problem.compress(_VECTORS_PER_TERM * fit.weights.shape[1])
    sweeps, dtype = int(_COARSE_SWEEPS * max_iter), problem.matrix.dtype
    return restarted(iterate(compressed, restarted(fit, dtype), sweeps, max(tol, _COARSE_TOL)), torch.float64)


def _check(tensor: Tensor, rank: int, init: str, max_iter: int, tol: float) -> None:
    if tensor.ndim < 4:
        raise InvalidValueError(
            f"tensor must be [B, d_1, …, d_n] with n ≥ 3, got shape {tuple(tensor.shape)}"
        )
    if tensor.dtype not in DAMPING:
        raise InvalidValueError(
            f"tensor must be float32 or float64, got {tensor.dtype}; convert it with .float()"
        )
    check_choice("init", init, Init)
    if max_iter < 1 or tol < 0:
        raise InvalidValueError(f"max_iter must be at least 1 and tol at least 0, got {max_iter} and {tol}")
    most = math.prod(sorted(tensor.shape[1:])[:-1])
    if not 1 <= rank <= most:
        raise InvalidValueError(
            f"rank must be between 1 and {most}, at which any tensor of shape {tuple(tensor.shape[1:])} is "
            f"fitted exactly; got {rank}"
        )
    finite = tensor.isfinite().flatten(1).all(dim=1)
    if not finite.all():
        samples = (~finite).nonzero().flatten().tolist()
        raise InvalidValueError(f"tensor has NaN or infinite values in samples {samples}; leave them out")


def _normal_form(fit: Fit, dims: list[int], scale: Tensor, dtype: torch.dtype) -> CPDecomposition:
    """Sort the terms by weight and move their signs to the first factor."""
    weights, order = fit.weights.sort(dim=1, descending=True, stable=True)
    ordered = fit.factors.gather(1, order[:, :, None].expand_as(fit.factors)).mT
    first, *others = (
        factor / torch.linalg.vector_norm(factor, dim=1, keepdim=True)
        for factor in ordered.split(dims, dim=1)
    )
    signs = [torch.where(factor.sum(dim=1, keepdim=True) < 0, -1.0, 1.0) for factor in others]
    first = first * math.prod(signs)
    factors = [first, *(factor * sign for factor, sign in zip(others, signs, strict=True))]
    return CPDecomposition(
        weights=(weights * scale[:, None]).to(dtype),
        factors=tuple(factor.to(dtype) for factor in factors),
        errors=fit.errors.to(dtype),
        n_iter=fit.n_iter,
    )
