"""Scores of an image: their time, and agreement with pysaliency and its time where it is installed.

python -m benchmarks.metrics     prints the table alone
"""

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.timing import ratios, seconds
from salvit.metrics import OtherImages, saliency_metrics, update_metrics
from salvit.metrics.functional import (
    auc,
    auc_borji,
    auc_judd,
    cc,
    emd,
    information_gain,
    kld,
    nss,
    sampled_shuffled_auc,
    shuffled_auc,
    sim,
)

SIZE = (480, 640)
IMAGES = 5000
FIXATIONS = 332
"""Of an image; of all 5,000 together 1.66 million, as SALICON's validation set."""
LIMITS = {"exact, all six": 60.0, "sAUC, exact": 30.0}
"""Milliseconds an image on one core."""


class Simulated(NamedTuple):
    """What an image of SALICON is scored with, drawn at random around the center.

    Attributes:
        pred: float32 [1, 480, 640], smooth.
        density: float32 [1, 480, 640].
        fixations: of the image, one [332, 2].
        pool: count map of the fixations of all images.
        others: the same fixations, by image.
        baseline: float32 [480, 640].
    """

    pred: Tensor
    density: Tensor
    fixations: list[Tensor]
    pool: Tensor
    others: OtherImages
    baseline: Tensor


def table(rounds: int, images: int = IMAGES) -> str:
    """A Markdown table of milliseconds an image, with pysaliency's time over ours and the largest difference."""
    case = simulated(images)
    peers = _peers(case) if find_spec("pysaliency") else {}
    lines = [
        "| score | ms an image | limit | pysaliency's time ÷ ours | difference |",
        "|---|---|---|---|---|",
    ]
    for name, run in _ours(case).items():
        run()
        taken = 1000 * median(seconds(run, "cpu") for _ in range(rounds))
        limit = LIMITS.get(name)
        shown = "" if limit is None else f"{limit:g}" + ("" if taken <= limit else " (exceeded)")
        against = "|  |"
        if name in peers:
            ratio = ratios(run, {"peer": peers[name]}, rounds, "cpu")["peer"]
            against = f"| {ratio.median:.1f} | {abs(run() - peers[name]()):.0e}"
        lines.append(f"| {name} | {taken:.1f} | {shown} {against} |")
    return "\n".join(lines)


def simulated(images: int = IMAGES) -> Simulated:
    """Make up the fixations of a whole dataset and the prediction for one of its images."""
    generator = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(torch.arange(-240.0, 240), torch.arange(-320.0, 320), indexing="ij")
    density = torch.exp(-((x / 120) ** 2 + (y / 90) ** 2) / 2)
    drawn = torch.multinomial(density.flatten(), images * FIXATIONS, True, generator=generator)
    points = torch.stack([drawn % SIZE[1], drawn // SIZE[1]], 1).float().split(FIXATIONS)
    pred = F.interpolate(torch.rand(1, 1, 30, 40, generator=generator), SIZE, mode="bilinear")[0]
    return Simulated(
        pred,
        density[None],
        [points[0]],
        drawn.bincount(minlength=density.numel()).reshape(SIZE),
        OtherImages(points, [SIZE] * images),
        density,
    )


def _ours(case: Simulated) -> dict[str, Callable[[], float]]:
    pred, fixations = case.pred, case.fixations
    exact = saliency_metrics(case.pool)
    single: dict[str, Callable[[], Tensor]] = {
        "CC": partial(cc, pred, case.density),
        "NSS": partial(nss, pred, fixations, ddof=0),
        "SIM": partial(sim, pred, case.density, minmax=False),
        "KLD": partial(kld, pred, case.density),
        "sAUC, exact": partial(shuffled_auc, pred, fixations, case.pool),
        "AUC": partial(auc, pred, fixations),
        "IG": partial(information_gain, pred, fixations, case.baseline),
        "AUC-Judd": partial(auc_judd, pred, fixations),
        "AUC-Borji": partial(auc_borji, pred, fixations),
        "sAUC, mit": partial(sampled_shuffled_auc, pred, fixations, case.others),
    }
    if find_spec("ot"):
        single["EMD"] = partial(emd, pred, case.density, match_histogram=True)
    batch = {"size": [SIZE], "density": case.density, "fixations": fixations}

    def everything() -> float:
        exact.reset()
        update_metrics(exact, pred, batch)
        return float("nan")

    return {"exact, all six": everything, **{name: _number(score) for name, score in single.items()}}


def _number(score: Callable[[], Tensor]) -> Callable[[], float]:
    return lambda: float(score())


def _peers(case: Simulated) -> dict[str, Callable[[], float]]:
    """Pysaliency's scores of the same map; its models are given the fixations of all images for sAUC."""
    import pysaliency.metrics as peer
    from pysaliency.roc import general_roc

    if not hasattr(np, "trapz"):  # gone from NumPy 2.4; pysaliency 0.2.22 still calls it
        np.trapz = np.trapezoid  # noqa: NPY201
    pred, density = (maps[0].double().numpy() for maps in (case.pred, case.density))
    x, y = case.fixations[0].long().numpy().T
    others = _repeated(case.pool.flatten().numpy() - np.bincount(y * SIZE[1] + x, minlength=pred.size))

    def roc(negatives: Callable[[], Any]) -> float:
        return float(general_roc(pred[y, x], negatives())[0])

    return {
        "CC": lambda: float(peer.CC(pred, density)),
        "NSS": lambda: float(peer.NSS(pred, x, y).mean()),
        "SIM": lambda: float(peer.SIM(pred, density)),
        "KLD": lambda: float(peer.MIT_KLDiv(pred, density)),
        "AUC": lambda: roc(pred.flatten),
        "sAUC, exact": lambda: roc(lambda: pred.ravel()[others]),
    }


def _repeated(counts: np.ndarray) -> np.ndarray:
    """Each pixel as often as it was fixated."""
    return np.repeat(np.arange(len(counts)), counts)


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(table(rounds=5))
