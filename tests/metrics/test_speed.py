import time

import pytest
import torch
from torch.nn.functional import interpolate

from salvit.metrics.functional import (
    auc,
    box_localization,
    cc,
    kld,
    nss,
    perturbation_curves,
    shuffled_auc,
    sim,
)
from salvit.vit import load_vit
from tests.metrics.heatmap_cases import boxes_in

SIZE = (480, 640)
INPUT = (224, 224)


@pytest.fixture
def salicon_like():
    """A smooth prediction, a density, 332 fixations, and a pool of 1.66 million around the center."""
    generator = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(torch.arange(-240.0, 240), torch.arange(-320.0, 320), indexing="ij")
    density = torch.exp(-((x / 120) ** 2 + (y / 90) ** 2) / 2)
    drawn = torch.multinomial(density.flatten(), 1_660_000, True, generator=generator)
    pool = drawn.bincount(minlength=density.numel()).reshape(SIZE)
    fixations = [torch.stack([drawn[:332] % SIZE[1], drawn[:332] // SIZE[1]], 1)]
    pred = interpolate(torch.rand(1, 1, 30, 40, generator=generator), SIZE, mode="bilinear")[0]
    return pred, density[None], fixations, pool


def seconds(function, *args):
    """Time on the processor."""
    start = time.process_time()
    function(*args)
    return time.process_time() - start


def milliseconds(function, *args):
    """Time of the fastest of five runs on the processor, whatever else runs beside it."""
    return 1000 * min(seconds(function, *args) for _ in range(5))


@pytest.mark.slow
def test_an_image_of_salicon_is_scored_in_60_ms_on_one_core(salicon_like):
    pred, density, fixations, pool = salicon_like
    of_pairs = [milliseconds(function, pred, density) for function in (cc, sim, kld)]
    of_points = [milliseconds(function, pred, fixations) for function in (nss, auc)]
    shuffled = milliseconds(shuffled_auc, pred, fixations, pool)
    assert shuffled < 30
    assert shuffled + sum(of_pairs) + sum(of_points) < 60


@pytest.mark.slow
def test_boxes_take_less_than_2_ms_an_image():
    generator = torch.Generator().manual_seed(0)
    heatmaps, boxes = torch.rand(16, 14, 14, generator=generator), [boxes_in(INPUT, 2, generator)] * 16
    assert milliseconds(box_localization, heatmaps, boxes, INPUT) / 16 < 2


@pytest.mark.slow
def test_perturbation_curves_cost_their_forward_passes_and_little_else():
    vit = load_vit("vit_tiny_patch16_224", pretrained=False)
    images, removed = torch.randn(2, 3, *INPUT), torch.randn(40, 3, *INPUT)
    heatmaps = torch.rand(2, 14, 14)

    def bare():
        with torch.no_grad():
            vit(removed)

    def curves():
        perturbation_curves(vit, images, heatmaps, 0)

    bare()
    curves()
    # In turns, so that a busy machine slows both; the fastest run of each is the least disturbed.
    times = [(seconds(bare), seconds(curves)) for _ in range(7)]
    bare_time, curves_time = (min(column) for column in zip(*times, strict=True))
    assert curves_time / bare_time < 1.15
