"""Scoring an explanation is to cost no more than the model does: 50,000 images of ImageNet."""

import time

import pytest
import torch

from salvit.metrics.functional import box_localization, perturbation_curves
from salvit.vit import load_vit
from tests.metrics.heatmap_cases import boxes_in

SIZE = (224, 224)


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def seconds(function):
    start = time.process_time()
    function()
    return time.process_time() - start


@pytest.mark.slow
def test_boxes_take_less_than_2_ms_an_image():
    generator = torch.Generator().manual_seed(0)
    heatmaps, boxes = torch.rand(16, 14, 14, generator=generator), [boxes_in(SIZE, 2, generator)] * 16
    assert min(seconds(lambda: box_localization(heatmaps, boxes, SIZE)) for _ in range(8)) / 16 < 2e-3


@pytest.mark.slow
def test_perturbation_curves_cost_their_forward_passes_and_little_else():
    vit = load_vit("vit_tiny_patch16_224", pretrained=False)
    images, heatmaps, removed = torch.randn(2, 3, *SIZE), torch.rand(2, 14, 14), torch.randn(40, 3, *SIZE)

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
