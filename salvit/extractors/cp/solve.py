"""The least-squares problem of one mode: the factor X [b, R, d] for which gram · X is nearly the MTTKRP."""

import math

import torch
from torch import Tensor

# Nearly parallel terms make a Gram matrix singular to rounding. Damping towards the current factor keeps it
# positive definite and, unlike a ridge towards zero, moves no fixed point. It also bounds what the rounding of
# the contractions, eps, can do to the weights: with less of it, terms of a constant tensor grow and cancel.
DAMPING = {torch.float32: 1e-5, torch.float64: 1e-10}

# With 3 to 10 the fits end at the same errors.
_STEPS = 5


def solve(mttkrp: Tensor, gram: Tensor, current: Tensor) -> Tensor:
    """Solve without a constraint, damped towards the current factor.

    Args:
        mttkrp: [b, R, d], float32 or float64.
        gram: [b, R, R] float64, the product of the other modes' Gram matrices.
        current: [b, R, d] float64.

    Returns:
        [b, R, d] float64.
    """
    damping = DAMPING[mttkrp.dtype]
    damped = gram.clone()
    damped.diagonal(dim1=1, dim2=2).add_(damping)
    # Unlike cholesky, cholesky_ex does not wait for the device to report a failure that damping rules out.
    return torch.cholesky_solve(mttkrp + damping * current, torch.linalg.cholesky_ex(damped).L)


def solve_nonnegative(mttkrp: Tensor, gram: Tensor, current: Tensor) -> Tensor:
    """Come nearer to the non-negative solution by a few accelerated projected gradient steps.

    Guan, Tao, Luo and Yuan, "NeNMF: an optimal gradient method for nonnegative matrix factorization", IEEE
    Transactions on Signal Processing 60, 2012. Updating a column at a time, as HALS does, ends at the same errors and
    would take a launch per column. Arguments and result are those of `solve`; it runs in the MTTKRP's dtype.
    """
    gram, factor = gram.to(mttkrp.dtype), current.to(mttkrp.dtype)
    # Collatz and Wielandt: the largest such ratio bounds the largest eigenvalue of a non-negative matrix.
    vector = gram @ gram.sum(dim=2, keepdim=True)
    step = 1 / ((gram @ vector) / vector.clamp_min(torch.finfo(vector.dtype).tiny)).amax(dim=1, keepdim=True)
    ahead, pace = factor, 1.0
    for _ in range(_STEPS):
        before, factor = factor, (ahead - step * (gram @ ahead - mttkrp)).clamp_min(0)
        pace, last = (1 + math.sqrt(1 + 4 * pace**2)) / 2, pace
        ahead = factor + (last - 1) / pace * (factor - before)
    return factor.to(current.dtype)
