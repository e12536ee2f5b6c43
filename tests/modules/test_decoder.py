import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from salvit.modules.decoder import CenterBias, SaliencyDecoder, log_ratio


@pytest.fixture
def decoder():
    torch.manual_seed(0)
    return SaliencyDecoder(in_channels=3)


def test_parameters_are_those_of_the_paper():
    plain, biased = (
        sum(parameter.numel() for parameter in SaliencyDecoder(32, center_bias).parameters())
        for center_bias in (False, True)
    )
    assert abs(plain - 59_000) <= 1_000
    assert biased == plain + 5
    with pytest.raises(ValueError, match="in_channels is 0"):
        SaliencyDecoder(0)


def test_four_blocks_of_convolution_relu_and_doubling():
    decoder = SaliencyDecoder(2)
    assert len(decoder.convolutions) == 4
    assert all(layer.kernel_size == (3, 3) for layer in decoder.convolutions)
    sizes = []
    for layer in decoder.convolutions:
        layer.register_forward_hook(lambda _, __, output: sizes.append(tuple(output.shape[-2:])))
    decoder(torch.rand(1, 2, 3, 5), size=(48, 80))
    assert sizes == [(3, 5), (6, 10), (12, 20), (24, 40)]


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    batch=st.integers(1, 3),
    channels=st.integers(1, 4),
    grid=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    size=st.tuples(st.integers(1, 130), st.integers(1, 130)),
    center_bias=st.booleans(),
)
def test_a_non_negative_map_at_image_size(seed, batch, channels, grid, size, center_bias):
    torch.manual_seed(seed)
    decoder = SaliencyDecoder(channels, center_bias)
    saliency = decoder(torch.randn(batch, channels, *grid), size)
    assert saliency.shape == (batch, *size)
    assert saliency.isfinite().all()
    assert saliency.min() >= 0


def test_every_parameter_learns():
    torch.manual_seed(0)
    decoder = SaliencyDecoder(3, center_bias=True)
    (decoder(torch.rand(2, 3, 4, 5), (32, 40)) * torch.rand(2, 32, 40)).sum().backward()
    for name, parameter in decoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("seed", range(10))
def test_starts_alive(seed):
    torch.manual_seed(seed)
    assert SaliencyDecoder(3)(torch.rand(4, 3, 6, 6) ** 4, (96, 96)).mean((1, 2)).min() > 0.05


@pytest.mark.parametrize("value", [0.0, 1.0, -2.0, 1e-30, 1e30])
def test_constant_maps(decoder, value):
    saliency = decoder(torch.full((1, 3, 4, 4), value), (64, 64))
    torch.testing.assert_close(saliency, decoder(torch.ones(1, 3, 4, 4), (64, 64)))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16), exponent=st.floats(-25, 25))
def test_the_scale_of_a_map_does_not_matter(seed, exponent):
    torch.manual_seed(seed)
    decoder, maps = SaliencyDecoder(2), torch.rand(1, 2, 4, 4) + 0.01
    scale = torch.tensor([1.0, 10**exponent]).reshape(1, 2, 1, 1)
    torch.testing.assert_close(decoder(maps * scale, (64, 64)), decoder(maps, (64, 64)), rtol=1e-3, atol=1e-4)


def test_log_ratio():
    maps = torch.tensor([[[[0.0, 4.0, 26.0]]]])
    expected = torch.tensor([[[[1e-3, 0.4, 2.6 - 1e-9]]]]).log()
    torch.testing.assert_close(log_ratio(maps, 1e-3), expected)
    torch.testing.assert_close(log_ratio(maps - 1, 1e-3), expected)  # negative maps are shifted
    assert not torch.equal(log_ratio(maps + 1, 1e-3), expected)
    small = maps.half() * 1e-5  # half precision keeps the range
    torch.testing.assert_close(log_ratio(small, 1e-3), expected, rtol=1e-3, atol=5e-3)


def test_no_image_depends_on_its_batch(decoder):
    maps = torch.rand(4, 3, 5, 4)
    maps[1] *= 1e6
    together = decoder(maps, (80, 64))
    for alone, row in zip(maps, together, strict=True):
        torch.testing.assert_close(decoder(alone[None], (80, 64))[0], row)


def test_center_bias_starts_at_the_middle_symmetric_and_at_any_resolution():
    bias = CenterBias()(torch.ones(1, 8, 21))[0]
    torch.testing.assert_close(bias, bias.flip(0))
    torch.testing.assert_close(bias, bias.flip(1))
    assert bias.argmax().item() in (3 * 21 + 10, 4 * 21 + 10)
    assert bias[0, 0] == bias.min()
    assert bias.max() <= 1
    small, large = (CenterBias()(torch.ones(1, size, size))[0] for size in (20, 100))
    pooled = torch.nn.functional.avg_pool2d(large[None], 5)[0]
    torch.testing.assert_close(pooled, small, atol=2e-3, rtol=0)


@torch.no_grad()
def test_center_bias_follows_its_parameters():
    layer = CenterBias()
    layer.mean.copy_(torch.tensor([0.5, -0.5]))
    layer.mixing.fill_(100)
    layer.log_sigma.copy_(torch.tensor([0.2, 0.4]).log())
    bias = layer(torch.ones(1, 100, 100))[0]
    assert divmod(int(bias.argmax()), 100) in ((24, 74), (24, 75), (25, 74), (25, 75))
    # From the pixel half a pixel (0.05 σ) right of the mean, one σ (0.2 half widths, 10 pixels) further.
    assert float(bias[25, 85] / bias[25, 75]) == pytest.approx(math.exp(-0.5 * (1.05**2 - 0.05**2)), rel=1e-4)
    assert float(bias[45, 75] / bias[25, 75]) == pytest.approx(
        math.exp(-0.5 * (1.025**2 - 0.025**2)), rel=1e-4
    )
