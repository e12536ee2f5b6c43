"""Sweeps until every sample has converged, with momentum."""

from typing import NamedTuple

import torch
from torch import Tensor

from salvit.extractors.cp.sweep import Problem, sweep

# On a GPU the host would wait for every answer.
_SWEEPS_BETWEEN_CHECKS = {"cpu": 1}
_ELSEWHERE = 10


class Fit(NamedTuple):
    """State of the samples under way; the first dimension of every field is theirs."""

    sample: Tensor  # index in the batch
    weights: Tensor
    factors: Tensor  # [b, R, d_1 + … + d_n], so that one operation reaches all of them
    previous: Tensor  # the factors one sweep ago
    errors: Tensor
    age: Tensor  # sweeps since momentum last restarted
    n_iter: Tensor
    running: Tensor

    def select(self, samples: Tensor) -> "Fit":
        """The state of some of the samples."""
        return Fit(*(field[samples] for field in self))


def initial_fit(factors: Tensor) -> Fit:
    """The state before the first sweep, from factors [b, R, d_1 + … + d_n]."""
    batch, rank, _ = factors.shape
    zeros = factors.new_zeros(batch)
    return Fit(
        sample=torch.arange(batch, device=factors.device),
        weights=factors.new_zeros(batch, rank),
        factors=factors,
        previous=factors,
        errors=zeros + torch.inf,
        age=zeros,
        n_iter=zeros.long(),
        running=zeros == 0,
    )


def restarted(fit: Fit, dtype: torch.dtype) -> Fit:
    """The state with which another problem is begun from the same factors, in another precision."""
    return initial_fit(fit.factors.to(dtype))._replace(weights=fit.weights.to(dtype), n_iter=fit.n_iter)


def iterate(problem: Problem, fit: Fit, max_iter: int, tol: float) -> Fit:
    """Sweep until all samples have converged; whenever half of the batch has, that half leaves it.

    `max_iter` counts the sweeps that the state has already had as well; `tol` is that of `cp_als`.
    """
    every = _SWEEPS_BETWEEN_CHECKS.get(fit.factors.device.type, _ELSEWHERE)
    parts: list[Fit] = []
    for count in range(1, max_iter + 1):
        fit = _advance(problem, fit, max_iter, tol)
        if count % every:
            continue
        running, remaining = fit.running, int(fit.running.sum())
        if 2 * remaining <= len(running):
            parts.append(fit.select(~running))
            fit, problem = fit.select(running), problem.select(running)
        if remaining == 0:
            break
    merged = Fit(*(torch.cat(fields) for fields in zip(*parts, fit, strict=True)))
    return merged.select(merged.sample.argsort())


def _advance(problem: Problem, fit: Fit, max_iter: int, tol: float) -> Fit:
    """Sweep once from the extrapolated factors; keep the outcome of samples whose error did not grow."""
    momentum = (fit.age / (fit.age + 3))[:, None, None]
    start = fit.factors + momentum * (fit.factors - fit.previous)
    if problem.nonnegative:
        start = start.clamp_min(0)
    weights, factors, errors = sweep(problem, start, fit.weights)
    gain = fit.errors - errors
    kept = fit.running & (gain >= 0)
    stalled = ~(gain > tol * errors)
    n_iter = fit.n_iter + fit.running
    return Fit(
        sample=fit.sample,
        weights=weights.where(kept[:, None], fit.weights),
        factors=factors.where(kept[:, None, None], fit.factors),
        previous=fit.factors,
        errors=errors.where(kept, fit.errors),
        age=torch.where(stalled, 0, fit.age + 1),
        n_iter=n_iter,
        # Only a plain sweep tells that a sample stalls: one with momentum may have overshot.
        running=fit.running & ~(stalled & (fit.age == 0)) & (n_iter < max_iter),
    )
