"""How photographs and maps come to the size that they are shown at."""

import torch

from salvit.explain.images import resized_map


def test_a_map_that_shrinks_loses_no_pixel():
    peak = torch.zeros(8, 8)
    peak[0, 7] = 64
    small = resized_map(peak, (2, 2))
    assert small.argmax() == 1
    assert small.sum() > 1


def test_a_map_that_grows_keeps_its_values_between_pixel_centres():
    assert torch.equal(resized_map(torch.tensor([[0.0, 4.0]]), (1, 4)), torch.tensor([[0.0, 1.0, 3.0, 4.0]]))
