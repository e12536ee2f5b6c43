"""Batched CP decomposition (CANDECOMP/PARAFAC) by alternating least squares."""

import math
from collections.abc import Sequence
from functools import reduce
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from salvit.errors import InvalidValueError
from salvit.extractors.tf32 import without_tf32

# Nearly parallel terms make a Gram matrix singular to rounding. Damping towards the current factor keeps it
# positive definite and, unlike a ridge towards zero, moves no fixed point. It also bounds what the rounding of
# the contractions, eps, can do to the weights: with less of it, terms of a constant tensor grow and cancel.
_DAMPING = {torch.float32: 1e-5, torch.float64: 1e-10}

# Below 3 % of the largest singular value, vectors are at the mercy of rounding, and so would be the minimum
# that ALS ends in: errors are the same with random columns in their place, but reproducible.
_LEAST_EIGENVALUE = 1e-3

# Of the randomised range finder: with more of either, ALS ends at the same errors.
_OVERSAMPLING = 8
_POWER_STEPS = 2


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
    init: Literal["svd", "random"] = "svd",
    max_iter: int = 100,
    tol: float = 3e-4,
    seed: int = 0,
) -> CPDecomposition:
    """Fit a CP decomposition, unconstrained in sign, to every tensor of a batch at once.

    Alternating least squares (Kolda and Bader, "Tensor decompositions and applications", SIAM Review 51,
    2009, section 3.4) with Nesterov momentum between sweeps, restarted where the error would grow (Mitchell,
    Ye and De Sterck, "Nesterov acceleration of alternating least squares for canonical tensor decomposition",
    Numerical Linear Algebra with Applications 27, 2020). A sweep reads the tensors only twice, as neighbouring
    modes share a contraction; these two products run in the tensors' dtype, all else in float64.

    A sample has converged, and is frozen, once a sweep without momentum lowers its error by less than `tol`
    times that error; so results do not depend on what else is in the batch, but for rounding. Terms may grow and
    cancel each other (the best fit of a rank need not exist), the more so the more of them there are; what the fit
    ends in then depends on start, seed and tolerance, and where there are more terms than the tensor needs, on
    rounding.

    Args:
        tensor: [B, d_1, …, d_n], n ≥ 3, float32 or float64, finite.
        rank: number of terms R, at most the product of all dimensions but the largest.
        init: "svd" for the leading left singular vectors of each unfolding, and Gaussian random columns where
            it has fewer than R of any size; "random" for Gaussian random columns only.
        max_iter: largest number of sweeps.
        tol: relative decrease of the error per sweep below which a sample has converged. On attention maps the
            default costs about 1 % of error over 1e-6, and 4 % where there are many terms for a small grid (32 for 8×8
            patches), of which `max_iter` ends most fits; the seed makes as much of a difference (docs/results.md).
        seed: of the random columns; every sample starts from the same ones.

    Returns:
        The decomposition, in the dtype and on the device of the tensor.

    Raises:
        ValueError: if the tensor has fewer than 4 dimensions, another dtype, or NaN or infinite values (the
            message names the samples), or if an option is out of range.

    Example:
        >>> import torch
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
        problem = _as_problem(tensor)
        fit = _initial_fit(_initial_factors(tensor, rank, init, seed))
        fit = _iterate(problem, fit, max_iter, tol)
    return _normal_form(fit, problem.dims, scale, tensor.dtype)


def _check(tensor: Tensor, rank: int, init: str, max_iter: int, tol: float) -> None:
    if tensor.ndim < 4:
        raise InvalidValueError(
            f"tensor must be [B, d_1, …, d_n] with n ≥ 3, got shape {tuple(tensor.shape)}"
        )
    if tensor.dtype not in _DAMPING:
        raise InvalidValueError(
            f"tensor must be float32 or float64, got {tensor.dtype}; convert it with .float()"
        )
    if init not in ("svd", "random"):
        raise InvalidValueError(f'init must be "svd" or "random", got {init!r}')
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


def _initial_factors(tensor: Tensor, rank: int, init: str, seed: int) -> Tensor:
    """Unit columns [B, d_1 + … + d_n, R], float64."""
    generator = torch.Generator().manual_seed(seed)  # on the CPU: the same columns on every device
    factors = []
    for mode, size in enumerate(tensor.shape[1:]):
        factor = _gaussian(size, rank, generator).to(tensor.device)
        factor = _unit_columns(factor.expand(len(tensor), -1, -1))
        # The first update overwrites the first factor unread.
        if init == "svd" and mode > 0:
            factor = _with_singular_vectors(factor, tensor.movedim(mode + 1, 1).flatten(2), generator)
        factors.append(factor)
    return torch.cat(factors, dim=1)


def _gaussian(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    # On the CPU, where the generator is, whatever torch's default device.
    return torch.randn(rows, columns, generator=generator, dtype=torch.float64, device="cpu")


def _with_singular_vectors(factor: Tensor, unfolding: Tensor, generator: torch.Generator) -> Tensor:
    """Replace the columns of [B, d, R] by the left singular vectors of [B, d, m] as far as those reach."""
    rank = factor.shape[2]
    basis = _range_basis(unfolding, rank + _OVERSAMPLING, generator)
    projected = basis.mT @ unfolding
    values, vectors = torch.linalg.eigh((projected @ projected.mT).double())
    vectors = (basis.double() @ vectors).flip(2)[:, :, :rank]
    values = values.flip(1)[:, None, :rank]
    reached = values > _LEAST_EIGENVALUE * values[:, :, :1]
    leading, others = factor.split([vectors.shape[2], rank - vectors.shape[2]], dim=2)
    return torch.cat([vectors.where(reached, leading), others], dim=2)


def _range_basis(unfolding: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Orthonormal basis [B, d, min(d, count)] of nearly the leading left singular space of [B, d, m].

    Randomised subspace iteration (Halko, Martinsson and Tropp, "Finding structure with randomness", SIAM
    Review 53, 2011, algorithm 4.4): the eigenvectors of the Gram matrix of all patches would cost as much as
    all sweeps together.
    """
    batch, size, _ = unfolding.shape
    if size <= count:
        return torch.eye(size, dtype=unfolding.dtype, device=unfolding.device).expand(batch, -1, -1)
    sketch = _gaussian(size, count, generator).to(unfolding)
    basis = sketch.expand(batch, -1, -1)
    for _ in range(_POWER_STEPS):
        basis = torch.linalg.qr(unfolding @ (unfolding.mT @ basis)).Q
    return basis


