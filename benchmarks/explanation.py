"""What scoring an explanation costs beside the forward passes it needs."""

import time
from functools import partial

import torch
from torch import Tensor

import salvit
from benchmarks.timing import Ratio, ratios
from salvit.extractors import Rollout
from salvit.metrics import (
    ABPC,
    SMM,
    BoxLocalization,
    BoxSweep,
    Case,
    Complexity,
    Consistency,
    DeletionInsertion,
    EnergyPointing,
    Infidelity,
    MassAccuracy,
    MaxSensitivity,
    ParameterRandomisation,
    PointingGame,
    RandomLogit,
    RankAccuracy,
    SaCo,
)
from salvit.metrics.functional import box_localization, perturbation_curves
from salvit.metrics.functional.removal import BATCH_SIZE
from salvit.vit import ViT
from salvit.vit.randomise import model_parts

_FORWARDS = 20
"""Forward passes of the perturbation curves of an image."""
_OF_MAPS = (
    BoxLocalization,
    BoxSweep,
    EnergyPointing,
    SMM,
    MassAccuracy,
    RankAccuracy,
    PointingGame,
    Complexity,
)
_OF_ALTERED_IMAGES = (ABPC, DeletionInsertion, SaCo, Infidelity)
_OF_OTHER_MAPS = (MaxSensitivity, Consistency, ParameterRandomisation, RandomLogit)
ALL_SCORES = (*_OF_MAPS, *_OF_ALTERED_IMAGES, *_OF_OTHER_MAPS)
ALTERED_IMAGES = 20 + 10 + 10 + 50
"""Of all scores: curves, insertion, groups and squares. Deletion and every image as it is are among the curves."""
_OTHER_MAPS = 10 + 5 + 1
"""Sensitivity, flip and shifts, another class; parameter randomisation has a map per part of the model."""


def table(model: str, large: str, size: int, batch: int, rounds: int, device: str) -> str:
    """A Markdown table: perturbation and all scores over what they need, and box extraction per image.

    ROAD's fill is measured with a larger model, as its solver takes the same time for each model.
    """
    vit = salvit.load_vit(model, pretrained=False, img_size=size).to(device)
    torch.manual_seed(0)
    images = torch.randn(batch, 3, size, size, device=device)
    heatmaps = torch.rand(batch, size // 16, size // 16, device=device)
    target = torch.zeros(batch, dtype=torch.long, device=device)
    curves = partial(perturbation_curves, vit, images, heatmaps, target)
    ratio = ratios(partial(_forwards, vit, images), {"curves": curves}, rounds, device)["curves"]
    scores, needed = partial(score_all, vit, images), partial(_needed, vit, images)
    every = ratios(needed, {"scores": scores}, max(1, rounds // 3), device)["scores"]
    road = _road(large, images[:2], heatmaps[:2], rounds, device)
    boxes = _box_milliseconds(heatmaps.cpu(), size, rounds)
    return "\n".join(
        [
            "| | measured | range | limit |",
            "|---|---|---|---|",
            f"| perturbation curves ÷ {_FORWARDS} bare forward passes an image | {ratio.median:.2f} | "
            f"{ratio.low:.2f} … {ratio.high:.2f} | 1.15 |",
            f"| all scores of a method ÷ the {ALTERED_IMAGES} forward passes and "
            f"{1 + _OTHER_MAPS + len(model_parts(vit))} maps an image that they need | {every.median:.2f} | "
            f"{every.low:.2f} … {every.high:.2f} | 1.2 |",
            f"| perturbation curves with ROAD's fill of {large}, batch 2 ÷ the same | {road.median:.2f} | "
            f"{road.low:.2f} … {road.high:.2f} | 1.2 |",
            f"| boxes of a heatmap, ms an image on one core | {boxes:.2f} | | 2 |",
        ]
    )


def _road(model: str, images: Tensor, heatmaps: Tensor, rounds: int, device: str) -> Ratio:
    vit = salvit.load_vit(model, pretrained=False, img_size=images.shape[2]).to(device)
    target = torch.zeros(len(images), dtype=torch.long, device=device)
    curves = partial(perturbation_curves, vit, images, heatmaps, target, fill="linear")
    return ratios(partial(_forwards, vit, images), {"road": curves}, max(1, rounds // 3), device)["road"]


def score_all(vit: ViT, images: Tensor) -> None:
    """Every score of rollout but agreement with people, which needs no forward pass either."""
    size = images.shape[2]
    target = torch.zeros(len(images), dtype=torch.long, device=images.device)
    box = torch.tensor([[size / 4, size / 4, size / 2, size / 2]])
    mask = torch.zeros(size, size, dtype=torch.bool)
    mask[size // 4 : size // 2, size // 4 : size // 2] = True

    def explain(images: Tensor, target: Tensor = target) -> Tensor:
        return Rollout()(vit, images, target).mean(1)

    batch = {"boxes": [box] * len(images), "mask": [mask] * len(images)}
    case = Case(vit, images, target, explain(images), explain, batch)
    for kind in ALL_SCORES:
        metric = kind().for_model(vit)
        metric.score(case)
        metric.compute()


def _needed(vit: ViT, images: Tensor) -> None:
    """The forward passes and the maps that all scores need, without any score."""
    _forwards(vit, images, ALTERED_IMAGES)
    for _ in range(1 + _OTHER_MAPS + len(model_parts(vit))):
        Rollout()(vit, images)


def _forwards(vit: ViT, images: Tensor, count: int = _FORWARDS) -> None:
    """Forward passes of `count` images for each, in batches of the size that scores take."""
    every = images.repeat_interleave(count, dim=0)
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
