import numpy as np
import pytest
import torch

from salvit.callbacks.explanation_pictures import overlaid


@pytest.mark.parametrize("value", [0.0, 3.95126e-06, 0.1])
def test_a_constant_heatmap_has_no_colours(value):
    picture = np.asarray(overlaid(torch.rand(3, 32, 48), torch.full((4, 6), value))).astype(int)
    assert (picture.max(-1) - picture.min(-1)).max() < 10