class _Problem(NamedTuple):
    """Tensors as matrices [b, d_1⋯d_split, d_split+1⋯d_n], and their squared norms [b]."""

    matrix: Tensor
    squares: Tensor
    dims: list[int]
    split: int


class _Fit(NamedTuple):
    """State of the samples under way; the first dimension of every field is theirs."""

    sample: Tensor
    weights: Tensor
    factors: Tensor  # [b, d_1 + … + d_n, R], so that one operation reaches all of them
    previous: Tensor  # the factors one sweep ago
    errors: Tensor
    age: Tensor  # sweeps since momentum last restarted
    n_iter: Tensor
    running: Tensor

    def select(self, samples: Tensor) -> "_Fit":
        return _Fit(*(field[samples] for field in self))


def _as_problem(tensor: Tensor) -> _Problem:
    dims = list(tensor.shape[1:])
    # Any split costs the same two matrix products; a square one leaves the least to do after them.
    split = min(range(1, len(dims)), key=lambda m: math.prod(dims[:m]) + math.prod(dims[m:]))
    matrix = tensor.reshape(len(tensor), math.prod(dims[:split]), math.prod(dims[split:]))
    squares = torch.linalg.vector_norm(matrix, dim=(1, 2), dtype=torch.float64).square()
    return _Problem(matrix, squares, dims, split)


def _initial_fit(factors: Tensor) -> _Fit:
    batch, _, rank = factors.shape
    zeros = factors.new_zeros(batch)
    return _Fit(
        sample=torch.arange(batch, device=factors.device),
        weights=factors.new_zeros(batch, rank),
        factors=factors,
        previous=factors,
        errors=zeros + torch.inf,
        age=zeros,
        n_iter=zeros.long(),
        running=zeros == 0,
    )


def _iterate(problem: _Problem, fit: _Fit, max_iter: int, tol: float) -> _Fit:
    """Sweep until all samples have converged; whenever half of the batch has, that half leaves it."""
    parts: list[_Fit] = []
    for _ in range(max_iter):
        fit = _advance(problem, fit, tol)
        running, remaining = fit.running, int(fit.running.sum())
        if 2 * remaining <= len(running):
            parts.append(fit.select(~running))
            fit = fit.select(running)
            problem = problem._replace(matrix=problem.matrix[running], squares=problem.squares[running])
        if remaining == 0:
            break
    merged = _Fit(*(torch.cat(fields) for fields in zip(*parts, fit, strict=True)))
    return merged.select(merged.sample.argsort())


