"""What scoring an explanation costs beside the forward passes it needs."""

import time
from functools import partial

import torch
from torch import Tensor

import salvit
from benchmarks.timing import ratios
from salvit.metrics.functional import box_localization, perturbation_curves
from salvit.metrics.functional.removal import BATCH_SIZE
from salvit.vit import ViT

_FORWARDS = 20


def table(model: str, size: int, batch: int, rounds: int, device: str) -> str:
    """A Markdown table: perturbation over the bare forward passes, and box extraction per image."""
    vit = salvit.load_vit(model, pretrained=False, img_size=size).to(device)
    torch.manual_seed(0)
    images = torch.randn(batch, 3, size, size, device=device)
    heatmaps = torch.rand(batch, size // 16, size // 16, device=device)
    target = torch.zeros(batch, dtype=torch.long, device=device)
    curves = partial(perturbation_curves, vit, images, heatmaps, target)
    ratio = ratios(partial(_forwards, vit, images), {"curves": curves}, rounds, device)["curves"]
    boxes = _box_milliseconds(heatmaps.cpu(), size, rounds)
    return "\n".join(
        [
            "| | measured | range | limit |",
            "|---|---|---|---|",
            f"| perturbation curves ÷ {_FORWARDS} bare forward passes an image | {ratio.median:.2f} | "
            f"{ratio.low:.2f} … {ratio.high:.2f} | 1.15 |",
            f"| boxes of a heatmap, ms an image on one core | {boxes:.2f} | | 2 |",
        ]
    )


def _forwards(vit: ViT, images: Tensor) -> None:
    """As many forward passes as the curves need, in batches of their size."""
    every = images.repeat_interleave(_FORWARDS, dim=0)
    with torch.no_grad():
        for part in every.split(BATCH_SIZE):
            vit(part)


def _box_milliseconds(heatmaps: Tensor, size: int, rounds: int) -> float:
    boxes = [torch.tensor([[size / 4, size / 4, size / 2, size / 2]])] * len(heatmaps)
    times = []
    for _ in range(rounds):
        begin = time.process_time()
        box_localization(heatmaps, boxes, (size, size))
        times.append((time.process_time() - begin) * 1000 / len(heatmaps))
    return sorted(times)[len(times) // 2]
