import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from salvit.results.classical import has_classical, spectral_residual


@pytest.mark.skipif(not has_classical(), reason="needs OpenCV's contributed modules, the extra baselines")
def test_what_stands_out_is_salient():
    image = torch.full((3, 96, 128), 0.5)
    image += 0.02 * torch.rand(image.shape, generator=torch.Generator().manual_seed(0))
    image[:, 40:52, 80:92] = torch.tensor([1.0, 0.0, 0.0])[:, None, None]
    saliency = spectral_residual(image)
    assert saliency.shape == (96, 128)
    assert 0 <= saliency.min() <= saliency.max() <= 1
    y, x = divmod(saliency.argmax().item(), 128)
    assert 32 <= y <= 60
    assert 72 <= x <= 100


def test_opencv_gets_bytes_in_its_order_of_colours(monkeypatch):
    seen = []

    def compute(pixels):
        seen.append(pixels)
        return True, np.zeros(pixels.shape[:2], dtype=np.float32)

    model = SimpleNamespace(computeSaliency=compute)
    saliency = SimpleNamespace(StaticSaliencySpectralResidual_create=lambda: model)
    monkeypatch.setitem(sys.modules, "cv2", SimpleNamespace(saliency=saliency))
    image = torch.zeros(3, 2, 4)
    image[0, 1, 2] = 1  # red
    assert spectral_residual(image).shape == (2, 4)
    assert seen[0].dtype == np.uint8
    assert seen[0][1, 2].tolist() == [0, 0, 255]


@pytest.mark.parametrize("installed", [None, SimpleNamespace()])
def test_without_the_contributed_modules_the_error_names_the_extra(monkeypatch, installed):
    monkeypatch.setitem(sys.modules, "cv2", installed)
    with pytest.raises(ModuleNotFoundError, match=r"salvit\[baselines\]"):
        spectral_residual(torch.zeros(3, 4, 4))
