"""The same maps on a GPU as on the CPU; skipped where there is none."""

import pytest
import torch

from salvit.extractors import METHODS
from tests.extractors.conftest import build_vit
from tests.registry import ARCHITECTURES, make, small_vit, square_images, tolerance, why_not

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

every = pytest.mark.parametrize("name", METHODS)


def close(maps, expected, relative):
    maps, expected = maps.cpu().double(), expected.cpu().double()
    torch.testing.assert_close(maps, expected, rtol=0, atol=relative * float(expected.abs().max()))


def correlation(one, other):
    return torch.corrcoef(torch.stack([part.flatten().cpu().double() for part in (one, other)]))[0, 1]


@every
def test_maps_of_the_cpu(images, name):
    # Of the images' size: timm resamples position embeddings in float32, and GPUs round that otherwise.
    vit = build_vit(img_size=(32, 48))
    expected = make(name)(vit, images, 2)
    maps = make(name)(vit.cuda(), images.cuda(), 2)
    assert maps.is_cuda
    assert maps.dtype == torch.float64
    close(maps, expected, tolerance(name))


@every
def test_float32_and_bfloat16_autocast(vit, images, name):
    exact = make(name)(vit, images, 2)
    vit, images = vit.float().cuda(), images.float().cuda()
    single = make(name)(vit, images, 2)
    with torch.autocast("cuda", torch.bfloat16):
        mixed = make(name)(vit, images, 2)
    assert single.dtype == mixed.dtype == torch.float32
    if name != "random":  # a function of the image's bytes
        assert correlation(single, exact) > 0.9999
    if name.endswith("lrp"):
        assert torch.equal(mixed, single)
    elif name != "salient_attention":  # whose locations rounding may choose otherwise
        assert correlation(mixed, single) > 0.99


@every
def test_a_model_on_another_device_is_refused(vit, images, name):
    with pytest.raises(
        ValueError, match=r"images are on cuda:0, the model on cpu: move one with \.to\(device\)"
    ):
        make(name)(vit, images.cuda(), 2)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_model(architecture):
    vit = small_vit(architecture).double()
    # Of the model's own size, so that only those resample positions that always do, in float32: mixed RoPE and NaFlex.
    images, target = square_images(architecture).double(), torch.tensor([3, 1])
    resamples = "mixed" in architecture or "naflex" in architecture
    working = [name for name in METHODS if not why_not(make(name), vit)]
    assert working
    expected = {name: make(name)(vit, images, target) for name in working}
    vit, images = vit.cuda(), images.cuda()
    for name in working:
        close(make(name)(vit, images, target), expected[name], 1e-2 if resamples else tolerance(name))
