"""How much of salient attention is the fit: `python -m benchmarks.stability [--images FOLDER --size 240 320]`."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

import salvit
from benchmarks.precision import displays, photographs
from benchmarks.salient_study import READINGS
from salvit.extractors import SalientAttention
from salvit.extractors.base import patches_to_grid
from salvit.extractors.cp import CPDecomposition, cp_als
from salvit.extractors.recording import read_attention
from salvit.vit import ViT, normalize, num_prefix_tokens

_TIGHT = {"tol": 1e-6, "max_iter": 1000}
_CHANGES: dict[str, dict[str, Any]] = {
    "seed=1": {"seed": 1},
    'init="random"': {"init": "random"},
    "tol=1e-6, max_iter=1000": _TIGHT,
    "float64": {},
}


class _Maps(NamedTuple):
    """What a decomposition chooses: positions as truth values [B, hw], and means of the k maps [B, hw] each way."""

    positions: Tensor
    locations: Tensor
    components: Tensor


def table(vit: ViT, images: Tensor, ranks: Sequence[int]) -> str:
    """Markdown tables, for each number of modes, of what changes with how the decomposition is computed.

    Args:
        vit: a float32 model.
        images: RGB in [0, 1], [B, 3, H, W].
        ranks: numbers of modes, all of which are kept.
    """
    attention = torch.cat([_attention(vit, part) for part in normalize(vit, images).split(16)])
    return "\n\n".join(f"{_of_rank(attention, rank)}\n\n{readings(attention, rank)}" for rank in ranks)


def _of_rank(attention: Tensor, rank: int) -> str:
    fit, tight = cp_als(attention, rank), cp_als(attention, rank, **_TIGHT)
    usual = _maps(attention, fit)
    heaviest = fit.weights[:, 0] / attention.flatten(1).norm(dim=1)
    capped = 100 * (fit.n_iter == 100).double().mean()
    error = 100 * (fit.errors / tight.errors - 1).mean()
    lines = [
        f"k = {rank}: the heaviest mode weighs {heaviest.median():.2f} times the norm of the attention (at most "
        f"{heaviest.max():.2f}), {capped:.0f} % of the fits stop at 100 sweeps, their error is {error:.1f} % above "
        f"that of tol=1e-6 (means; relative error {fit.errors.mean():.3f}).",
        "",
        "| changed | positions shared | mean of the retrieved maps | mean of the components |",
        "|---|---|---|---|",
    ]
    for name, options in _CHANGES.items():
        tensor = attention.double() if name == "float64" else attention
        changed = _maps(tensor, cp_als(tensor, rank, **options))
        shared = _shared(usual.positions, changed.positions)
        alike = [_correlations(old, new) for old, new in zip(usual[1:], changed[1:], strict=True)]
        cells = " | ".join(f"{found.median():.3f} ({found.min():.3f})" for found in alike)
        lines.append(f"| {name} | {shared:.2f} | {cells} |")
    return "\n".join(lines)


def readings(attention: Tensor, rank: int) -> str:
    """A Markdown table of what another seed changes in each reading: positions, maps one by one, and their mean.

    Args:
        attention: [B, heads, hw, h, w].
        rank: number of modes, all of which are kept.
    """
    fits = {
        (nonnegative, seed): cp_als(attention, rank, nonnegative=nonnegative, seed=seed)
        for nonnegative in (False, True)
        for seed in (0, 1)
    }
    lines = ["| reading, seed=1 | positions shared | each map | mean of the maps |", "|---|---|---|---|"]
    for name, options in READINGS.items():
        extractor = SalientAttention(k=rank, **options)
        pair = [fits[extractor.nonnegative, seed] for seed in (0, 1)]
        positions = [_as_truth(extractor.positions(attention, fit), attention.shape[2]) for fit in pair]
        maps = [extractor.of_fit(attention, fit).flatten(2) for fit in pair]
        each = _correlations(*(both.flatten(0, 1) for both in maps))
        mean = _correlations(*(both.mean(dim=1) for both in maps))
        cells = " | ".join(f"{found.nanmedian():.3f}" for found in (each, mean))
        lines.append(f"| {name} | {_shared(*positions):.2f} | {cells} |")
    return "\n".join(lines)


def _as_truth(positions: Tensor, patches: int) -> Tensor:
    return torch.zeros(len(positions), patches, dtype=torch.bool).scatter(1, positions, True)


def _shared(positions: Tensor, others: Tensor) -> Tensor:
    """Mean share of the positions [B, hw] of either that both have."""
    return ((positions & others).sum(1) / (positions | others).sum(1)).mean()


def _attention(vit: ViT, images: Tensor) -> Tensor:
    [attention] = read_attention(vit, images, [-1])
    return patches_to_grid(vit, images, attention[:, :, num_prefix_tokens(vit) :])


def _maps(attention: Tensor, fit: CPDecomposition) -> _Maps:
    _, queries, rows, columns = fit.factors
    found = queries.abs().argmax(dim=1)
    samples = torch.arange(len(found))[:, None]
    positions = _as_truth(found, queries.shape[1])
    locations = attention.mean(dim=1)[samples, found].mean(dim=1)
    components = torch.einsum("bk,bhk,bwk->bhw", fit.weights, rows, columns)
    return _Maps(positions, locations.flatten(1), components.flatten(1))


def _correlations(maps: Tensor, others: Tensor) -> Tensor:
    pairs = zip(maps.double(), others.double(), strict=True)
    return torch.stack([torch.corrcoef(torch.stack(pair))[0, 1] for pair in pairs])


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stability", description=__doc__)
    parser.add_argument("--images", type=Path, help="folder of images; default: 128 displays of PopOut")
    parser.add_argument("--size", type=int, nargs=2, default=[240, 320], help="height and width in pixels")
    parser.add_argument("--ranks", type=int, nargs="+", default=[8, 32], help="numbers of modes")
    options = parser.parse_args()
    images = displays(128) if options.images is None else photographs(options.images, tuple(options.size))
    print(table(salvit.load_vit("salvit_tiny"), images, options.ranks))


if __name__ == "__main__":
    main()
