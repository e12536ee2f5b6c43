"""One sweep of alternating least squares: every mode is updated once."""

import math
from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

from salvit.extractors.cp.solve import solve, solve_nonnegative
from salvit.extractors.cp.start import range_basis


class Problem(NamedTuple):
    """What is fitted: tensors as matrices [b, d_1⋯d_split, d_split+1⋯d_n].

    Attributes:
        matrix: the matrices; where `basis` is given, their products with it.
        basis: None, or orthonormal columns [b, d_split+1⋯d_n, c] that the matrices are compressed to.
        squares: [b] squared norms.
        dims: d_1, …, d_n.
        split: number of modes that make up the rows.
        nonnegative: whether factors may not be negative.
    """

    matrix: Tensor
    basis: Tensor | None
    squares: Tensor
    dims: list[int]
    split: int
    nonnegative: bool

    def select(self, samples: Tensor) -> "Problem":
        """The problem of some of the samples."""
        basis = None if self.basis is None else self.basis[samples]
        return self._replace(matrix=self.matrix[samples], basis=basis, squares=self.squares[samples])

    def compress(self, count: int) -> "Problem":
        """The problem with `count` leading right singular vectors, or two thirds of all, in place of the columns."""
        count = min(count, 2 * self.matrix.shape[2] // 3)
        basis = range_basis(self.matrix.mT, count, torch.Generator().manual_seed(0))
        return self._replace(matrix=self.matrix @ basis, basis=basis)

    def times_rows(self, columns: Tensor) -> Tensor:
        """Products [b, R, d_1⋯d_split] of [b, R, d_split+1⋯d_n] with the matrices' rows."""
        return (columns if self.basis is None else columns @ self.basis) @ self.matrix.mT

    def times_columns(self, rows: Tensor) -> Tensor:
        """Products [b, R, d_split+1⋯d_n] of [b, R, d_1⋯d_split] with the matrices' columns."""
        product = rows @ self.matrix
        return product if self.basis is None else product @ self.basis.mT


def as_problem(tensor: Tensor, nonnegative: bool) -> Problem:
    """Unfold tensors [B, d_1, …, d_n]."""
    dims = list(tensor.shape[1:])
    # Any split costs the same two matrix products; a square one leaves the least to do after them.
    split = min(range(1, len(dims)), key=lambda m: math.prod(dims[:m]) + math.prod(dims[m:]))
    matrix = tensor.reshape(len(tensor), math.prod(dims[:split]), math.prod(dims[split:]))
    squares = torch.linalg.vector_norm(matrix, dim=(1, 2), dtype=torch.float64).square()
    return Problem(matrix, None, squares, dims, split, nonnegative)


def sweep(problem: Problem, start: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Update every mode once.

    Neighbouring modes share a product with the tensors, so these are read only twice. That runs in their dtype; what
    is solved, in float64.

    Args:
        problem: what is fitted.
        start: [b, R, d_1 + … + d_n] float64, unit columns but for momentum.
        weights: [b, R], with which the first factor is scaled.

    Returns:
        Weights [b, R], factors [b, R, d_1 + … + d_n] of unit columns, errors [b].
    """
    dims, split, dtype = problem.dims, problem.split, problem.matrix.dtype
    update = solve_nonnegative if problem.nonnegative else solve
    factors = list(start.split(dims, dim=2))
    # In the tensors' dtype, for the products with them.
    rounded = [factor.to(dtype) for factor in factors]
    grams = [factor @ factor.mT for factor in factors]
    modes = list(range(len(dims)))
    halves = (
        (modes[:split], modes[split:], problem.times_rows),
        (modes[split:], modes[:split], problem.times_columns),
    )
    for group, others, product in halves:
        partial = product(_khatri_rao([rounded[i] for i in others])).unflatten(2, [dims[i] for i in group])
        for axis, mode in enumerate(group):
            mttkrp = _contract(partial, [rounded[i] for i in group], axis)
            gram = reduce(torch.mul, [grams[i] for i in modes if i != mode])
            solution = update(mttkrp, gram, factors[mode] * weights[:, :, None])
            weights = torch.linalg.vector_norm(solution, dim=2)
            # A term that has vanished keeps its column.
            factors[mode] = torch.where(
                weights[:, :, None] > 0, solution / weights[:, :, None], factors[mode]
            )
            grams[mode] = factors[mode] @ factors[mode].mT
            rounded[mode] = factors[mode].to(dtype)
    overlap = (mttkrp.double() * solution).sum(dim=(1, 2))
    size = torch.einsum("bij,bi,bj->b", gram * grams[-1], weights, weights)
    errors = problem.squares - 2 * overlap + size
    return weights, torch.cat(factors, dim=2), errors.clamp(min=0).sqrt()


def _khatri_rao(factors: Sequence[Tensor]) -> Tensor:
    """Column-wise Kronecker product [b, R, ∏ d_i] of factors [b, R, d_i]."""
    product, *rest = factors
    for factor in rest:
        product = (product[..., None] * factor[:, :, None]).flatten(2)
    return product


def _contract(partial: Tensor, factors: Sequence[Tensor], axis: int) -> Tensor:
    """Contract [b, R, d_1, …, d_m] with all of m factors [b, R, d_i] but one: [b, R, d_axis]."""
    # As products of small matrices, which, unlike a sum of products, need no copy of the whole.
    last = len(factors) - 1
    for i in range(last, axis, -1):
        partial = (partial @ factors[i].view(*factors[i].shape[:2], *[1] * (i - 1), -1, 1)).squeeze(-1)
    for i in range(axis):
        rest = partial.shape[3:]
        partial = (factors[i][:, :, None] @ partial.flatten(3)).view(*partial.shape[:2], *rest)
    return partial
