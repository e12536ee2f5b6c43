"""SALICON's validation set has 5,000 images of 480×640 and 1.66 million fixations: milliseconds are hours."""

import time

import pytest
import torch
from torch.nn.functional import interpolate

from salvit.metrics.functional import auc, cc, kld, nss, shuffled_auc, sim

SIZE = (480, 640)


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


def cpu_milliseconds(function, *args):
    """Time of the fastest of five runs on the processor, whatever else runs beside it."""
    times = []
    for _ in range(5):
        start = time.process_time()
        function(*args)
        times.append(time.process_time() - start)
    return 1000 * min(times)


@pytest.mark.slow
def test_an_image_of_salicon_is_scored_in_60_ms_on_one_core(salicon_like):
    pred, density, fixations, pool = salicon_like
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        of_pairs = [cpu_milliseconds(function, pred, density) for function in (cc, sim, kld)]
        of_points = [cpu_milliseconds(function, pred, fixations) for function in (nss, auc)]
        shuffled = cpu_milliseconds(shuffled_auc, pred, fixations, pool)
    finally:
        torch.set_num_threads(threads)
    assert shuffled < 30
    assert shuffled + sum(of_pairs) + sum(of_points) < 60
