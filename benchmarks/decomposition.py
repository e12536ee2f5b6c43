"""What a CP decomposition of attention costs, beside tensorly's and at which errors."""

import warnings
from collections.abc import Callable
from functools import partial

import numpy as np
import tensorly
import torch
from tensorly.decomposition import non_negative_parafac_hals, parafac
from torch import Tensor
from torch.nn import functional as F

import salvit
from benchmarks.precision import displays
from benchmarks.timing import ratios
from salvit.extractors.base import patches_to_grid
from salvit.extractors.cp import cp_als
from salvit.extractors.recording import read_attention
from salvit.vit import normalize, num_prefix_tokens

SWEEPS = 50
"""Of tensorly's fits."""


def table(rounds: int, images: int = 4, rank: int = 32, largest: int = 256) -> str:
    """Markdown tables: tensorly's CPU time over ours, and ours by rank and kind.

    Args:
        rounds: number of rounds.
        images: how many displays are decomposed at once.
        rank: of the comparison with tensorly.
        largest: the other rank of the second table.
    """
    small, large = attention((112, 112), images), attention((120, 160), images)
    lines = ["| fit | tensorly ÷ ours | range | our error | tensorly's |", "|---|---|---|---|---|"]
    for name, nonnegative, theirs in (("free", False, _free), ("non-negative", True, _hals)):
        ours = partial(cp_als, small, rank, nonnegative=nonnegative)
        ratio = ratios(ours, {name: partial(_loop, theirs, small, rank)}, rounds, "cpu")[name]
        errors = f"{ours().errors.mean():.3f} | {_loop(theirs, small, rank):.3f}"
        lines.append(f"| {name} | {ratio.median:.1f} | {ratio.low:.1f} … {ratio.high:.1f} | {errors} |")
    lines += [
        "",
        "| rank | free, s an image | error | non-negative ÷ free | error |",
        "|---|---|---|---|---|",
    ]
    for size in (rank, largest):
        free, parts = (partial(cp_als, large, size, nonnegative=nonnegative) for nonnegative in (False, True))
        found = ratios(free, {"parts": parts, "free": free}, rounds, "cpu")
        seconds = found["free"].seconds / images
        errors = [fit().errors.mean() for fit in (free, parts)]
        lines.append(
            f"| {size} | {seconds:.2f} | {errors[0]:.3f} | {found['parts'].median:.2f} | {errors[1]:.3f} |"
        )
    return "\n".join(lines)


def attention(size: tuple[int, int], images: int) -> Tensor:
    """The last block's attention [images, 6, hw, h, w] of the embedded backbone to enlarged displays.

    Args:
        size: height and width in pixels.
        images: how many.
    """
    vit = salvit.load_vit("salvit_tiny")
    batch = normalize(vit, F.interpolate(displays(images), size, mode="bilinear", antialias=True))
    [found] = read_attention(vit, batch, [-1])
    return patches_to_grid(vit, batch, found[:, :, num_prefix_tokens(vit) :])


_Fit = Callable[[np.ndarray, int], object]


def _free(array: np.ndarray, rank: int) -> object:
    return parafac(array, rank, n_iter_max=SWEEPS, init="svd", random_state=0)


def _hals(array: np.ndarray, rank: int) -> object:
    return non_negative_parafac_hals(array, rank, n_iter_max=SWEEPS, init="svd", random_state=0)


def _loop(fit: _Fit, tensors: Tensor, rank: int) -> float:
    """Decompose tensors one by one; returns the mean relative error."""
    errors = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of unfoldings with fewer singular vectors than terms
        for array in tensors.numpy():
            difference = array - tensorly.cp_to_tensor(fit(array, rank))
            errors.append(np.linalg.norm(difference) / np.linalg.norm(array))
    return float(np.mean(errors))


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    print(table(rounds=3))


if __name__ == "__main__":
    main()