def _advance(problem: _Problem, fit: _Fit, tol: float) -> _Fit:
    """Sweep once from the extrapolated factors; keep the outcome of samples whose error did not grow."""
    momentum = (fit.age / (fit.age + 3))[:, None, None]
    start = fit.factors + momentum * (fit.factors - fit.previous)
    weights, factors, errors = _sweep(problem, start, fit.weights)
    gain = fit.errors - errors
    kept = fit.running & (gain >= 0)
    stalled = ~(gain > tol * errors)
    return _Fit(
        sample=fit.sample,
        weights=weights.where(kept[:, None], fit.weights),
        factors=factors.where(kept[:, None, None], fit.factors),
        previous=fit.factors,
        errors=errors.where(kept, fit.errors),
        age=torch.where(stalled, 0, fit.age + 1),
        n_iter=fit.n_iter + fit.running,
        # Only a plain sweep tells: one with momentum may have overshot.
        running=fit.running & ~(stalled & (fit.age == 0)),
    )


def _sweep(problem: _Problem, start: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Update every mode once; return weights [b, R], factors [b, d_1 + … + d_n, R], errors [b]."""
    matrix, squares, dims, split = problem
    factors = list(start.split(dims, dim=1))
    grams = [factor.mT @ factor for factor in factors]
    modes = list(range(len(dims)))
    halves = ((modes[:split], modes[split:], matrix), (modes[split:], modes[:split], matrix.mT))
    for group, others, unfolding in halves:
        khatri_rao = _khatri_rao([factors[mode] for mode in others])
        partial = (unfolding @ khatri_rao.to(matrix.dtype)).unflatten(1, [dims[mode] for mode in group])
        for axis, mode in enumerate(group):
            mttkrp = _contract(partial, [factors[i] for i in group], axis)
            gram = reduce(torch.mul, [grams[i] for i in modes if i != mode])
            current = factors[mode] * weights[:, None]
            solution = _solve(mttkrp, gram, current, _DAMPING[matrix.dtype])
            product = solution.mT @ solution
            weights = product.diagonal(dim1=1, dim2=2).sqrt()
            # A term that has vanished keeps its column.
            factors[mode] = torch.where(weights[:, None] > 0, solution / weights[:, None], factors[mode])
            grams[mode] = factors[mode].mT @ factors[mode]
    errors = squares - 2 * (mttkrp * solution).sum(dim=(1, 2)) + (gram * product).sum(dim=(1, 2))
    return weights, torch.cat(factors, dim=1), errors.clamp(min=0).sqrt()


def _khatri_rao(factors: Sequence[Tensor]) -> Tensor:
    """Column-wise Kronecker product [b, ∏ d_i, R] of factors [b, d_i, R]."""
    product, *rest = factors
    for factor in rest:
        product = (product[:, :, None] * factor[:, None]).flatten(1, 2)
    return product


def _contract(partial: Tensor, factors: Sequence[Tensor], axis: int) -> Tensor:
    """Contract [b, d_1, …, d_m, R] with all of m factors [b, d_i, R] but one: [b, d_axis, R] float64."""
    for i in reversed(range(len(factors))):
        if i != axis:
            shape = [len(partial), *[1] * (partial.ndim - 2), partial.shape[-1]]
            shape[i + 1] = factors[i].shape[1]
            partial = (partial * factors[i].to(partial.dtype).view(shape)).sum(dim=i + 1)
    return partial.double()


def _solve(mttkrp: Tensor, gram: Tensor, current: Tensor, damping: float) -> Tensor:
    """Least-squares factor X [b, d, R] of X · gram = mttkrp, damped towards the current one."""
    damped = gram + damping * torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    # Unlike cholesky, cholesky_ex does not wait for the device to report a failure that damping rules out.
    lower = torch.linalg.cholesky_ex(damped).L
    return torch.cholesky_solve((mttkrp + damping * current).mT, lower).mT


def _unit_columns(factor: Tensor) -> Tensor:
    return factor / torch.linalg.vector_norm(factor, dim=1, keepdim=True)


def _normal_form(fit: _Fit, dims: list[int], scale: Tensor, dtype: torch.dtype) -> CPDecomposition:
    """Sort the terms by weight and move their signs to the first factor."""
    weights, order = fit.weights.sort(dim=1, descending=True, stable=True)
    ordered = fit.factors.gather(2, order[:, None].expand_as(fit.factors))
    first, *others = (_unit_columns(factor) for factor in ordered.split(dims, dim=1))
    signs = [torch.where(factor.sum(dim=1, keepdim=True) < 0, -1.0, 1.0) for factor in others]
    first = first * reduce(torch.mul, signs)
    factors = [first, *(factor * sign for factor, sign in zip(others, signs, strict=True))]
    return CPDecomposition(
        weights=(weights * scale[:, None]).to(dtype),
        factors=tuple(factor.to(dtype) for factor in factors),
        errors=fit.errors.to(dtype),
        n_iter=fit.n_iter,
    )
